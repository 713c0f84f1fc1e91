"""The events of `esmd dev`."""

from __future__ import annotations

from typing import ClassVar, Literal

from esmd.observe.events import Event, Level, event


@event
class DevEndpoint(Event):
    """The AWS that the daemon and its handlers use; point other tools at it with AWS_ENDPOINT_URL."""

    name: ClassVar[str] = "dev.endpoint"
    endpoint_url: str
    embedded: bool


@event
class DevQueueCreated(Event):
    """A queue that the configuration names and the endpoint lacked, with a dead-letter queue of its own."""

    name: ClassVar[str] = "dev.queue_created"
    queue: str
    visibility_timeout_s: int
    dead_letter_queue: str
    max_receive_count: int


@event
class DevTrafficSent(Event):
    """Sample records were sent to a queue, stream or table."""

    name: ClassVar[str] = "dev.traffic_sent"
    source: str
    records: int


@event
class DevTrafficSkipped(Event):
    """Samples were not sent: no enabled mapping reads that source."""

    name: ClassVar[str] = "dev.traffic_skipped"
    level: ClassVar[Level] = "warning"
    kind: Literal["queue", "stream", "table"]
    source: str
    records: int


@event
class DevDeadLetters(Event):
    """Messages have arrived in a dead-letter queue: they were received `maxReceiveCount` times and never deleted."""

    name: ClassVar[str] = "dev.dead_letters"
    level: ClassVar[Level] = "warning"
    queue: str
    messages: int
    """In the queue now."""


@event
class DevChoreFailed(Event):
    """Sending samples, or watching dead letters or code, has ended with an error; the mappings run on."""

    name: ClassVar[str] = "dev.chore_failed"
    level: ClassVar[Level] = "error"
    chore: str
    error_type: str
    error_message: str


@event
class DevSourceCreated(Event):
    """A stream, table or on-failure destination that the configuration names and the endpoint lacked."""

    name: ClassVar[str] = "dev.source_created"
    kind: Literal["stream", "table", "destination"]
    source: str


@event
class DevWatching(Event):
    """The code of these functions is watched: a change is loaded without a new start, see `function.reloaded`."""

    name: ClassVar[str] = "dev.watching"
    folders: tuple[str, ...]
    functions: tuple[str, ...]


@event
class DevReloadOff(Event):
    """Changed code is not loaded: of one function, or of none."""

    name: ClassVar[str] = "dev.reload_off"
    level: ClassVar[Level] = "warning"
    function: str | None = None
    """Left out: of all."""
    reason: str
