"""Function specifications and a telemetry for tests of invokers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from esmd.invoke.protocol import CommandSpec, PythonSpec
from esmd.mappings.outcomes import Success

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.invoke.protocol import Invoker
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.events import Event

HANDLERS = Path(__file__).parent / "handlers"

E = TypeVar("E")

ID = "8f3c5d0e-0000-4000-8000-000000000001"
"""The request id of invocations that need none in particular."""


class Recorder:
    """A telemetry that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


_VALUES: dict[str, Any] = {
    "name": "orders",
    "timeout": 20.0,
    "concurrency": 1,
    "working_directory": str(HANDLERS),
    "region": "eu-west-1",
    "account_id": "000000000000",
}


def function(handler: str, **changes: Any) -> PythonSpec:
    """A Python function; everything has a value that suits a test."""
    return PythonSpec(**(_VALUES | {"handler": handler, "python_path": (str(HANDLERS),)} | changes))


def command(argv: Sequence[str], **changes: Any) -> CommandSpec:
    """A program that speaks the Runtime API; it starts among the handlers unless told otherwise."""
    return CommandSpec(**(_VALUES | {"command": tuple(argv), "handler": "function.handler"} | changes))


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        os.kill(pid, 0)
        if not Path("/proc/self").exists():  # macOS, where init reaps at once
            return True
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state not in {"Z", "X"}


def has_zombies() -> bool:
    """Whether a child of this process has ended that nobody waited for."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def kill_unseen(pid: int) -> None:
    """Kill a child and return when it is dead, without giving the event loop a chance to see it."""
    os.kill(pid, signal.SIGKILL)
    wait_unseen(pid)


def wait_unseen(pid: int) -> None:
    """Block until a child is dead, without giving the event loop a chance to see it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def until(true: Any, *, seconds: float = 10.0) -> None:
    """Wait for another process or thread, which cannot be awaited."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


async def call(invoker: Invoker, event: object = None, *, request_id: str = ID) -> Outcome:
    """Invoke once with a JSON value."""
    return await invoker.invoke(json.dumps(event).encode(), request_id=request_id)


async def answer(invoker: Invoker, event: object = None) -> Any:
    """Invoke once, successfully, and read the answer."""
    outcome = await call(invoker, event)
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.payload)
