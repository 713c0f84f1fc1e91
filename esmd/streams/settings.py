"""What a stream mapping at work needs of its configuration, and what its parts share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.destinations.base import Destination
    from esmd.function import Function
    from esmd.mappings.filters import RecordFilter
    from esmd.mappings.policy import PolicyOptions
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.streams import Seek, StreamApi
    from esmd.state.protocol import StateStore
    from esmd.streams.bookreader import BookReader
    from esmd.trouble import Trouble

READ_AHEAD_BYTES = 12 * 1024 * 1024
"""Of one shard, read and not resolved: two of the largest events. Reading pauses above it."""

READ_AHEAD_TOTAL = 64 * 1024 * 1024
"""Of all shards of a mapping together: each may have an equal part, and a page more. What hundreds of shards may hold has
to be bounded too, not only what each may."""

READS_AT_ONCE = 64
"""Calls of one mapping under way at once, however many shards it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """One mapping's settings; times in seconds. Holds no defaults: those are the configuration's.

    Attributes:
        name: the mapping's name.
        mapping_id: a UUID that stays the same for the mapping: part of S3 keys.
        source: which service.
        stream_arn: of the event source.
        region: of the stream.
        function_arn: what failure records name.
        role_arn: `invokeIdentityArn` of Kinesis events.
        start: the starting position.
        window: the batching window, 0 for none.
        policy: retries, age, bisect, partial answers, backoff.
        tumbling_window: its length, 0 for none.
        on_destination_failure: whether the shard waits, or the records are dropped as on AWS.
        payload_as_object: how S3 objects hold the event: as an object instead of a JSON string.
        read_limit: most records of one read.
        idle_interval: between two reads of a shard that is caught up.
        least_interval: between two reads of any shard: the service allows no more.
        full_interval: the same after a read that brought as many records as it asked for.
        discovery_interval: between two listings of the shards.
        log_payloads: say the event of every invocation.
    """

    name: str
    mapping_id: str
    source: Literal["kinesis", "dynamodb"]
    stream_arn: str
    region: str
    function_arn: str
    role_arn: str
    start: Seek
    batch_size: int
    window: int
    parallelization_factor: int
    policy: PolicyOptions
    tumbling_window: int
    on_destination_failure: Literal["block", "drop"]
    payload_as_object: bool
    read_limit: int
    idle_interval: float
    least_interval: float
    full_interval: float
    discovery_interval: float
    log_payloads: bool


class ReadAhead:
    """How much one shard may have read and not resolved: its part of what the mapping's shards may have together.

    Attributes:
        shards: being read now.
    """

    def __init__(self) -> None:
        self.shards = 0

    @property
    def limit(self) -> int:
        """In bytes. Reading goes on below it, so that even the smallest part lets a shard read a page."""
        return min(READ_AHEAD_BYTES, max(1, READ_AHEAD_TOTAL // max(1, self.shards)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the shards of one mapping share; `stop` is set when nothing new is to be started. `wall` is the time of day.

    `book` is where several processes agree on who reads which shard; None where this one reads all of them.
    """

    settings: StreamSettings
    api: StreamApi
    function: Function
    record_filter: RecordFilter | None
    destination: Destination | None
    store: StateStore
    telemetry: Telemetry
    trouble: Trouble
    stop: asyncio.Event
    book: BookReader | None = None
    wall: Callable[[], float] = time.time
    ahead: ReadAhead = field(default_factory=ReadAhead)
    calls: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READS_AT_ONCE))
