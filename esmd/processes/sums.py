"""Adds up what the processes say of one mapping or function, so that the log has one line for each and not one per process.

| what                                    | of all processes                                             |
|-----------------------------------------|--------------------------------------------------------------|
| counts, what is under way, limits       | the sum; None if none has any                                |
| largest ages and durations              | the largest                                                  |
| mean durations                          | the mean, weighted by batches or invocations                 |
| `concurrency_max`                       | the sum of each one's most: at least what it was together    |
| `available`                             | whether it is in every process                               |
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from esmd.observe.events import FunctionStats
from esmd.observe.mapping_events import MappingStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Stats = MappingStats | FunctionStats
S = TypeVar("S", MappingStats, FunctionStats)

_SAME = {"mapping", "function"}
_MEAN = {"duration_avg_ms": {MappingStats: "batches", FunctionStats: "invocations"}}


class Sums:
    """Gathers events until they are said."""

    def __init__(self) -> None:
        self._mappings: dict[str, list[MappingStats]] = {}
        self._functions: dict[str, list[FunctionStats]] = {}

    def add(self, event: Stats) -> None:
        """Take what one process says."""
        if isinstance(event, MappingStats):
            self._mappings.setdefault(event.mapping, []).append(event)
        else:
            self._functions.setdefault(event.function, []).append(event)

    def take(self, *, period: float, final: bool = False) -> list[Stats]:
        """One event for each mapping and function that did something in the last `period` seconds, or is doing something.

        Args:
            period: what the events say.
            final: nothing polls any more.
        """
        mappings = [_sum(said, period) for said in self._mappings.values()]
        functions = [_sum(said, period) for said in self._functions.values()]
        self._mappings, self._functions = {}, {}
        if final:
            # What was said a while before the end is of more than there is at the end.
            mappings = [replace(event, pollers=0, concurrency=0) for event in mappings]
        return [
            *(event for event in mappings if event.received or event.batches or event.deleted or event.in_flight),
            *(event for event in functions if event.invocations or event.throttles or event.concurrency_max),
        ]


def _sum(events: Sequence[S], period: float) -> S:
    kind = type(events[0])
    values: dict[str, Any] = {}
    for field in fields(kind):
        name = field.name
        known = [value for event in events if (value := getattr(event, name)) is not None]
        if name in _SAME:
            values[name] = known[0]
        elif name == "period_s":
            values[name] = period
        elif name == "available":
            values[name] = all(known)
        elif not known:
            values[name] = None
        elif name in _MEAN:
            values[name] = _mean(events, name, _MEAN[name][kind])
        else:
            values[name] = max(known) if name.endswith("_max_ms") else sum(known)
    return kind(**values)


def _mean(events: Iterable[Stats], name: str, weight: str) -> float:
    weighted = [(value, getattr(event, weight)) for event in events if (value := getattr(event, name)) is not None]
    return float(sum(value * count for value, count in weighted) / sum(count for _, count in weighted))
