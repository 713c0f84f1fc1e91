"""Counts per mapping, gathered from events: the sink behind `mapping.stats`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from esmd.observe import mapping_events as seen
from esmd.observe import stream_events as streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.observe.events import Event


@dataclass(slots=True)
class Counts:
    """What one mapping did in one period. Records unless said otherwise; durations in milliseconds."""

    received: int = 0
    filtered: int = 0
    invoked: int = 0
    failed: int = 0
    deleted: int = 0
    batches: int = 0
    batch_errors: int = 0
    duration_sum: float = 0.0
    duration_max: float = 0.0
    discarded: int = 0
    dropped: int = 0
    iterator_age_max: float | None = None
    processed_age_max: float | None = None

    def added(self, other: Counts) -> Counts:
        """Both periods as one."""
        both: dict[str, Any] = {}
        for each in fields(Counts):
            one, two = getattr(self, each.name), getattr(other, each.name)
            both[each.name] = one + two if not each.name.endswith("_max") else one if two is None else _larger(one, two)
        return Counts(**both)

    @property
    def moved(self) -> bool:
        """Whether anything happened at all."""
        return bool(self.received or self.batches or self.deleted)


_NOTHING = Counts()


@dataclass(slots=True)
class Statistics:
    """Adds events up; `take` hands a mapping's counts out and starts its next period, `totals` never starts anew."""

    _counts: dict[str, Counts] = field(default_factory=dict)
    _taken: dict[str, Counts] = field(default_factory=dict)

    def takes(self, kind: type[Event]) -> bool:
        """See `Sink`."""
        return kind in _COUNTED

    def sink(self, event: Event) -> None:
        """Count one event; events of other kinds pass."""
        count = _COUNTED.get(type(event))
        if count is not None:
            mapping: str = event.mapping  # type: ignore[attr-defined]
            counts = self._counts.get(mapping)
            if counts is None:
                counts = self._counts[mapping] = Counts()
            count(counts, event)

    def take(self, mapping: str) -> Counts:
        """The counts of `mapping` since the last call."""
        counts = self._counts.pop(mapping, None) or Counts()
        if counts != Counts():
            self._taken[mapping] = self._taken.get(mapping, Counts()).added(counts)
        return counts

    def totals(self, mapping: str) -> Counts:
        """The counts of `mapping` since the beginning. Costs nothing while events are counted, only when it is asked."""
        taken, counts = self._taken.get(mapping), self._counts.get(mapping)
        if counts is None:
            return taken or _NOTHING
        return replace(counts) if taken is None else taken.added(counts)

    def forget(self, mapping: str) -> None:
        """A mapping is gone: one of the same name begins anew."""
        self._taken.pop(mapping, None)


def _received(counts: Counts, event: seen.RecordsReceived) -> None:
    counts.received += event.records


def _filtered(counts: Counts, event: seen.RecordFiltered) -> None:
    counts.filtered += event.records


def _deleted(counts: Counts, event: seen.RecordsDeleted) -> None:
    counts.deleted += event.records


def _batch(counts: Counts, event: seen.BatchEvent) -> None:
    counts.batches += 1
    counts.invoked += event.records
    counts.duration_sum += event.duration_ms
    counts.duration_max = max(counts.duration_max, event.duration_ms)
    if event.iterator_age_ms is not None:
        counts.iterator_age_max = _larger(counts.iterator_age_max, event.iterator_age_ms)
    if event.processed_age_ms is not None:
        counts.processed_age_max = _larger(counts.processed_age_max, event.processed_age_ms)


def _failed(counts: Counts, event: seen.BatchFailed) -> None:
    _batch(counts, event)
    counts.batch_errors += 1
    counts.failed += event.records


def _partial(counts: Counts, event: seen.BatchPartial) -> None:
    _batch(counts, event)
    counts.failed += event.failed


def _discarded(counts: Counts, event: streams.BatchDiscarded) -> None:
    counts.discarded += event.records
    counts.dropped += 0 if event.destination else event.records


def _larger(known: float | None, new: float) -> float:
    return new if known is None else max(known, new)


_COUNTED: dict[type[Event], Callable[[Counts, Any], None]] = {
    seen.RecordsReceived: _received,
    seen.RecordFiltered: _filtered,
    seen.RecordsDeleted: _deleted,
    seen.BatchSucceeded: _batch,
    seen.BatchFailed: _failed,
    seen.BatchPartial: _partial,
    streams.BatchDiscarded: _discarded,
}
