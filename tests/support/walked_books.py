"""Several processes on one stream that somebody cancels: every shard has one reader, and nothing of it is left out.

What is between the processes is the daemon's own: the desk, the books, and a channel for each. A process that has ended, of
itself or killed, has a successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from esmd.processes.channel import Channel
from esmd.processes.desk import Desk
from esmd.processes.messages import Changed
from esmd.processes.remote import RemoteStateStore, remote_book
from esmd.state.errors import StateError
from esmd.state.memory import MemoryStateStore
from esmd.testing.fake_streams import EngineStream

from support.asked import asked
from support.channels import nothing_served
from support.functions import function_of
from support.mapping_lab import ScriptedInvoker
from support.walked_streams import LONGEST, Life, StreamScenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from esmd.function import Function
    from esmd.pollers.streams import Shard
    from esmd.state.protocol import ShardProgress
    from esmd.supervisor import Supervisor

    from support.walker import Walk

NAME = "events"
"""Of the mapping and of the stream."""


class DiskStore:
    """As the state file: one call after another, and each is carried out though nobody waits for it any more.

    Args:
        saved: judges what a save has stored.
        fails: which calls fail, by their methods, counted from 1.
        seconds: that a call takes.
    """

    def __init__(self, saved: Callable[[ShardProgress], None], fails: Mapping[str, range], seconds: float) -> None:
        self._memory = MemoryStateStore()
        self._saved = saved
        self._fails = fails
        self._seconds = seconds
        self._counts: Counter[str] = Counter()
        self._free_at = 0.0

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._do, method)

    async def _do(self, method: str, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        self._free_at = max(self._free_at, loop.time()) + self._seconds
        loop.call_at(self._free_at, self._carry_out, done, method, *arguments)
        return await done

    def _carry_out(self, done: asyncio.Future[Any], method: str, *arguments: Any) -> None:
        self._counts[method] += 1
        try:
            if self._counts[method] in self._fails.get(method, ()):
                raise StateError("the disk is full", hint="mend it")
            getattr(self._memory, method)(*arguments).send(None)
        except StopIteration as end:
            if method == "save":
                for progress in arguments[2:]:
                    self._saved(progress)
            if not done.done():
                done.set_result(end.value)
        except StateError as error:
            if not done.done():
                done.set_exception(error)


class ShortStream(EngineStream):
    """Some of its listings lack the first shard."""

    def __init__(self, *arguments: Any, short: list[int]) -> None:
        super().__init__(*arguments)
        self._short = short

    async def list_shards(self) -> list[Shard]:
        shards = await super().list_shards()
        self._short[0] += 1
        return shards[1:] if self._short[0] in self._short[1:] else shards


@dataclass(kw_only=True)
class BookScenario(StreamScenario):
    """Some processes on one stream. Call it with a walk.

    Attributes:
        processes: how many.
        late: when a process is started, in seconds, where that is not at once.
        kills: when a process is killed, in seconds, and which.
        dies_for: seconds from the end of a process to its successor's start.
        disk: which calls of the store fail, by their methods, counted from 1.
        disk_seconds: that each of its calls takes.
        merged: its two shards become one after the first list.
        short: which listings lack the first shard, counted from 1 over all processes.
    """

    shards: int = 2
    processes: int = 2
    late: Mapping[int, float] = field(default_factory=dict)
    kills: Sequence[tuple[float, int]] = ()
    dies_for: float = 0.0
    disk: Mapping[str, range] = field(default_factory=dict)
    disk_seconds: float = 0.002
    merged: bool = False
    short: Sequence[int] = ()

    async def __call__(self, walk: Walk) -> None:
        """Run it to its end, and see that nothing is lost."""
        await _Fleet(self, walk).run()


@dataclass
class _Process:
    """One life of a process, and the parent's end of its channel."""

    supervisor: Supervisor
    main: asyncio.Task[None]
    stop: asyncio.Event
    store: RemoteStateStore
    child: Channel
    parent: Channel
    function: Function
    invoker: ScriptedInvoker

    @property
    def reads(self) -> list[str]:
        """Its shards."""
        runner: Any = self.supervisor.runner
        return [] if runner is None else [view.shard for view in runner.shards]


class _Fleet(Life):
    """The parent, and what its processes do."""

    scenario: BookScenario

    def __init__(self, scenario: BookScenario, walk: Walk) -> None:
        super().__init__(scenario, walk)
        self._short = [0, *scenario.short]
        self._now: dict[int, _Process] = {}
        self._readers: dict[str, int] = {}
        self._over = False
        numbers = range(scenario.processes)
        disk: Any = DiskStore(self.saved, scenario.disk, scenario.disk_seconds)
        self._desk = Desk(disk, readers={NAME: numbers}, wake=self._wake, telemetry=self.collector)

    def stream(self) -> EngineStream:
        api = ShortStream(self.engine, self.arn, short=self._short)
        api.latency = self.scenario.latency
        return api

    async def run(self) -> None:
        self.walk.stop = self._drain
        self._starting = set(range(self.scenario.processes)) - set(self.scenario.late)
        self._desk.expect(self._starting)
        members = [asyncio.create_task(self._member(number)) for number in range(self.scenario.processes)]
        chores = [asyncio.create_task(self.feed()), asyncio.create_task(self._kill())]
        try:
            async with asyncio.timeout(LONGEST):
                await asyncio.gather(*chores)
                while not self._is_settled():
                    for each in members:
                        if each.done():
                            each.result()
                    await asyncio.sleep(0.5)
                self._over = True
                self._drain()
                await asyncio.gather(*members)
        except TimeoutError:
            raise AssertionError(f"it hangs: {self._as_it_is()}") from None
        finally:
            left = [*members, *chores, *(process.main for process in self._now.values())]
            for each in left:
                each.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            for process in self._now.values():
                process.child.close()
                process.parent.close()
        self.judge()

    # --- the parent

    def _wake(self, mapping: str, process: int) -> None:
        if (there := self._now.get(process)) is not None:
            there.parent.tell(Changed(mapping))

    def _drain(self) -> None:
        for process in self._now.values():
            process.stop.set()

    async def _kill(self) -> None:
        for at, number in self.scenario.kills:
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            if (process := self._now.get(number)) is not None:
                process.main.cancel()

    def _is_starting(self, number: int, *, no_more: bool = False) -> None:
        """Keep shards for it, or no more."""
        self._starting = self._starting - {number} if no_more else self._starting | {number}
        self._desk.expect(self._starting)

    async def _member(self, number: int) -> None:
        """A process and its successors."""
        await asyncio.sleep(self.scenario.late.get(number, 0.0))
        while not self._over:
            self._is_starting(number)
            process = self._now[number] = self._begin(number)
            if number == 0 and self.walk.main is None:
                self.walk.main = process.main
            tried = asyncio.create_task(process.supervisor.tried.wait())
            try:
                await asyncio.wait([tried, process.main], return_when=asyncio.FIRST_COMPLETED)
                self._is_starting(number, no_more=True)
                await asyncio.wait([process.main])
            finally:
                tried.cancel()
            if not process.main.cancelled():
                await asked(process.store.close)
                process.child.flush()
            process.child.close()
            del self._now[number]
            await asked(process.parent.finish)
            self._desk.leave(number)
            self._is_starting(number)
            with contextlib.suppress(asyncio.CancelledError):
                process.main.result()
            assert (process.function.busy, process.invoker.running) == (0, 0)
            await asyncio.sleep(self.scenario.dies_for)

    def _begin(self, number: int) -> _Process:
        ours, theirs = socket.socketpair()
        parent = Channel(
            ours,
            told=lambda _: None,
            serve=partial(self._desk.serve, number),
            lost=lambda: None,
            may_wait=False,
        )
        child = Channel(
            theirs, told=lambda _: book.changed.set(), serve=nothing_served, lost=lambda: None, may_wait=True
        )
        book, stop, store = remote_book(NAME, child), asyncio.Event(), RemoteStateStore(child)
        invoker = ScriptedInvoker(partial(self._handle_in, number), limit=self.scenario.limit, whole_events=True)
        function = function_of(invoker, telemetry=self.collector)
        supervisor = self.supervisor(stop, function=function, store=store, book=book)  # type: ignore[arg-type]
        main = asyncio.get_running_loop().create_task(supervisor.run())
        return _Process(supervisor, main, stop, store, child, parent, function, invoker)

    async def _handle_in(self, number: int, event: dict[str, Any]) -> Any:
        shard = event["Records"][0]["eventID"].partition(":")[0]
        if self._readers.setdefault(shard, number) != number:
            self.wrong.append(f"{shard} has two readers")
        try:
            await asyncio.sleep(self.scenario.duration)
            return self.handle(event)
        finally:
            self._readers.pop(shard, None)

    def reshape(self) -> None:
        if self.scenario.merged:
            self.engine.merge(NAME, *(shard.id for shard in self.engine.list_shards(NAME)))
        super().reshape()

    # --- what has become of it

    def _is_settled(self) -> bool:
        """Whether all is behind checkpoints, every shard has a reader, and they have equal shares."""
        there = sorted(s.id for s in self.engine.list_shards(NAME) if s.closed_at is None)
        shares = [len(process.reads) for process in self._now.values()]
        return (
            all(self.is_behind(*each) for each in self.put)
            and sorted(shard for process in self._now.values() for shard in process.reads) == there
            and len(shares) == self.scenario.processes
            and max(shares) - min(shares) <= 1
        )

    def _as_it_is(self) -> str:
        left = [each for each in self.put if not self.is_behind(*each)]
        return f"{left} are left, read are {[(n, process.reads) for n, process in self._now.items()]}"


SCENARIOS: dict[str, StreamScenario] = {
    "starting together": BookScenario(),
    "split": BookScenario(splits=True),
    "late": BookScenario(late={1: 2.0}, shards=4),
    "killed": BookScenario(kills=((2.0, 1),), dies_for=3.0, shards=3),
    "merged on a slow disk": BookScenario(merged=True, disk={"save": range(1, 3)}, disk_seconds=0.5),
    "taken anew from a sick disk": BookScenario(late={1: 2.0}, disk={"load": range(2, 4)}),
    "doubted after a death": BookScenario(
        kills=((2.0, 0),), dies_for=2.0, short=(7,), disk={"assign": range(3, 4)}, changes={"discovery_interval": 0.7}
    ),
}
