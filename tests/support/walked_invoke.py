"""Functions that somebody cancels: every invocation comes to an outcome, `close` closes, and no environment is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from esmd.invoke.inline import InlineInvoker
from esmd.invoke.protocol import StartFailed
from esmd.mappings.outcomes import FunctionError, Success

from support.asked import asked
from support.environments import BROKEN, Stage
from support.invocations import Recorder, function

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from esmd.mappings.outcomes import Outcome

    from support.walker import How, Walk

LONGEST = 300.0
HOWS: Sequence[How] = ("cut", "late")


async def started(invoker: Any) -> None:
    """Start it, whatever it takes."""
    for _ in range(20):
        with contextlib.suppress(StartFailed):
            await asked(invoker.start)
            return
        await asyncio.sleep(1)
    raise AssertionError("it does not start")


async def refused(invoker: Any) -> None:
    """See that it does not start."""
    try:
        await asked(invoker.start)
    except StartFailed:
        return
    raise AssertionError("it starts")


async def invoked(invoker: Any, event: bytes, wanted: Callable[[Outcome], bool]) -> None:
    """Invoke until the outcome is one that is wanted: a cancellation may cost an outcome, and no more."""
    for _ in range(20):
        outcome = await asked(lambda: invoker.invoke(event, request_id="1"))
        if wanted(outcome):
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"it comes to no good: {outcome}")


async def given_up(call: Coroutine[Any, Any, Any], after: float) -> None:
    """Make a call, and cancel it after so many seconds."""
    calling = asyncio.create_task(call)
    await asyncio.wait([calling], timeout=after)
    calling.cancel()
    await asyncio.wait([calling])


def a_call(invoker: Any, event: bytes) -> Coroutine[Any, Any, Outcome]:
    call: Coroutine[Any, Any, Outcome] = invoker.invoke(event, request_id="1")
    return call


def succeeds(outcome: Outcome) -> bool:
    return isinstance(outcome, Success)


def _is_late(outcome: Outcome) -> bool:
    return isinstance(outcome, FunctionError) and outcome.kind == "timeout"


def not_loaded(outcome: Outcome) -> bool:
    return isinstance(outcome, FunctionError) and outcome.kind == "init"


@dataclass(kw_only=True)
class PoolScenario:
    """A pool of environments without processes. Call it with a walk.

    Attributes:
        seconds: how long each invocation takes; all begin at once.
        changes: of the function.
        fails: for so many seconds no environment can be loaded.
        failure: how it fails.
        ends: instead of failing, it ends by itself; see `Stage`.
        dies_in: seconds that an environment which is killed takes to end.
        leaves_in: seconds that an environment takes to leave.
        reloads: whether the code changes while they run.
    """

    seconds: Sequence[float] = (1, 1, 1)
    changes: dict[str, Any] = field(default_factory=dict)
    fails: float = 0.0
    failure: FunctionError | Exception = BROKEN
    ends: str | None = None
    dies_in: float = 0.0
    leaves_in: float = 0.1
    reloads: bool = False

    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """Run it to its end, and see that nothing is left."""
        stage = Stage()
        stage.leave_seconds, stage.kill_seconds = self.leaves_in, self.dies_in
        if self.fails:
            stage.failure, stage.ends = (None, self.ends) if self.ends else (self.failure, None)
            for name in ("failure", "ends"):
                asyncio.get_running_loop().call_later(self.fails, setattr, stage, name, None)
        pool = stage.pool(**self.changes)
        async with asyncio.timeout(LONGEST):
            await given_up(pool.start(), 0.5)
            starting = asyncio.create_task(started(pool))
            calls = [asyncio.create_task(invoked(pool, str(s).encode(), succeeds)) for s in self.seconds]
            await asyncio.gather(given_up(a_call(pool, b"1"), 0.5), given_up(a_call(pool, b"9"), 1.5))
            if self.reloads:
                pool.reload(["app.py"])
            await asyncio.gather(starting, *calls)
            assert pool.running == 0
            await asyncio.sleep(20)  # those that are idle have left by now
            assert pool.environments <= 1, "one that was to leave keeps its place"
            await invoked(pool, b"0", succeeds)
            closing = asyncio.create_task(invoked(pool, b"30", lambda outcome: not succeeds(outcome)))
            await asyncio.sleep(3)
            await asked(pool.close)
            await closing
        assert stage.alive == []
        assert (pool.running, pool.environments) == (0, 0)
        assert stage.most_alive <= pool.limit


@dataclass(kw_only=True)
class InlineScenario:
    """A handler in the daemon's own loop. Call it with a walk.

    Attributes:
        handler: whose.
        event: that it is given.
        changes: of the function.
        wanted: what it is to come to.
        real_time: a handler on a thread takes no virtual time.
    """

    handler: str
    event: bytes = b"null"
    changes: dict[str, Any] = field(default_factory=dict)
    wanted: Callable[[Outcome], bool] = succeeds
    real_time: bool = False

    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """See that every invocation has its outcome, and that none of the places is lost."""
        invoker = InlineInvoker(function(self.handler, **self.changes), telemetry=Recorder(), stop_seconds=0.2)
        async with asyncio.timeout(60):
            if self.wanted is not not_loaded:
                await started(invoker)
            else:
                for _ in range(2):  # the second one has to wait
                    await refused(invoker)
            for _ in range(2):
                await invoked(invoker, self.event, self.wanted)
            await self._begun(invoker)
            await given_up(a_call(invoker, self.event), 0.01)
            while invoker.running:
                await asyncio.sleep(0.1)
            closing = asyncio.create_task(asked(lambda: invoker.invoke(self.event, request_id="2")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asked(invoker.close)
            await asked(invoker.close)
            await closing
            while invoker.running:
                await asyncio.sleep(0.1)

    async def _begun(self, invoker: InlineInvoker) -> None:
        """An invocation that nobody awaits comes to an outcome, whatever is cancelled."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        call = invoker.begin(_Event(self.event), request_id="3", done=done.set_result)
        if call is not None:
            await done


class _Event:
    """An event as a batch has it."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def is_longer_than(self, size: int) -> bool:
        return len(self._text) > size

    def value(self) -> object:
        return json.loads(self._text)


SCENARIOS: dict[str, Any] = {
    "pool": PoolScenario(changes={"concurrency": 2, "idle_timeout": 5.0}),
    "pool that cannot load": PoolScenario(fails=3.0, changes={"concurrency": 2, "idle_timeout": 5.0}),
    "pool that cannot load by a defect": PoolScenario(fails=3.0, failure=RuntimeError("a defect"), dies_in=0.3),
    "pool whose environments end unseen": PoolScenario(fails=3.0, ends="unseen", dies_in=0.3),
    "pool whose environments end at once": PoolScenario(fails=3.0, ends="at once", dies_in=0.3),
    "pool whose environments do not leave": PoolScenario(
        leaves_in=1000.0, changes={"concurrency": 2, "idle_timeout": 5.0, "provisioned_concurrency": 1}
    ),
    "pool that is reloaded": PoolScenario(reloads=True, changes={"concurrency": 3, "idle_timeout": 5.0}),
    "inline": InlineScenario(handler="answering:nap_async", event=b"0.1"),
    "inline, on a thread": InlineScenario(handler="answering:echo", real_time=True),
    "inline, late": InlineScenario(
        handler="failing:hang_async", event=b"60", changes={"timeout": 1.0}, wanted=_is_late
    ),
    "inline, late and obstinate": InlineScenario(
        handler="failing:ignore_cancellation", event=b"3", changes={"timeout": 1.0, "concurrency": 2}, wanted=_is_late
    ),
    "inline that cannot load": InlineScenario(handler="nowhere:echo", wanted=not_loaded),
}
