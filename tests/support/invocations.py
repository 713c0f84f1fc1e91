"""Function specifications and a telemetry for tests of invokers."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from esmd.invoke.protocol import FunctionSpec

if TYPE_CHECKING:
    from esmd.observe.events import Event

HANDLERS = Path(__file__).parent / "handlers"

E = TypeVar("E")


class Recorder:
    """A telemetry that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def function(handler: str, **changes: Any) -> FunctionSpec:
    """A specification; everything has a value that suits a test."""
    values: dict[str, Any] = {
        "name": "orders",
        "handler": handler,
        "timeout": 20.0,
        "concurrency": 1,
        "python_path": (str(HANDLERS),),
        "working_directory": str(HANDLERS),
        "region": "eu-west-1",
        "account_id": "000000000000",
    }
    return FunctionSpec(**{**values, **changes})


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
