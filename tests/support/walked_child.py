"""A child process that somebody cancels: it ends with all that it had to say said, and its successor goes on where it was."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from unittest.mock import patch

from esmd.assembly import RunOptions
from esmd.cli.exits import Exit
from esmd.daemon import DaemonOptions
from esmd.processes import child
from esmd.processes.channel import Channel, ChannelLostError
from esmd.processes.desk import Desk
from esmd.processes.messages import Changed, Drain, Halt, Setup
from esmd.processes.reporter import Reporter
from esmd.state.errors import StateError

from support.asked import asked
from support.mapping_lab import Collector
from support.walked_world import STREAM, SavingStore, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.processes.messages import Request

    from support.walker import How, Walk

LONGEST = 300.0
_OPTIONS = RunOptions(
    daemon=DaemonOptions(grace=math.inf, exit_when_idle=None, fail_fast=False, stats_period=math.inf),
    only=frozenset(),
    longest_poll=None,
    log_payloads=False,
)


@dataclass(kw_only=True)
class ChildScenario:
    """A child and its successors, until all is handled. Call it with a walk.

    Attributes:
        halted: the first one is told to end at once, while progress of it is being stored.
    """

    halted: bool = False
    hows: ClassVar[Sequence[How]] = ("cut", "late", "halt", "drain")

    async def __call__(self, walk: Walk) -> None:
        """See that everything is handled, and stored."""
        world = World(["a", "b", "c"])
        with (
            world.installed("esmd.processes.child.make_clients"),
            patch("esmd.processes.child._parent_gone", lambda: None),
            patch.object(Reporter, "capture_stdlib", lambda _: None),
        ):
            async with asyncio.timeout(LONGEST):
                await _Parent(self, walk, world).run()
        world.judge()


class _Parent:
    def __init__(self, scenario: ChildScenario, walk: Walk, world: World) -> None:
        self._scenario = scenario
        self._walk = walk
        self._world = world
        self._store = SavingStore(1.0 if scenario.halted else 0.01)
        self._desk = Desk(self._store, readers={STREAM: [0]}, wake=self._wake, telemetry=Collector())
        self._saving = asyncio.Event()
        self._channel: Channel | None = None

    async def run(self) -> None:
        while not await self._is_done():
            self._desk.expect([0])
            await self._life()
            self._desk.leave(0)

    async def _is_done(self) -> bool:
        return self._world.all_handled and await self._position() == 3

    async def _position(self) -> int:
        """How many records of the stream are behind its stored position."""
        stored = await asked(lambda: self._store.load(STREAM, self._world.arn))
        if stored is None or not stored.shards:
            return 0
        [progress] = stored.shards.values()
        behind = [n for n, number in enumerate(self._world.numbers, 1) if progress.position.sequence_number == number]
        return behind[0] if behind else 0

    async def _life(self) -> None:
        """One child, to its end."""
        ours, theirs = socket.socketpair()
        parent = self._channel = Channel(
            ours, told=lambda _: None, serve=self._serve, lost=lambda: None, may_wait=False
        )
        main = self._walk.main = asyncio.create_task(child.run(theirs))
        self._walk.stop = lambda: parent.tell(Drain("drain"))
        asking = asyncio.create_task(self._ask(parent))
        try:
            parent.tell(Setup(config=self._world.config(), options=_OPTIONS, level="debug"))
            if self._scenario.halted:
                await asyncio.wait(
                    [main, halting := asyncio.create_task(self._saving.wait())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                halting.cancel()
                self._scenario = ChildScenario()
                parent.tell(Drain("over"))
                parent.tell(Halt())
            while not main.done():
                if await self._is_done():
                    parent.tell(Drain("over"))
                await asyncio.wait([main], timeout=0.5)
            if not main.cancelled():
                assert main.result() in {Exit.OK, Exit.CUT_SHORT}
        finally:
            main.cancel()
            await asyncio.gather(main, return_exceptions=True)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await asked(parent.finish)
        assert theirs.fileno() == -1, "its end of the socket pair is left"
        assert await self._position() <= len(set(self._world.handled[STREAM])), "a record that nobody handled is behind"

    async def _ask(self, parent: Channel) -> None:
        """As a parent does."""
        parent.tell(Changed(STREAM))
        for method, *arguments in (("quiet_since",), ("status",), ("say_stats",), ("trace", "1"), ("other",)) * 3:
            with contextlib.suppress(StateError, ChannelLostError):  # it starts, or ends
                await asked(lambda method=method, arguments=arguments: parent.call(method, *arguments))
            await asyncio.sleep(0.05)

    async def _serve(self, request: Request) -> Any:
        if request.method == "save":
            self._saving.set()
        return await self._desk.serve(0, request)

    def _wake(self, mapping: str, _: int) -> None:
        if self._channel is not None:
            self._channel.tell(Changed(mapping))


SCENARIOS: dict[str, Any] = {
    "child": ChildScenario(),
    "child that is halted": ChildScenario(halted=True),
}
