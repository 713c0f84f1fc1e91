"""The events of stream mappings: shards, batches in trouble, destinations, progress.

Batches that succeed or fail are said with the events of `esmd.observe.mapping_events`, `shard` filled in.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from esmd.observe.events import (
    Level,
    event,
)
from esmd.observe.mapping_events import MappingEvent


@event
class ShardEvent(MappingEvent):
    """Base of what is said of a shard."""

    shard: str


# --- shards


@event
class ShardDiscovered(ShardEvent):
    """A shard was not known before. It is read from `start` once its parents are finished."""

    name: ClassVar[str] = "shard.discovered"
    parents: tuple[str, ...]
    start: str
    """A position, or `passed over`: closed before the mapping began at LATEST."""


@event
class ShardStarted(ShardEvent):
    """The shard is being read."""

    name: ClassVar[str] = "shard.started"
    position: str


@event
class ShardFinished(ShardEvent):
    """The shard is closed, and every record of it is dealt with: its children may start."""

    name: ClassVar[str] = "shard.finished"
    children: tuple[str, ...]


@event
class ShardLost(ShardEvent):
    """The shard vanished before it was read to its end: its records are gone at the source."""

    name: ClassVar[str] = "shard.lost"
    level: ClassVar[Level] = "error"


@event
class ListingDoubted(MappingEvent):
    """A listing lacks shards that the one before it had: it is made again before their positions are forgotten."""

    name: ClassVar[str] = "stream.listing_doubted"
    shards: int
    shard_ids: tuple[str, ...]
    """The first ten of them."""


@event
class ShardReseeked(ShardEvent):
    """An iterator was lost; reading goes on at `position`. At TRIM_HORIZON records may be missing or come again."""

    name: ClassVar[str] = "shard.reseeked"
    level: ClassVar[Level] = "warning"
    position: str
    error_type: str
    error_message: str


@event
class ShardBlocked(ShardEvent):
    """A batch has been failing for over a minute and holds up what is behind it."""

    name: ClassVar[str] = "shard.blocked"
    level: ClassVar[Level] = "error"
    records: int
    first_sequence_number: str
    last_sequence_number: str
    error_type: str
    error_message: str
    failing_for_s: float
    expires_in_s: float | None
    """Until the first record is discarded for its age, or gone at the source; None where neither is known."""


@event
class StreamReplaced(MappingEvent):
    """The stream was deleted and made again: stored positions mean nothing in it, reading starts anew."""

    name: ClassVar[str] = "stream.replaced"
    level: ClassVar[Level] = "warning"
    source: str
    created_at: str
    forgotten_shards: int


@event
class WindowDropped(ShardEvent):
    """A tumbling window was open when the mapping stopped, and has none any more: its state is not used."""

    name: ClassVar[str] = "window.dropped"
    level: ClassVar[Level] = "warning"


# --- batches in trouble


@event
class BatchRetrying(ShardEvent):
    """A part of a batch failed and will be invoked again."""

    name: ClassVar[str] = "batch.retrying"
    level: ClassVar[Level] = "warning"
    function: str
    batch_id: str
    request_id: str | None = None
    records: int
    attempt: int
    """Attempts so far that count; throttles do not."""
    why: str
    error_type: str
    error_message: str
    retry_in_s: float


@event
class BatchBisected(ShardEvent):
    """A failed part was split in two; the left one is invoked first."""

    name: ClassVar[str] = "batch.bisected"
    level: ClassVar[Level] = "warning"
    function: str
    batch_id: str
    request_id: str | None = None
    sizes: tuple[int, ...]
    at_sequence_number: str
    """The first record of the right part."""


@event
class BatchDiscarded(ShardEvent):
    """Records are given up: their attempts are used, or they are too old. The mapping goes on behind them."""

    name: ClassVar[str] = "batch.discarded"
    level: ClassVar[Level] = "error"
    function: str
    batch_id: str
    condition: Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
    approximate_invoke_count: int
    records: int
    first_sequence_number: str
    last_sequence_number: str
    destination: str | None
    """Where their failure record went; None: nowhere, they are dropped."""


@event
class SnapshotIgnored(ShardEvent):
    """What was stored of a batch in trouble could not be used: its retries start anew."""

    name: ClassVar[str] = "batch.snapshot_ignored"
    level: ClassVar[Level] = "warning"
    reason: str


# --- destinations and progress


@event
class DestinationSent(ShardEvent):
    """The on-failure destination has accepted a failure record."""

    name: ClassVar[str] = "destination.sent"
    destination: str
    condition: str
    records: int


@event
class DestinationFailed(ShardEvent):
    """The on-failure destination did not accept a failure record; the shard waits, and it is sent again."""

    name: ClassVar[str] = "destination.failed"
    level: ClassVar[Level] = "error"
    destination: str
    error_type: str
    error_message: str
    failures: int
    retry_in_s: float | None
    """None: it is given up (`on_destination_failure: drop`), the records are dropped."""


@event
class CheckpointCommitted(ShardEvent):
    """Progress would survive a kill up to here."""

    name: ClassVar[str] = "checkpoint.committed"
    level: ClassVar[Level] = "debug"
    position: str
