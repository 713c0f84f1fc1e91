"""Counts per mapping, gathered from events: the sink behind `mapping.stats`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from esmd.observe import mapping_events as seen
from esmd.observe import stream_events as streams

if TYPE_CHECKING:
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
            both[each.name] = _larger(one, two) if each.name.endswith("_max") else one + two
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

    def sink(self, event: Event) -> None:
        """Count one event; events of other kinds pass."""
        match event:
            case seen.RecordsReceived():
                self._of(event.mapping).received += event.records
            case seen.RecordFiltered():
                self._of(event.mapping).filtered += event.records
            case seen.RecordsDeleted():
                self._of(event.mapping).deleted += event.records
            case seen.BatchSucceeded():
                self._batch(event)
            case seen.BatchFailed():
                counts = self._batch(event)
                counts.batch_errors += 1
                counts.failed += event.records
            case seen.BatchPartial():
                self._batch(event).failed += event.failed
            case streams.BatchDiscarded():
                counts = self._of(event.mapping)
                counts.discarded += event.records
                counts.dropped += 0 if event.destination else event.records
            case _:
                pass

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

    def _of(self, mapping: str) -> Counts:
        return self._counts.setdefault(mapping, Counts())

    def _batch(self, event: seen.BatchEvent) -> Counts:
        counts = self._of(event.mapping)
        counts.batches += 1
        counts.invoked += event.records
        counts.duration_sum += event.duration_ms
        counts.duration_max = max(counts.duration_max, event.duration_ms)
        counts.iterator_age_max = _larger(counts.iterator_age_max, event.iterator_age_ms)
        counts.processed_age_max = _larger(counts.processed_age_max, event.processed_age_ms)
        return counts


def _larger(known: float | None, new: float | None) -> float | None:
    return new if known is None else known if new is None else max(known, new)
