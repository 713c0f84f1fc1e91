"""What a running daemon is and does, at one moment: the values behind `esmd status`, the web page and the metrics.

Counts are records unless said otherwise, and since the daemon's start; rates are per second; times of day are epoch seconds,
durations seconds (`_s`) or milliseconds (`_ms`). None is: not known, or not meant for this kind of source.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from esmd.mappings.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a mapping has done since the daemon's start.

    Attributes:
        received: records read from the source.
        filtered: records that match no filter.
        invoked: records sent in invocations; one that is retried counts again.
        failed: records of failed invocations; of partial failures those that the handler named.
        deleted: SQS: messages deleted after they were processed.
        discarded: streams: records given up.
        dropped: streams: of those, the ones that no destination has.
        batches: invocations.
        batch_errors: invocations that failed as a whole.
        retries: SQS: batches with a message that had been received before. Streams: parts of batches invoked again.
    """

    received: int = 0
    filtered: int = 0
    invoked: int = 0
    failed: int = 0
    deleted: int = 0
    discarded: int = 0
    dropped: int = 0
    batches: int = 0
    batch_errors: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Records per second over some seconds; see `Totals`."""

    received: float = 0.0
    filtered: float = 0.0
    invoked: float = 0.0
    failed: float = 0.0
    deleted: float = 0.0
    discarded: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a mapping is.

    Attributes:
        last_10_s: the mean of the last ten seconds.
        last_60_s: the mean of the last minute.
        invoked: records sent in each of the last seconds, at most 60, the latest last.
        failed: records that failed in the same seconds.
    """

    last_10_s: Rates
    last_60_s: Rates
    invoked: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """About how many messages a queue holds; a few seconds old.

    Attributes:
        visible: `ApproximateNumberOfMessages`.
        not_visible: `ApproximateNumberOfMessagesNotVisible`.
        delayed: `ApproximateNumberOfMessagesDelayed`.
        reason: why the numbers are not known.
    """

    visible: int | None = None
    not_visible: int | None = None
    delayed: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """The last thing that went wrong."""

    error_type: str
    error_message: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedStatus:
    """A batch of a shard that fails and holds up what is behind it.

    Attributes:
        attempts: so far, those that count.
        records: in the part of the batch that fails now.
        since: of the first failure.
        expires_at: when these records are too old; None without `MaximumRecordAgeInSeconds`.
        retry_at: of the next invocation; None while it runs, or waits for a place in the function.
    """

    error_type: str
    error_message: str
    attempts: int
    records: int
    first_sequence_number: str
    last_sequence_number: str
    since: float
    expires_at: float | None
    retry_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """A shard that is being read.

    Attributes:
        position: stored: where reading goes on after a kill.
        outstanding: records that were read and are not resolved.
        in_flight: batches under way.
        caught_up: whether the last read found nothing more.
        millis_behind_latest: `MillisBehindLatest` of the last read.
        iterator_age_ms: age of the last record of the last batch, when it was sent.
        blocked: what holds it up; None where nothing does.
    """

    shard: str
    position: str
    outstanding: int
    in_flight: int
    caught_up: bool
    millis_behind_latest: int | None
    iterator_age_ms: float | None
    blocked: BlockedStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingStatus:
    """One mapping.

    Attributes:
        source: `sqs`, `kinesis` or `dynamodb`.
        source_arn: of the queue or stream.
        origin: `file` or `api`.
        state: AWS's, such as `Enabled`.
        reason: why it cannot run though it is enabled.
        last_result: AWS's `LastProcessingResult`.
        in_flight: batches under way.
        pollers: receives under way, or shards being read.
        concurrency: batches that may be under way now.
        backlog: SQS: of the queue.
        shards: streams: being read by this daemon.
        iterator_age_ms: streams: the largest of the shards.
    """

    name: str
    uuid: str
    source: str
    source_arn: str
    function: str
    origin: str
    file: str | None
    state: str
    paused: bool
    reason: str | None
    last_result: str
    last_error: LastError | None
    in_flight: int
    pollers: int
    concurrency: int
    totals: Totals
    pace: Pace
    backlog: Backlog | None
    shards: tuple[ShardStatus, ...]
    iterator_age_ms: float | None

    @property
    def blocked(self) -> tuple[ShardStatus, ...]:
        """The shards that a failing batch holds up."""
        return tuple(shard for shard in self.shards if shard.blocked is not None)

    def concerned_by(self, mapping: str | None, function: str | None) -> bool:
        """Whether a failure of this mapping and function is its own, or of its function as a whole."""
        return mapping == self.name or (mapping is None and function == self.function)

    @property
    def in_trouble(self) -> bool:
        """Whether a person should look: it cannot run, or a shard is blocked."""
        return self.reason is not None or bool(self.blocked)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStatus:
    """One function, over all its mappings.

    Attributes:
        limit: most invocations at once.
        busy: invocations now.
        environments: execution environments that there are; None for a form of function that has none of its own.
        errors: invocations that raised, timed out, exited or could not be loaded.
        throttles: invocations refused; not among `invocations`.
        duration_sum_ms: of all invocations.
        duration_max_ms: of the longest.
        concurrency_max: most places taken at once.
    """

    name: str
    limit: int
    busy: int
    environments: int | None
    invocations: int
    errors: int
    throttles: int
    duration_sum_ms: float
    duration_max_ms: float
    concurrency_max: int

    @property
    def duration_avg_ms(self) -> float | None:
        """The mean; None where nothing ran."""
        return self.duration_sum_ms / self.invocations if self.invocations else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that a handler wrote or logged, or an event of its invocation.

    Attributes:
        stream: `stdout`, `stderr`, the name of a logger, or the name of an event.
    """

    at: float
    stream: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something that failed lately.

    Attributes:
        event: name of the log line that said so.
        fields: its keys.
        lines: what was logged of the same invocation, the latest.
    """

    at: float
    event: str
    level: str
    mapping: str | None
    function: str | None
    fields: Mapping[str, Any]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The process.

    Attributes:
        endpoint: where the sources are, without credentials.
        processes: how many share the work.
        missing: numbers of processes that did not answer: what they do is not in the snapshot.
        draining: whether it is about to end.
    """

    version: str
    pid: int
    started_at: float
    uptime_s: float
    files: tuple[str, ...]
    endpoint: str
    region: str | None
    processes: int
    missing: tuple[int, ...]
    draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All of it; `failures` has the latest first."""

    at: float
    daemon: DaemonStatus
    mappings: tuple[MappingStatus, ...]
    functions: tuple[FunctionStatus, ...]
    failures: tuple[Failure, ...]

    def mapping(self, name: str) -> MappingStatus | None:
        """One mapping, by its name or UUID; None if there is none."""
        return next((each for each in self.mappings if name in {each.name, each.uuid}), None)


def to_json(value: Any) -> Any:
    """A value of this module as JSON values: members named as here, numbers that JSON does not know left out as null."""
    return _plain(asdict(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
