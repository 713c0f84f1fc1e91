"""The events of a mapping: its state, its batches, its records.

Counts are records unless the name says otherwise; times are in seconds (`_s`) or milliseconds (`_ms`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from esmd.observe.events import Event, Level, event

Next = Literal["visibility_timeout", "retry_backoff", "dead_letter_queue", "retry", "discard"]
"""What will become of a message that was kept: it is visible again when its visibility timeout ends, or after the delay of
`retry_backoff`, or the queue moves it to its dead-letter queue because it has been received `maxReceiveCount` times. Records of
a stream are invoked again, or given up."""


DisabledBecause = Literal["configuration", "paused", "updating", "removed", "stopping"]
"""Why a mapping does not poll: its settings say so, somebody paused it, it drains to go on with other settings or to be gone, or
the daemon is stopping."""

Topic = Literal["no_redrive_policy", "low_max_receive_count", "short_visibility_timeout", "function_stopped"]


@event
class MappingEvent(Event):
    """Base of what a mapping says."""

    mapping: str


# --- state


@event
class MappingEnabled(MappingEvent):
    """The source was found, the function loads: polling begins."""

    name: ClassVar[str] = "mapping.enabled"
    source: str
    function: str
    batch_size: int
    window_s: float
    max_concurrency: int | None = None
    """SQS: batches at once."""
    visibility_timeout_s: int | None = None
    max_receive_count: int | None = None
    starting_position: str | None = None
    """Streams: where shards without a stored position are read from."""
    parallelization_factor: int | None = None
    shards: int | None = None
    """Streams: known now."""


@event
class MappingDisabled(MappingEvent):
    """The mapping does not poll: by its settings, or it is paused; or it has drained, to change, to be gone, or to stop."""

    name: ClassVar[str] = "mapping.disabled"
    reason: Literal["configuration", "paused", "updating", "removed", "stopping"]


@event
class MappingUnavailable(MappingEvent):
    """The mapping cannot run now and will try again by itself. Said when the reason changes, then ever more rarely."""

    name: ClassVar[str] = "mapping.unavailable"
    level: ClassVar[Level] = "error"
    error_type: str
    error_message: str
    failures: int
    """Attempts that failed in a row, this one included."""
    retry_in_s: float


@event
class PollFailed(MappingEvent):
    """One call to the source failed in a way that usually passes; the next one follows soon."""

    name: ClassVar[str] = "poll.failed"
    level: ClassVar[Level] = "debug"
    error_type: str
    error_message: str
    retry_in_s: float


@event
class MappingRecovered(MappingEvent):
    """A mapping that was unavailable works again."""

    name: ClassVar[str] = "mapping.recovered"
    failures: int
    unavailable_s: float


@event
class MappingAdvice(MappingEvent):
    """Something about the source that works, but will hurt: no redrive policy, a short visibility timeout."""

    name: ClassVar[str] = "mapping.advice"
    level: ClassVar[Level] = "warning"
    topic: Topic
    hint: str


@event
class MappingStats(MappingEvent):
    """What a mapping did since its last `mapping.stats`, and what it is doing. Said once a period if anything moved."""

    name: ClassVar[str] = "mapping.stats"
    period_s: float
    received: int
    filtered: int
    invoked: int
    """Records sent in invocations; one that is retried counts again."""
    failed: int
    """Records of failed invocations; of partial failures those that the handler named."""
    deleted: int | None = None
    """SQS only."""
    discarded: int | None = None
    """Streams only: records given up, delivered to a destination or not."""
    dropped: int | None = None
    """Streams only: of those, the ones that no destination has."""
    iterator_age_max_ms: float | None = None
    """Streams only: age of the last record of a batch when it was sent, the largest."""
    processed_age_max_ms: float | None = None
    """The same when the invocation ended."""
    batches: int
    batch_errors: int
    duration_avg_ms: float | None
    duration_max_ms: float | None
    in_flight: int
    """Batches under way."""
    pollers: int
    """Receives under way."""
    concurrency: int
    """Batches that may be under way now."""
    available: bool


# --- records


@event
class RecordsReceived(MappingEvent):
    """A receive brought messages, or a page of a shard records."""

    name: ClassVar[str] = "records.received"
    level: ClassVar[Level] = "debug"
    records: int
    ids: tuple[str, ...] | None = None
    """Of the messages."""
    shard: str | None = None
    first_sequence_number: str | None = None
    """Of a page."""
    last_sequence_number: str | None = None


@event
class RecordFiltered(MappingEvent):
    """Records that match no filter. Messages are deleted from their queue, as Lambda does; records of streams are passed over."""

    name: ClassVar[str] = "record.filtered"
    level: ClassVar[Level] = "debug"
    records: int
    ids: tuple[str, ...]
    shard: str | None = None


@event
class RecordsDeleted(MappingEvent):
    """Processed messages are gone from the queue (filtered ones are not counted here)."""

    name: ClassVar[str] = "records.deleted"
    level: ClassVar[Level] = "debug"
    records: int
    batch_id: str | None = None


@event
class DeleteFailed(MappingEvent):
    """A message was processed but could not be deleted: it will be delivered again."""

    name: ClassVar[str] = "delete.failed"
    level: ClassVar[Level] = "warning"
    id: str
    error_type: str
    error_message: str


@event
class VisibilityFailed(MappingEvent):
    """A visibility timeout could not be changed: the one that the message has goes on."""

    name: ClassVar[str] = "visibility.failed"
    level: ClassVar[Level] = "warning"
    purpose: Literal["release", "retry_backoff", "heartbeat"]
    id: str
    error_type: str
    error_message: str


@event
class RecordsReleased(MappingEvent):
    """Messages that were received and never started are visible again at once."""

    name: ClassVar[str] = "records.released"
    records: int
    ids: tuple[str, ...] = ()


@event
class RecordsExpired(MappingEvent):
    """Messages whose visibility timeout ended before their invocation could start: the queue delivers them again."""

    name: ClassVar[str] = "records.expired"
    level: ClassVar[Level] = "warning"
    records: int
    ids: tuple[str, ...]


# --- batches


@event
class BatchEvent(MappingEvent):
    """Base of what becomes of a batch. `attempt` is the highest receive count in it; of a stream, attempts so far."""

    function: str
    shard: str | None = None
    batch_id: str
    request_id: str
    records: int
    attempt: int
    duration_ms: float
    executed_version: str | None = None
    """The version of the function that ran, where it has several."""
    iterator_age_ms: float | None = None
    """Of a stream: age of the last record when the invocation was sent."""
    processed_age_ms: float | None = None
    """Of a stream: age of the last record when the invocation ended."""


@event
class BatchSucceeded(BatchEvent):
    """The handler returned, and named no failures."""

    name: ClassVar[str] = "batch.succeeded"
    level: ClassVar[Level] = "debug"
    cut: str
    """Why the batch was closed: size, window, bytes, poll."""
    ids: tuple[str, ...] = ()
    """Of all its records."""


@event
class BatchRecords(MappingEvent):
    """Which records were in an invocation that failed, in whole or in part: all of them. Said before `batch.failed`."""

    name: ClassVar[str] = "batch.records"
    level: ClassVar[Level] = "debug"
    function: str
    shard: str | None = None
    batch_id: str
    request_id: str
    ids: tuple[str, ...]
    """In the order of the event."""
    failed_ids: tuple[str, ...]
    """Of those that have to be tried again, or are given up."""


@event
class BatchFailed(BatchEvent):
    """The batch failed as a whole; nothing of it is deleted."""

    name: ClassVar[str] = "batch.failed"
    level: ClassVar[Level] = "warning"
    ids: tuple[str, ...]
    error_type: str
    error_message: str
    next: Next
    retry_in_s: float
    """Until the first of its messages is visible again."""


@event
class BatchPartial(BatchEvent):
    """The handler named some failures; the other messages are deleted."""

    name: ClassVar[str] = "batch.partial"
    level: ClassVar[Level] = "warning"
    failed: int
    ids: tuple[str, ...]
    """Of the failed."""
    next: Next
    retry_in_s: float


@event
class BatchDelayed(MappingEvent):
    """The function had no free place or could not be reached; the invocation is tried again, nothing has run."""

    name: ClassVar[str] = "batch.delayed"
    level: ClassVar[Level] = "warning"
    shard: str | None = None
    function: str
    batch_id: str
    request_id: str
    records: int
    reason: str
    retry_in_s: float


@event
class BatchPayload(MappingEvent):
    """The event that goes to the handler; only with `--log-payloads`."""

    name: ClassVar[str] = "batch.payload"
    shard: str | None = None
    function: str
    batch_id: str
    request_id: str
    payload: str
