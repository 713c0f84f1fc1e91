"""The daemon: starts every mapping, says when it is ready, drains on demand, and knows how it ended.

starting -> ready -> draining -> stopped
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esmd import __version__
from esmd.cli.exits import Exit
from esmd.observe import daemon_events as say
from esmd.observe.events import FunctionStats
from esmd.observe.mapping_events import MappingStats
from esmd.tasks import Lasting, all_ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from esmd.control.slots import Slots
    from esmd.function import Function
    from esmd.observe.statistics import Statistics
    from esmd.observe.telemetry import Telemetry
    from esmd.shutdown import Shutdown

_IDLE = "idle"
"""Reason of a drain that `exit_when_idle` asked for."""

_SHORTEST_LOOK = 0.1
"""Least seconds between two looks for idleness, however short the period is."""

_HALT_PATIENCE = 10.0
"""Seconds that killed mappings may take to let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """How to run, beyond the configuration; times in seconds.

    Attributes:
        grace: how long a drain may take.
        exit_when_idle: drain once nothing was received, run or waiting to be retried for that long; None: never.
        fail_fast: end when a mapping cannot run at the start.
        stats_period: between two `mapping.stats` of a mapping.
    """

    grace: float
    exit_when_idle: float | None
    fail_fast: bool
    stats_period: float


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What `daemon.starting` says of the configuration."""

    files: tuple[str, ...]
    endpoint: str
    region: str | None


class Daemon:
    """Runs mappings until `shutdown` says otherwise.

    Args:
        slots: the mappings.
        close: lets go of what the mappings have left over.
        functions: those made so far.
        about: said at the start.
        options: how to run.
        telemetry: where events go.
        statistics: what counts them.
        shutdown: when to stop.
    """

    def __init__(
        self,
        *,
        slots: Slots,
        close: Callable[[], Awaitable[None]],
        functions: Mapping[str, Function],
        about: About,
        options: DaemonOptions,
        telemetry: Telemetry,
        statistics: Statistics,
        shutdown: Shutdown,
    ) -> None:
        self._slots = slots
        self._close = close
        self._functions = functions
        self._about = about
        self._options = options
        self._telemetry = telemetry
        self._statistics = statistics
        self._shutdown = shutdown
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._stats_taken = self._started

    async def run(self) -> Exit:
        """Run to the end; the result is the process's exit code."""
        about = self._about
        self._telemetry.emit(
            say.DaemonStarting(
                version=__version__, pid=os.getpid(), files=about.files, endpoint=about.endpoint, region=about.region
            )
        )
        self._slots.start()
        watching = [Lasting(self._report)]
        if self._options.exit_when_idle is not None:
            watching.append(Lasting(partial(self._stop_when_idle, self._options.exit_when_idle)))
        try:
            failed_fast = await self._become_ready()
            await self._shutdown.drain.wait()
            cut_short = await self._drain()
        finally:
            for each in watching:
                each.cancel()
            self._slots.halt()
            try:
                await asyncio.gather(*(each.ended for each in watching), *self._slots.tasks, return_exceptions=True)
            finally:
                await all_ended(self._close(), *(function.close() for function in self._functions.values()))
        self.say_stats(final=True)
        code = self._exit_code(failed_fast, cut_short=cut_short)
        self._telemetry.emit(say.DaemonStopped(exit_code=int(code), uptime_s=self._loop.time() - self._started))
        return code

    # --- what the process that runs several daemons asks

    @property
    def quiet_since(self) -> float:
        """Loop time since which nothing happened in any mapping and nothing is awaited; infinity while something is."""
        return self._slots.quiet_since

    @property
    def unavailable(self) -> dict[str, bool]:
        """The mappings that cannot run now, by name, and whether it is their function that keeps them."""
        supervisors = (slot.supervisor for slot in self._slots)
        return {s.name: s.function_failed for s in supervisors if s is not None and s.state == "unavailable"}

    # --- the steps of its life

    async def _become_ready(self) -> Exit | None:
        """Wait until every mapping runs or has said why not; with fail-fast, the exit code for the latter."""
        wanted = sum(slot.wanted for slot in self._slots)
        held = sum(not slot.wanted for slot in self._slots)
        everyone = Lasting(self._slots.settled)
        stopping = asyncio.create_task(self._shutdown.drain.wait())
        try:
            await asyncio.wait((everyone.ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_ready = everyone.ended.done()
            stopping.cancel()
            everyone.cancel()
        if not is_ready:
            return None
        unavailable = self.unavailable
        self._telemetry.emit(say.DaemonReady(mappings=wanted, unavailable=len(unavailable), disabled=held))
        if not unavailable or not self._options.fail_fast:
            return None
        self._shutdown.request("fail-fast")
        return Exit.FAILED if all(unavailable.values()) else Exit.UNAVAILABLE

    async def _drain(self) -> bool:
        """Wait for the mappings to finish; True if the grace period or a second signal was faster."""
        at_work = [slot.runner for slot in self._slots if slot.runner is not None]
        self._slots.stop()
        running = self._slots.tasks
        self._telemetry.emit(
            say.DaemonDraining(
                reason=self._shutdown.reason,
                in_flight=sum(runner.in_flight for runner in at_work),
                pollers=sum(runner.pollers for runner in at_work),
                grace_s=self._options.grace,
            )
        )
        if not running:
            return False
        halting = asyncio.create_task(self._shutdown.halt.wait())
        everyone = asyncio.gather(*running, return_exceptions=True)
        try:
            await asyncio.wait((everyone, halting), timeout=self._options.grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            halting.cancel()
        if everyone.done():
            return False
        in_flight = sum(runner.in_flight for runner in at_work)
        reason = "second signal" if self._shutdown.halt.is_set() else "grace period over"
        self._telemetry.emit(say.DaemonCutShort(reason=reason, in_flight=in_flight))
        self._slots.halt()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HALT_PATIENCE):
                await asyncio.gather(*running, return_exceptions=True)
        return True

    def _exit_code(self, failed_fast: Exit | None, *, cut_short: bool) -> Exit:
        if self._shutdown.interrupted:
            return Exit.INTERRUPTED
        if cut_short:
            return Exit.CUT_SHORT
        if self._slots.broken:
            return Exit.FAILED
        if failed_fast is not None:
            return failed_fast
        if self._shutdown.reason == _IDLE and any(slot.supervisor and slot.supervisor.reason for slot in self._slots):
            return Exit.FAILED
        return Exit.OK

    # --- while it runs

    async def _stop_when_idle(self, period: float) -> None:
        """Ask for a drain once every mapping has been quiet for `period` seconds."""
        while True:
            left = self.quiet_since + period - self._loop.time()
            if left <= 0:
                self._shutdown.request(_IDLE)
                return
            await asyncio.sleep(max(_SHORTEST_LOOK, min(left, period)))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._options.stats_period)
            self.say_stats()

    def say_stats(self, *, final: bool = False, everything: bool = False) -> None:
        """Emit `mapping.stats` and `function.stats` of all that did something, or are doing something.

        Args:
            final: nothing polls any more.
            everything: also of what did nothing: another process may have done something for it.
        """
        now = self._loop.time()
        period = now - self._stats_taken
        self._stats_taken = now
        for slot in self._slots:
            counts = self._statistics.take(slot.name)
            supervisor = slot.supervisor
            runner = None if supervisor is None else supervisor.runner
            in_flight = 0 if runner is None else runner.in_flight
            if supervisor is None or not (counts.moved or in_flight or everything):
                continue
            self._telemetry.emit(
                MappingStats(
                    mapping=slot.name,
                    period_s=period,
                    received=counts.received,
                    filtered=counts.filtered,
                    invoked=counts.invoked,
                    failed=counts.failed,
                    deleted=None if supervisor.is_stream else counts.deleted,
                    discarded=counts.discarded if supervisor.is_stream else None,
                    dropped=counts.dropped if supervisor.is_stream else None,
                    iterator_age_max_ms=counts.iterator_age_max,
                    processed_age_max_ms=counts.processed_age_max,
                    batches=counts.batches,
                    batch_errors=counts.batch_errors,
                    duration_avg_ms=counts.duration_sum / counts.batches if counts.batches else None,
                    duration_max_ms=counts.duration_max if counts.batches else None,
                    in_flight=in_flight,
                    pollers=0 if runner is None or final else runner.pollers,
                    concurrency=0 if runner is None or final else runner.concurrency,
                    available=supervisor.reason is None,
                )
            )
        for function in self._functions.values():
            done = function.take_counts()
            if not (done.invocations or done.throttles or done.concurrency_max or everything):
                continue
            self._telemetry.emit(
                FunctionStats(
                    function=function.name,
                    period_s=period,
                    invocations=done.invocations,
                    errors=done.errors,
                    throttles=done.throttles,
                    duration_avg_ms=done.duration_sum / done.invocations if done.invocations else None,
                    duration_max_ms=done.duration_max if done.invocations else None,
                    concurrency_max=done.concurrency_max,
                    limit=function.limit,
                )
            )
