"""Where a daemon's status comes from: what its control side knows, what was counted, what went wrong."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from esmd import __version__
from esmd.status.backlog import Backlogs, HasBacklog
from esmd.status.model import (
    BlockedStatus,
    DaemonStatus,
    FunctionStatus,
    MappingStatus,
    ShardStatus,
    Snapshot,
    Totals,
)
from esmd.status.pace import Paces
from esmd.tasks import Lasting, unhurried

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from esmd.control.protocol import Entry
    from esmd.daemon import About
    from esmd.function import Function
    from esmd.observe.statistics import Statistics
    from esmd.status.history import History
    from esmd.status.model import Backlog
    from esmd.streams.view import ShardView
    from esmd.supervisor import Runner


STARTING = frozenset({"Creating", "Enabling"})
"""States in which a mapping has not been tried yet."""


@runtime_checkable
class HasShards(Protocol):
    """A runner that reads shards."""

    @property
    def shards(self) -> Sequence[ShardView]:
        """Those that are being read."""
        ...


class Seen(Protocol):
    """What is looked at; `esmd.control.protocol.Control` is one."""

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions made so far, by name."""
        ...

    def entries(self) -> Sequence[Entry]:
        """All mappings, in the order in which they are shown."""
        ...

    def runner(self, name: str) -> Runner | None:
        """What a mapping runs on just now; None while nothing runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What is known of the process itself.

    Attributes:
        about: its configuration.
        started_at: epoch seconds.
        draining: whether it is about to end.
    """

    about: About
    started_at: float
    draining: Callable[[], bool]


class StatusSource:
    """Takes snapshots of a daemon. Make it inside the running loop; `run` beside the daemon, else there are no rates.

    Args:
        seen: the mappings and functions.
        process: about the daemon.
        statistics: what counts.
        history: what remembers failures.
        wall: epoch seconds.
    """

    def __init__(
        self,
        seen: Seen,
        *,
        process: Process,
        statistics: Statistics,
        history: History,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._seen = seen
        self._process = process
        self._statistics = statistics
        self._history = history
        self._wall = wall
        self._paces = Paces(statistics, self._names)
        self._backlogs = Backlogs()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep what rates need while inside."""
        looking = Lasting(self._paces.run, name="status")
        try:
            yield
        finally:
            looking.cancel()
            await unhurried(asyncio.gather(looking.ended, self._backlogs.close(), return_exceptions=True))

    def unready(self, *, strict: bool) -> dict[str, str]:
        """What the daemon is not ready for, by mapping, and why; nothing once every mapping has been tried.

        Args:
            strict: a mapping that cannot run counts too.
        """
        reasons = {}
        for entry in self._seen.entries():
            if entry.state in STARTING and entry.trouble is None:
                reasons[entry.name] = f"it is {entry.state}"
            elif strict and entry.trouble is not None:
                reasons[entry.name] = entry.trouble
        return reasons | draining(self._process)

    async def snapshot(self) -> Snapshot:
        """The daemon now. Takes no longer than queues are given to say what waits in them (`backlog.PATIENCE`)."""
        runners: dict[str, object] = {entry.name: self._seen.runner(entry.name) for entry in self._seen.entries()}
        queues = {name: runner for name, runner in runners.items() if isinstance(runner, HasBacklog)}
        backlogs = await self._backlogs.of(queues)
        entries = self._seen.entries()  # after the wait, so that all is of one moment
        self._history.forget_all_but(entry.name for entry in entries)
        at = self._wall()
        return Snapshot(
            at=at,
            daemon=self._daemon(at),
            mappings=tuple(self._mapping(entry, backlogs.get(entry.name), at) for entry in entries),
            functions=tuple(function_status(each) for each in self._seen.functions.values()),
            failures=self._history.failures(),
        )

    def _names(self) -> list[str]:
        return [entry.name for entry in self._seen.entries()]

    def _daemon(self, at: float) -> DaemonStatus:
        about = self._process.about
        return DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            started_at=self._process.started_at,
            uptime_s=max(0.0, at - self._process.started_at),
            files=about.files,
            endpoint=without_credentials(about.endpoint),
            region=about.region,
            processes=1,
            missing=(),
            draining=self._process.draining(),
        )

    def _mapping(self, entry: Entry, backlog: Backlog | None, at: float) -> MappingStatus:
        name = entry.name
        runner = self._seen.runner(name)
        shards = tuple(self._shard(name, view, at) for view in _shards(runner))
        ages = [shard.iterator_age_ms for shard in shards if shard.iterator_age_ms is not None]
        counts = self._statistics.totals(name)
        return MappingStatus(
            name=name,
            uuid=str(entry.uuid),
            source=entry.mapping.source,
            source_arn=entry.mapping.event_source_arn,
            function=entry.mapping.function_name,
            origin=entry.origin,
            file=None if entry.file is None else str(entry.file),
            state=entry.state,
            paused=entry.paused,
            reason=entry.trouble,
            last_result=entry.last_result,
            last_error=self._history.last_error(name),
            in_flight=0 if runner is None else runner.in_flight,
            pollers=0 if runner is None else runner.pollers,
            concurrency=0 if runner is None else runner.concurrency,
            totals=Totals(
                received=counts.received,
                filtered=counts.filtered,
                invoked=counts.invoked,
                failed=counts.failed,
                deleted=counts.deleted,
                discarded=counts.discarded,
                dropped=counts.dropped,
                batches=counts.batches,
                batch_errors=counts.batch_errors,
                retries=self._history.retries[name],
            ),
            pace=self._paces.of(name),
            backlog=backlog,
            shards=shards,
            iterator_age_ms=max(ages, default=None),
        )

    def _shard(self, mapping: str, view: ShardView, at: float) -> ShardStatus:
        blocked = view.blocked
        return ShardStatus(
            shard=view.shard,
            position=view.position,
            outstanding=view.outstanding,
            in_flight=view.in_flight,
            caught_up=view.caught_up,
            millis_behind_latest=view.millis_behind_latest,
            iterator_age_ms=self._history.iterator_age(mapping, view.shard),
            blocked=None
            if blocked is None
            else BlockedStatus(
                error_type=blocked.error_type,
                error_message=blocked.error_message,
                attempts=blocked.attempts,
                records=blocked.records,
                first_sequence_number=blocked.first_sequence_number,
                last_sequence_number=blocked.last_sequence_number,
                since=blocked.since,
                expires_at=blocked.expires_at,
                retry_at=None if blocked.retry_in_s is None else at + blocked.retry_in_s,
            ),
        )


def draining(process: Process) -> dict[str, str]:
    """Why a daemon that is about to end is not ready."""
    return {"daemon": "it is draining"} if process.draining() else {}


def _shards(runner: object) -> Sequence[ShardView]:
    return runner.shards if isinstance(runner, HasShards) else ()


def function_status(function: Function) -> FunctionStatus:
    """A function now."""
    counts = function.total_counts()
    return FunctionStatus(
        name=function.name,
        limit=function.limit,
        busy=function.busy,
        environments=function.environments,
        invocations=counts.invocations,
        errors=counts.errors,
        throttles=counts.throttles,
        duration_sum_ms=counts.duration_sum,
        duration_max_ms=counts.duration_max,
        concurrency_max=counts.concurrency_max,
    )


def without_credentials(endpoint: str) -> str:
    """A URL less the user and password that may stand in it."""
    return re.sub(r"(?<=://)[^/@]*@", "", endpoint)
