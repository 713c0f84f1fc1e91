"""Functions in processes that somebody cancels: every invocation comes to an outcome, and no process outlives its pool."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from esmd.invoke import keeper
from esmd.invoke.command import CommandEnvironment
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.pool import EnvironmentPool
from esmd.mappings.outcomes import FunctionError
from esmd.observe.events import EnvironmentStarted

from support.asked import asked
from support.invocations import Recorder, command, function, has_zombies, is_running
from support.programs import BY_HAND
from support.walked_invoke import HOWS, a_call, given_up, invoked, not_loaded, started, succeeds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.invoke.protocol import PythonSpec
    from esmd.mappings.outcomes import Outcome

    from support.walker import How, Walk


@dataclass(kw_only=True)
class ProcessScenario:
    """A pool of real processes. Call it with a walk.

    Attributes:
        make: makes the pool, in a folder of its own.
        events: of the invocations, each after the other.
        wanted: what each is to come to.
    """

    make: Callable[[Path, Recorder], Any]
    events: Sequence[bytes] = (b"null", b"null")
    wanted: Callable[[Outcome], bool] = succeeds

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = HOWS

    @staticmethod
    def prepare() -> None:
        """Start what is one for all functions of the process, and stays."""
        keeper.ensure()

    async def __call__(self, _: Walk) -> None:
        """See that no process outlives it."""
        telemetry = Recorder()
        with tempfile.TemporaryDirectory(prefix="esmd-walk-") as folder:
            pool = self.make(Path(folder), telemetry)
            try:
                async with asyncio.timeout(60):
                    if self.wanted is succeeds:
                        await started(pool)
                        await _given_up_at_once(pool, self.events[0])  # before any handler can have answered
                    else:
                        await _given_up_at_once(pool, self.events[0])
                        await given_up(a_call(pool, self.events[0]), 0.01)
                    for event in self.events:
                        await invoked(pool, event, self.wanted)
            finally:
                await asked(pool.close)
        assert [each.pid for each in telemetry.of(EnvironmentStarted) if is_running(each.pid)] == []
        assert not has_zombies()


async def _given_up_at_once(pool: Any, event: bytes) -> None:
    """Invoke, and cancel that just when its environment has the event, or begins to load."""
    calling = asyncio.create_task(a_call(pool, event))
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.wait([calling])


def _python(handler: str, **changes: Any) -> Callable[[Path, Recorder], Any]:
    return lambda _, telemetry: EnvironmentPool(
        function(handler, **changes), launch=PythonEnvironment.launch, telemetry=telemetry, leave_seconds=2.0
    )


def _short_lived(_: Path, telemetry: Recorder) -> Any:
    """Workers that have ended before they are asked to load anything."""

    def launch(spec: PythonSpec, /, **options: Any) -> PythonEnvironment:
        environment = PythonEnvironment.launch(spec, **options)
        os.kill(environment.pid, signal.SIGKILL)
        os.waitid(os.P_PID, environment.pid, os.WEXITED | os.WNOWAIT)
        return environment

    return EnvironmentPool(function("answering:echo"), launch=launch, telemetry=telemetry)


def _program(text: str, **changes: Any) -> Callable[[Path, Recorder], Any]:
    def make(folder: Path, telemetry: Recorder) -> Any:
        file = folder / "runtime.py"
        file.write_text(textwrap.dedent(BY_HAND) + textwrap.dedent(text))
        spec = command([sys.executable, "-S", str(file)], working_directory=str(folder), **changes)
        return EnvironmentPool(spec, launch=CommandEnvironment.launch, telemetry=telemetry, leave_seconds=2.0)

    return make


_ANSWERS = """
    while True:
        request_id, event = ask()
        post(f"invocation/{request_id}/response", event)
"""
_FAILS_TO_LOAD = """
    post("init/error", b'{"errorType": "ValueError", "errorMessage": "no limit is set"}')
    time.sleep(60)
"""
_ENDS = """
    ask()
    sys.exit(1)
"""


def _ended(outcome: Outcome) -> bool:
    return isinstance(outcome, FunctionError) and outcome.kind == "exit"


SCENARIOS: dict[str, Any] = {
    "worker": ProcessScenario(make=_python("answering:echo")),
    "worker that cannot load": ProcessScenario(make=_python("nowhere:echo"), events=[b"null"], wanted=not_loaded),
    "worker that ends before it loads": ProcessScenario(make=_short_lived, events=[b"null"], wanted=not_loaded),
    "program": ProcessScenario(make=_program(_ANSWERS)),
    "program that cannot load": ProcessScenario(make=_program(_FAILS_TO_LOAD), events=[b"null"], wanted=not_loaded),
    "program that ends": ProcessScenario(make=_program(_ENDS), events=[b"null"], wanted=_ended),
}
