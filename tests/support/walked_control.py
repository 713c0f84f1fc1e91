"""A live set of mappings in a daemon that somebody cancels.

What was asked for is what runs in the end, what the registry keeps is what there is, nothing runs twice, what is to be
gone is gone, and the daemon ends with everything closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from esmd.control import triggers
from esmd.control.protocol import ConflictError, ControlError, InUseError, NotFoundError, Reloaded
from esmd.control.several import SeveralProcesses
from esmd.daemon import About, Daemon, DaemonOptions
from esmd.function import FunctionCounts
from esmd.observe.statistics import Statistics
from esmd.state.memory import MemoryStateStore

from support.asked import asked
from support.control_lab import ControlLab, FakeFunction, config, function, mapping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from support.walker import How, Walk

LONGEST = 2000.0
_UUID = UUID(int=7)
_FUNCTIONS = {"f": function(), "g": function(), "unused": function()}
_MADE = mapping("api", queue="other")
_CALLS = {"kept", "keep", "drop", "drop_positions", "pauses", "pause", "resume"}


class SlowStore(MemoryStateStore):
    """A registry that takes its time, before and after; to drop positions more than a daemon has."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in _CALLS:
            return found

        async def slowly(*arguments: Any) -> Any:
            await asyncio.sleep(3.0 if name == "drop_positions" else 0.1)
            result = await found(*arguments)
            await asyncio.sleep(0.1)
            return result

        return slowly


class SlowFunction(FakeFunction):
    """Takes a while to close."""

    limit = 1

    def take_counts(self) -> FunctionCounts:
        return FunctionCounts()

    async def close(self) -> None:
        await asyncio.sleep(0.1)
        await super().close()


@dataclass(kw_only=True)
class ControlScenario:
    """A daemon whose mappings are changed in every way. Call it with a walk.

    Attributes:
        idle: it ends by itself after so many seconds without work; None: when it is told to.
        grace: seconds of its drain.
        fail_fast: it ends where a mapping cannot run.
        hasty: it is told to end while it starts.
        crowded: every change has to wait for another one.
        ends_changing: it is told to end while functions and mappings that are needed no more still drain.
    """

    idle: float | None = None
    grace: float = 30.0
    fail_fast: bool = False
    hasty: bool = False
    crowded: bool = False
    ends_changing: bool = False

    hows: ClassVar[Sequence[How]] = ("cut", "late", "halt", "drain")

    async def __call__(self, walk: Walk) -> None:
        """See that it has all come to what was asked for."""
        async with asyncio.timeout(LONGEST):
            await _Life(self, walk).run()


class _Life:
    def __init__(self, scenario: ControlScenario, walk: Walk) -> None:
        self.scenario = scenario
        self.walk = walk
        self.before: asyncio.Task[None] | None = None
        self.lab = lab = ControlLab(config(mapping("a"), mapping("b", "g"), functions=_FUNCTIONS), store=SlowStore())
        lab.workshop.make = SlowFunction
        lab.permits_in = 0.1
        if scenario.idle is not None:
            lab.quiet_since = asyncio.get_running_loop().time()
        self.daemon = Daemon(
            slots=lab.slots,
            close=lab.set.close,
            functions=lab.workshop.functions,  # type: ignore[arg-type]
            about=About(files=(), endpoint="", region=None),
            options=DaemonOptions(
                grace=scenario.grace, exit_when_idle=scenario.idle, fail_fast=scenario.fail_fast, stats_period=7.0
            ),
            telemetry=lab.telemetry,
            statistics=Statistics(),
            shutdown=lab.shutdown,
        )

    async def run(self) -> None:
        lab = self.lab
        await asked(lab.set.begin)
        self.walk.stop = lambda: lab.shutdown.request("drain")
        main = self.walk.main = asyncio.create_task(self.daemon.run())
        try:
            if not self.scenario.hasty:
                await self._change(main)
            if self.before is not None:
                await asyncio.wait([self.before])
            if self.scenario.idle is None:
                lab.shutdown.request("over")
            await asyncio.wait([main])
        finally:
            main.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await main
        assert not lab.slots.broken
        assert lab.running == {}
        assert [each.name for each in lab.workshop.every if not each.closed] == [], "functions are left open"

    async def _change(self, main: asyncio.Task[Any]) -> None:
        """Everything that a user may do; as long as the daemon lives."""
        steps = self._steps()
        for step in [steps[1], self._leave] if self.scenario.ends_changing else steps:
            if self.scenario.crowded:
                self.before = asyncio.create_task(self._reload_nothing())
                await asyncio.sleep(0)
            asking = asyncio.create_task(step())
            await asyncio.wait([asking, main], return_when=asyncio.FIRST_COMPLETED)
            if main.done() or main.cancelling() or self.lab.slots.stopping:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                return
            await asking

    def _steps(self) -> list[Callable[[], Awaitable[Any]]]:
        lab, api = self.lab, str(_UUID)
        return [
            partial(self._settled, "a", "Enabled"),
            self._create,
            partial(self._do, "pause", "a", "Disabled"),
            partial(self._do, "resume", "a", "Enabled"),
            partial(self._do, "pause", api, "Disabled"),
            partial(self._do, "resume", api, "Enabled"),
            self._update,
            partial(asked, lambda: lab.set.tag(api, {"k": "v"})),
            partial(asked, lambda: lab.set.function("unused")),
            partial(self._do, "pause", "b", "Disabled"),
            self._reload,
            self._come_and_go,
            self._delete,
            self._agree,
        ]

    async def _reload_nothing(self) -> None:
        """A change that changes nothing, and takes its time."""
        with contextlib.suppress(ControlError):  # the daemon ends
            await asked(self.lab.set.reload)

    async def _leave(self) -> None:
        """Let functions and mappings go that still drain when this ends."""
        lab = self.lab
        with contextlib.suppress(NotFoundError, InUseError):
            await asked(lambda: lab.set.delete(str(_UUID)))
        lab.next = config(mapping("a"), functions={"f": function(timeout=9), "g": function(timeout=9)})
        await asked(lab.set.reload)

    async def _settled(self, name: str, state: str) -> None:
        entry = await asked(lambda: self.lab.set.settled(name))
        assert entry is not None
        assert entry.state == state
        if state == "Enabled":
            await asyncio.sleep(0)
            while entry.name not in self.lab.running:
                await asyncio.sleep(0.5)

    async def _create(self) -> None:
        with contextlib.suppress(ConflictError):  # it has been made, though whoever asked was cancelled
            await asked(lambda: self.lab.set.create(_MADE, uuid=_UUID, tags={}))
        await self._settled(str(_UUID), "Enabled")
        await self._agree()

    async def _do(self, what: str, name: str, state: str) -> None:
        await asked(lambda: getattr(self.lab.set, what)(name))
        await self._settled(name, state)
        await self._agree()

    async def _update(self) -> None:
        with contextlib.suppress(InUseError):  # it is being updated, though whoever asked was cancelled
            await asked(lambda: self.lab.set.update(str(_UUID), _MADE.model_copy(update={"batch_size": 3})))
        await self._settled(str(_UUID), "Enabled")
        await self._agree()

    async def _reload(self) -> None:
        """`a` has another function, which changes too; `b` another source, and stays paused; `c` comes."""
        lab = self.lab
        functions = {"f": function(timeout=9), "g": function(timeout=9)}
        lab.next = config(mapping("a", "g"), mapping("b", "g", queue="b2"), mapping("c"), functions=functions)
        await asked(lab.set.reload)
        await self._settled("a", "Enabled")
        await self._settled("c", "Enabled")
        await self._settled("b", "Disabled")
        lab.next = config(mapping("a", "g"), mapping("c"), functions=functions)
        await asked(lab.set.reload)
        while "b" in lab.states():
            await asyncio.sleep(1)

    async def _come_and_go(self) -> None:
        """`d` is gone again before the one of that name before it has drained."""
        lab = self.lab
        functions = {"f": function(timeout=9), "g": function(timeout=9)}
        without = config(mapping("a", "g"), mapping("c"), functions=functions)
        with_it = config(mapping("a", "g"), mapping("c"), mapping("d"), functions=functions)
        lab.next = with_it
        await asked(lab.set.reload)
        await self._settled("d", "Enabled")
        for lab.next in (without, with_it, without):
            await asked(lab.set.reload)
        while "d" in lab.states():
            await asyncio.sleep(1)

    async def _delete(self) -> None:
        name = str(_UUID)
        await self._deleted(name)
        assert await asked(lambda: self.lab.set.settled(name)) is None
        while name in self.lab.states():
            await asyncio.sleep(1)

    async def _deleted(self, name: str) -> None:
        """It is refused where it has begun already, and while the update, whose asker was cancelled, is under way."""
        with contextlib.suppress(NotFoundError):
            while self.lab.states().get(name) != "Deleting":
                try:
                    await asked(lambda: self.lab.set.delete(name))
                except InUseError:
                    await asyncio.sleep(1)

    async def _agree(self) -> None:
        """What the registry keeps is what there is."""
        entries = self.lab.set.entries()
        kept = [each.uuid for each in await MemoryStateStore.kept(self.lab.store)]
        assert kept == [each.name for each in entries if each.origin == "api"]
        paused = set(await MemoryStateStore.pauses(self.lab.store))
        assert paused == {str(each.uuid) for each in entries if each.origin == "file" and each.paused}


async def _watched(_: Walk) -> None:
    """A file that changes is loaded anew, whatever is cancelled."""
    lab = ControlLab(config(mapping("a")), store=SlowStore())
    loaded: list[str] = []
    cut: list[bool] = []
    over = asyncio.Event()

    async def changes(_: Any) -> AsyncIterator[object]:
        while True:
            await asyncio.sleep(1)
            yield None

    async def write() -> None:
        for number in range(3):
            await asyncio.sleep(3)
            file.write_text("x" * number)
        await asyncio.sleep(3)
        over.set()

    async def reload() -> Reloaded:
        text = file.read_text()
        if not cut:  # what watches begins anew, and with this
            watching = asyncio.current_task()
            assert watching is not None
            cut.append(watching.cancel())
        reloaded = await asked(lab.set.reload)
        loaded.append(text)
        return reloaded

    async def watch() -> None:
        async with triggers.watched([file], changes, reload, lab.telemetry):
            await over.wait()

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "esmd.yaml"
        writing = asyncio.create_task(write())
        await asked(watch)
        await writing
    assert loaded[-1:] == ["xx"], "the last change is not loaded"


async def _several(_: Walk) -> None:
    store = SlowStore()

    async def begin() -> SeveralProcesses:
        return await SeveralProcesses.begin(
            config(mapping("a")),
            only=frozenset(),
            registry=store,
            telemetry=ControlLab(config()).telemetry,
            wall=lambda: 0.0,
        )

    control = await asked(begin)
    assert [each.name for each in control.entries()] == ["a"]


for _each in (_watched, _several):
    _each.hows = ("cut", "late")  # type: ignore[attr-defined]

SCENARIOS: dict[str, Any] = {
    "daemon": ControlScenario(),
    "daemon whose changes wait for each other": ControlScenario(crowded=True),
    "daemon that ends while it changes": ControlScenario(ends_changing=True, grace=1.0),
    "daemon that ends when it is idle": ControlScenario(idle=20.0, hasty=True),
    "daemon that is told to end while it starts": ControlScenario(hasty=True),
    "daemon whose grace is short": ControlScenario(grace=1.0, hasty=True),
    "watched": _watched,
    "several processes": _several,
}
