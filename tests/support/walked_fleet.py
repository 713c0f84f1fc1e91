"""A daemon of several processes that somebody cancels: who dies is replaced, all have ended when it ends, and it says how."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from esmd.assembly import RunOptions
from esmd.cli.exits import Exit
from esmd.daemon import About, DaemonOptions
from esmd.observe.daemon_events import DaemonReady
from esmd.processes.fleet import Fleet
from esmd.processes.messages import Request
from esmd.shutdown import Shutdown
from esmd.status.source import Process

from support.asked import asked
from support.control_lab import config, mapping
from support.fake_children import DIED, KILLED, Manner, Nursery
from support.mapping_lab import Collector
from support.walked_processes import SlowStore
from support.walked_state import NAME, STREAM, progress_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.observe.events import Event

    from support.walker import How, Walk

LONGEST = 500.0
_SAVE = Request(0, "save", (NAME, STREAM, progress_at(2)), {})


class _Listener(Collector):
    """Sees that the daemon is called ready when it is."""

    def __init__(self, nursery: Nursery, processes: int) -> None:
        super().__init__()
        self._nursery = nursery
        self._processes = processes

    def emit(self, event: Event) -> None:
        if isinstance(event, DaemonReady):
            assert sum(child.tried for child in self._nursery.children) >= self._processes, "not all have tried"
        super().emit(event)


@dataclass(kw_only=True)
class FleetScenario:
    """A parent and its children. Call it with a walk.

    Attributes:
        manners: see `Nursery`.
        refused: see `Nursery`.
        processes: how many.
        grace: seconds of the drain.
        idle: it ends by itself after so many seconds without work; None: when it is told to.
        stops_in: seconds until it is told to.
        hasty: that is while it starts.
        cancelled: it is cancelled then, and not told.
        fail_fast: as on the command line.
        code: how it ends where nothing is cancelled.
    """

    manners: Sequence[Manner] = (Manner(),)
    refused: int = 0
    processes: int = 2
    grace: float = 30.0
    idle: float | None = None
    stops_in: float = 10.0
    hasty: bool = False
    cancelled: bool = False
    fail_fast: bool = False
    code: Exit = Exit.OK
    hows: ClassVar[Sequence[How]] = ("cut", "late", "halt", "drain")

    async def __call__(self, walk: Walk) -> None:
        """See that everybody lives, and ends."""
        nursery = Nursery(self.manners, refused=self.refused)
        store = SlowStore()
        await asked(lambda: store.begin(NAME, STREAM))
        async with asyncio.timeout(LONGEST):
            with nursery.installed():
                await self._life(walk, nursery, store)
        assert nursery.alive == [], "a process has outlived the fleet"
        if any(child.returncode == DIED for child in nursery.children):
            stored = await store.load(NAME, STREAM.arn)
            assert stored is not None
            assert "shard-0" in stored.shards, "what a process sent before its end is lost"

    async def _life(self, walk: Walk, nursery: Nursery, store: Any) -> None:
        shutdown, telemetry = Shutdown(), _Listener(nursery, self.processes)
        fleet = Fleet(
            config(mapping("a")),
            options=RunOptions(
                daemon=DaemonOptions(
                    grace=self.grace, exit_when_idle=self.idle, fail_fast=self.fail_fast, stats_period=3.0
                ),
                only=frozenset(),
                longest_poll=None,
                log_payloads=False,
            ),
            process=Process(
                about=About(files=(), endpoint="http://127.0.0.1:1", region=None),
                started_at=0.0,
                draining=shutdown.drain.is_set,
            ),
            processes=self.processes,
            level="info",
            store=store,
            telemetry=telemetry,
            shutdown=shutdown,
        )
        walk.stop = lambda: shutdown.request("drain")
        main = walk.main = asyncio.create_task(fleet.run())
        try:
            await asyncio.wait([main], timeout=self.stops_in)
            if not (main.done() or main.cancelling() or shutdown.drain.is_set()):
                if not self.hasty:
                    assert len(nursery.alive) == self.processes, "a process that died has no successor"
                    assert fleet.status.unready(strict=False) == {}
                if self.cancelled:
                    main.cancel()
                elif self.idle is None:
                    shutdown.request("over")
            await asyncio.wait([main])
        finally:
            main.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await main
        if main.cancelled():
            assert self.cancelled or walk.how in ("cut", "late", "halt")
            return
        code = main.result()
        if any(child.cut_short for child in nursery.children):
            assert code in {Exit.FAILED, Exit.CUT_SHORT}, "it says that all has drained"
        elif walk.how != "drain" or not self.fail_fast:
            killed = any(child.returncode == KILLED for child in nursery.children)
            assert code == self.code or (killed and code is Exit.FAILED)


_DIES = Manner(dies_in=1.5, last_calls=(_SAVE,), holds_stderr=True)
_LACKING = {"a": False}

SCENARIOS: dict[str, Any] = {
    "processes": FleetScenario(),
    "processes that die": FleetScenario(manners=[_DIES, _DIES, _DIES, Manner()], stops_in=20.0),
    "processes that cannot be started at first": FleetScenario(refused=3, stops_in=20.0),
    "processes until they are idle": FleetScenario(idle=2.0, stops_in=30.0),
    "processes that are told to end while they start": FleetScenario(
        manners=[Manner(ready_in=math.inf)], stops_in=0.05, hasty=True
    ),
    "processes that cannot run a mapping": FleetScenario(
        manners=[Manner(unavailable=_LACKING), Manner(unavailable=_LACKING, ready_in=2.0)],
        fail_fast=True,
        code=Exit.UNAVAILABLE,
    ),
    "processes that do not drain in time": FleetScenario(
        manners=[Manner(drains_in=math.inf)], grace=1.0, code=Exit.CUT_SHORT
    ),
    "processes that do not end": FleetScenario(
        manners=[Manner(drains_in=math.inf, halts_in=math.inf)], grace=1.0, code=Exit.CUT_SHORT
    ),
    "processes of a parent that is cancelled": FleetScenario(cancelled=True),
}
