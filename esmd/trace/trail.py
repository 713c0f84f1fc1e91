"""What became of the last batches, record by record: a telemetry sink with a bounded memory.

It keeps the events themselves, whose ids are the texts that the records had anyway. What that costs a record is its share of
three appends for a batch.
"""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from esmd.observe import events as say
from esmd.observe import mapping_events as seen
from esmd.observe import stream_events as streams
from esmd.observe.logging import fields_of
from esmd.trace.life import life_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esmd.observe.events import Event
    from esmd.trace.life import Life

MOST_BYTES = 2 * 1024 * 1024
"""What is remembered, by estimate: about the last ten thousand records."""

_EVENT = 400
"""Bytes of an event without its ids."""

_ID = 110
"""Bytes of an id, and of the place that names it."""

_PLACE = 8
"""Bytes of a place, where another event holds the id."""


class Trail:
    """Remembers what became of records. Belongs to the event loop.

    Args:
        wall: epoch seconds.
        most_bytes: how much is remembered.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time, most_bytes: int = MOST_BYTES) -> None:
        self._wall = wall
        self._most = most_bytes
        self._events: deque[tuple[float, Event, int]] = deque()
        self._bytes = 0
        self._forgets = False

    def takes(self, kind: type[Event]) -> bool:
        """See `Sink`."""
        return kind in _WEIGHTS

    def sink(self, event: Event) -> None:
        """Take one event."""
        weigh = _WEIGHTS.get(type(event))
        if weigh is None:
            return
        weight = weigh(event)
        self._events.append((self._wall(), event, weight))
        self._bytes += weight
        while self._bytes > self._most:
            self._bytes -= self._events.popleft()[2]
            self._forgets = True

    async def trace(self, wanted: str) -> tuple[Life | None, float | None]:
        """See `Memory`."""
        return life_of(wanted, self.lines()), self.since

    @property
    def since(self) -> float | None:
        """Epoch seconds since which everything is remembered; None where nothing was forgotten yet."""
        if not self._forgets:
            return None
        return self._events[0][0] if self._events else self._wall()

    def lines(self) -> list[Mapping[str, Any]]:
        """What is remembered, as lines of the log, the oldest first."""
        return [
            {"timestamp": stamp(at), "level": event.level, "event": event.name, **fields_of(event)}
            for at, event, _ in self._events
        ]


def stamp(at: float) -> str:
    """Epoch seconds as the log spells them."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(_: Event) -> int:
    return _EVENT


def _with_ids(event: seen.BatchSucceeded | seen.RecordFiltered) -> int:
    return _EVENT + _ID * len(event.ids)


def _received(event: seen.RecordsReceived) -> int:
    return _EVENT + _PLACE * len(event.ids or ())


def _records(event: seen.BatchRecords) -> int:
    return _EVENT + _ID * len(event.ids) + _PLACE * len(event.failed_ids)


def _error(event: seen.BatchFailed) -> int:
    return _EVENT + len(event.error_message)


def _output(event: say.HandlerOutput) -> int:
    return _EVENT + len(event.message)


_WEIGHTS: dict[type[Event], Callable[[Any], int]] = {
    seen.RecordsReceived: _received,
    seen.RecordFiltered: _with_ids,
    seen.RecordsDeleted: _plain,
    seen.DeleteFailed: _plain,
    seen.VisibilityFailed: _plain,
    seen.RecordsReleased: _with_ids,
    seen.RecordsExpired: _with_ids,
    seen.BatchSucceeded: _with_ids,
    seen.BatchRecords: _records,
    seen.BatchFailed: _error,
    seen.BatchPartial: _plain,
    seen.BatchDelayed: _plain,
    streams.BatchRetrying: _error,
    streams.BatchBisected: _plain,
    streams.BatchDiscarded: _plain,
    streams.ShardBlocked: _error,
    streams.CheckpointCommitted: _plain,
    say.HandlerOutput: _output,
    say.HandlerTimeout: _plain,
    say.HandlerCrashed: _plain,
}
"""What is kept, and how many bytes of it are counted."""
