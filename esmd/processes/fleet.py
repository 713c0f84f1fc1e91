"""A daemon of several processes: the parent starts them, divides the work, reports for all, and ends with them.

starting -> ready -> draining -> stopped, as a daemon of one process; what each child does is its own `esmd.daemon`.

How it ends is the first row that fits:

| what happened                                              | exit code                        |
|------------------------------------------------------------|----------------------------------|
| a second interrupt                                         | 130                              |
| the grace period, or a second TERM, cut a process short    | 75                               |
| a process failed, or was idle with a mapping unavailable   | 1                                |
| `--fail-fast`, and a mapping could not run                 | 69; 1 if functions alone are why |
| all drained                                                | 0                                |
"""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from esmd import __version__
from esmd.cli.exits import Exit
from esmd.config.schema import StreamMapping
from esmd.observe import daemon_events as say
from esmd.observe.mapping_events import MappingAdvice, MappingDisabled
from esmd.processes.desk import Desk
from esmd.processes.member import Member
from esmd.processes.messages import Setup
from esmd.processes.shares import divided
from esmd.processes.status import FleetStatus
from esmd.processes.sums import Sums
from esmd.processes.trail import FleetTrail
from esmd.tasks import Lasting, all_ended
from esmd.waiting import answers_within

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from esmd.assembly import RunOptions
    from esmd.config.schema import Config
    from esmd.observe.mapping_events import DisabledBecause
    from esmd.observe.telemetry import Telemetry
    from esmd.processes.messages import Request
    from esmd.shutdown import Shutdown
    from esmd.state.protocol import DaemonStore
    from esmd.status.source import Process

_SHORTEST_LOOK = 0.1
"""Least seconds between two looks for idleness, as in a daemon of one process."""

_ANSWER_SECONDS = 5.0
"""How long the children may take to say their statistics; an inline handler may block one of them."""

_DRAIN_SECONDS = 1.0
"""How long the children may take to say what is under way."""

_HALT_PATIENCE = 12.0
"""Seconds that a halted child may take to end: more than its own patience with what it has halted."""


def exit_of(codes: Collection[Exit], *, interrupted: bool, cut_short: bool, failed_fast: Exit | None) -> Exit:
    """The exit code by the module's table.

    Args:
        codes: with which the processes ended.
        interrupted: by a second interrupt.
        cut_short: a drain that was not waited for.
        failed_fast: with fail-fast, the code for a mapping that could not run; None if all could.
    """
    if interrupted:
        return Exit.INTERRUPTED
    if cut_short or Exit.CUT_SHORT in codes:
        return Exit.CUT_SHORT
    if Exit.FAILED in codes:
        return Exit.FAILED
    return Exit.OK if failed_fast is None else failed_fast


class Fleet:
    """Runs children until `shutdown` says otherwise. Make it inside the running loop.

    Args:
        config: validated, and whole.
        options: of the command line.
        process: about the daemon as a whole.
        processes: how many.
        level: the least level of log lines.
        store: of the daemon; None where no mapping needs one.
        telemetry: where events go.
        shutdown: the process's wish to stop.
        paused: names of the mappings that are disabled since somebody paused them.
    """

    def __init__(
        self,
        config: Config,
        *,
        options: RunOptions,
        process: Process,
        processes: int,
        level: str,
        store: DaemonStore | None,
        telemetry: Telemetry,
        shutdown: Shutdown,
        paused: frozenset[str] = frozenset(),
    ) -> None:
        self._paused = paused
        self._about = process.about
        self._options = options.daemon
        self._telemetry = telemetry
        self._shutdown = shutdown
        self._loop = asyncio.get_running_loop()
        self._started = self._stats_taken = self._loop.time()
        self._sums = Sums()
        self._advice: set[MappingAdvice] = set()
        self._tried = asyncio.Event()
        chosen = options.chosen(config)
        self._enabled = [mapping for mapping in chosen if mapping.enabled]
        self._disabled = [mapping for mapping in chosen if not mapping.enabled]
        # When to stop and when to say statistics is decided here.
        daemon = replace(options.daemon, grace=math.inf, exit_when_idle=None, fail_fast=False, stats_period=math.inf)
        parts = [divided(config, number, processes) for number in range(processes)]
        self._members = [
            Member(
                number,
                Setup(config=part, options=replace(options, daemon=daemon), level=level),
                parent=self,
                telemetry=telemetry,
                sums=self._sums,
            )
            for number, part in enumerate(parts)
        ]
        self.status = FleetStatus(self._members, chosen=chosen, paused=paused, process=process)
        """How all of it is just now."""
        self.trail = FleetTrail(self._members)
        """What became of records lately."""
        readers = {
            mapping.name: [number for number, part in enumerate(parts) if mapping.name in part.mappings]
            for mapping in self._enabled
            if isinstance(mapping, StreamMapping)
        }
        self._desk = Desk(store, readers=readers, wake=self._wake, telemetry=telemetry)

    async def run(self) -> Exit:
        """Run to the end; the result is the exit code."""
        about = self._about
        self._telemetry.emit(
            say.DaemonStarting(
                version=__version__, pid=os.getpid(), files=about.files, endpoint=about.endpoint, region=about.region
            )
        )
        for mapping in self._disabled:
            reason: DisabledBecause = "paused" if mapping.name in self._paused else "configuration"
            self._telemetry.emit(MappingDisabled(mapping=mapping.name, reason=reason))
        self._desk.expect(member.number for member in self._members)
        running = [Lasting(m.run, name=f"process {m.number}") for m in self._members]
        watching = [Lasting(self._report)]
        if self._options.exit_when_idle is not None:
            watching.append(Lasting(partial(self._stop_when_idle, self._options.exit_when_idle)))
        try:
            failed_fast = await self._become_ready()
            await self._shutdown.drain.wait()
            cut_short = await self._drain(running)
        finally:
            for each in (*watching, *running):
                each.cancel()
            await all_ended(*(each.ended for each in (*watching, *running)))
        self._say_stats(final=True)
        code = exit_of(
            {member.code for member in self._members},
            interrupted=self._shutdown.interrupted,
            cut_short=cut_short,
            failed_fast=failed_fast,
        )
        self._telemetry.emit(say.DaemonStopped(exit_code=int(code), uptime_s=self._loop.time() - self._started))
        return code

    # --- what members tell

    def changed(self, member: Member) -> None:  # noqa: ARG002 - whoever it is, all are looked at
        """A member is in another state: shards are kept for those that start, and for no other."""
        starting = [
            m.number for m in self._members if m.state == "starting" or (m.state == "waiting" and not m.pause_ahead)
        ]
        self._desk.expect(starting)
        if all(m.state not in {"waiting", "starting"} for m in self._members):
            self._tried.set()

    def gone(self, member: Member) -> None:
        """Nothing of a member's process runs any more: others may read its shards."""
        self._desk.leave(member.number)

    def advise(self, event: MappingAdvice) -> None:
        """Say what all processes find about a source, once."""
        if event not in self._advice:
            self._advice.add(event)
            self._telemetry.emit(event)

    async def serve(self, process: int, request: Request) -> Any:
        """Carry out a call of a child."""
        return await self._desk.serve(process, request)

    def _wake(self, mapping: str, process: int) -> None:
        self._members[process].wake(mapping)

    # --- its life

    async def _become_ready(self) -> Exit | None:
        """Wait until every mapping of every child has been tried; with fail-fast, the exit code if one cannot run."""
        tried = self._loop.create_task(self._tried.wait())
        stopping = self._loop.create_task(self._shutdown.drain.wait())
        try:
            await asyncio.wait((tried, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tried.cancel()
            stopping.cancel()
        if self._shutdown.drain.is_set():
            return None
        unavailable: dict[str, bool] = {}
        for member in self._members:
            for mapping, by_function in member.unavailable.items():
                unavailable[mapping] = unavailable.get(mapping, True) and by_function
        self._telemetry.emit(
            say.DaemonReady(mappings=len(self._enabled), unavailable=len(unavailable), disabled=len(self._disabled))
        )
        if not unavailable or not self._options.fail_fast:
            return None
        self._shutdown.request("fail-fast")
        return Exit.FAILED if all(unavailable.values()) else Exit.UNAVAILABLE

    async def _drain(self, running: Sequence[Lasting]) -> bool:
        """Let all drain, and wait for them; True if the grace period or a second signal was faster."""
        ends_at = self._loop.time() + self._options.grace
        for member in self._members:
            member.drain(self._shutdown.reason)
        await answers_within(_DRAIN_SECONDS, [member.draining.wait() for member in self._members])
        self._telemetry.emit(
            say.DaemonDraining(
                reason=self._shutdown.reason,
                in_flight=sum(member.under_way[0] for member in self._members),
                pollers=sum(member.under_way[1] for member in self._members),
                grace_s=self._options.grace,
            )
        )
        everyone = asyncio.gather(*(each.ended for each in running), return_exceptions=True)
        halting = self._loop.create_task(self._shutdown.halt.wait())
        try:
            await asyncio.wait(
                (everyone, halting),
                timeout=max(0.0, ends_at - self._loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            halting.cancel()
        if everyone.done():
            return False
        reason = "second signal" if self._shutdown.halt.is_set() else "grace period over"
        for member in self._members:
            member.halt()
        await asyncio.wait((everyone,), timeout=_HALT_PATIENCE)
        if not everyone.done():
            for member in self._members:
                member.kill()
            await asyncio.wait((everyone,))
        self._telemetry.emit(
            say.DaemonCutShort(reason=reason, in_flight=sum(member.cut_off for member in self._members))
        )
        return True

    # --- while it runs

    async def _stop_when_idle(self, period: float) -> None:
        """Ask for a drain once every mapping in every process has been quiet for `period` seconds."""
        while True:
            quiet = await asyncio.gather(*(member.ask("quiet_since") for member in self._members))
            ready = all(member.state == "ready" for member in self._members)
            # A process that cannot answer is not quiet; the clock of the loop is the same in all.
            since = max((math.inf if each is None else each for each in quiet), default=self._started)
            left = (since if ready else math.inf) + period - self._loop.time()
            if left <= 0:
                self._shutdown.request("idle")
                return
            await asyncio.sleep(max(_SHORTEST_LOOK, min(left, period)))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._options.stats_period)
            await answers_within(_ANSWER_SECONDS, [member.ask("say_stats") for member in self._members])
            self._say_stats()

    def _say_stats(self, *, final: bool = False) -> None:
        now = self._loop.time()
        period, self._stats_taken = now - self._stats_taken, now
        for event in self._sums.take(period=period, final=final):
            self._telemetry.emit(event)
