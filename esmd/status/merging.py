"""One snapshot of several processes that share the work.

| what                                            | of all processes                                                   |
|-------------------------------------------------|--------------------------------------------------------------------|
| counts, rates, what is under way, limits        | the sum                                                            |
| shards                                          | all: each is read by one process                                   |
| largest ages and durations                      | the largest                                                        |
| state                                           | the one that they share, else the first that ends by itself        |
| reason, backlog                                 | the first that there is                                            |
| last error                                      | the latest                                                         |
| last result                                     | the worst                                                          |
| failures                                        | all, the latest first, as many as one process keeps                |
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from esmd.control.protocol import TRANSIENT
from esmd.status.history import FAILURES
from esmd.status.model import FunctionStatus, MappingStatus, Pace, Rates, Snapshot, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esmd.status.model import Backlog, DaemonStatus

N = TypeVar("N", Totals, Rates)

_RESULTS = ("PROBLEM", "OK", "")
"""Beginnings of `LastProcessingResult`, the worst first."""


def merged(daemon: DaemonStatus, snapshots: Sequence[Snapshot], *, at: float) -> Snapshot:
    """All of them as one; `daemon` is what is said of the whole."""
    failures = sorted((each for s in snapshots for each in s.failures), key=lambda each: each.at, reverse=True)
    return Snapshot(
        at=at,
        daemon=daemon,
        mappings=tuple(_mapping(same) for same in _grouped(s.mappings for s in snapshots)),
        functions=tuple(_function(same) for same in _grouped(s.functions for s in snapshots)),
        failures=tuple(failures[:FAILURES]),
    )


def _grouped(parts: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """What has the same name, in the order of its first."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        for each in part:
            found.setdefault(each.name, []).append(each)
    return list(found.values())


def _mapping(same: list[MappingStatus]) -> MappingStatus:
    ages = [each.iterator_age_ms for each in same if each.iterator_age_ms is not None]
    errors = [each.last_error for each in same if each.last_error is not None]
    return replace(
        same[0],
        state=_state([each.state for each in same]),
        paused=all(each.paused for each in same),
        reason=next((each.reason for each in same if each.reason is not None), None),
        last_result=_result([each.last_result for each in same]),
        last_error=max(errors, key=lambda error: error.at, default=None),
        in_flight=sum(each.in_flight for each in same),
        pollers=sum(each.pollers for each in same),
        concurrency=sum(each.concurrency for each in same),
        totals=_sum(Totals, [each.totals for each in same]),
        pace=_pace([each.pace for each in same]),
        backlog=_backlog([each.backlog for each in same]),
        shards=tuple(sorted((shard for each in same for shard in each.shards), key=lambda shard: shard.shard)),
        iterator_age_ms=max(ages, default=None),
    )


def _state(states: list[str]) -> str:
    return next((state for state in states if state in TRANSIENT), states[0])


def _result(results: list[str]) -> str:
    return next(result for start in _RESULTS for result in results if result.startswith(start))


def _backlog(known: list[Backlog | None]) -> Backlog | None:
    answers = [each for each in known if each is not None]
    return next((each for each in answers if each.reason is None), answers[0] if answers else None)


def _pace(paces: list[Pace]) -> Pace:
    return Pace(
        last_10_s=_sum(Rates, [pace.last_10_s for pace in paces]),
        last_60_s=_sum(Rates, [pace.last_60_s for pace in paces]),
        invoked=_by_second([pace.invoked for pace in paces]),
        failed=_by_second([pace.failed for pace in paces]),
    )


def _by_second(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The sums of what has happened at the same time: rows end now, and may have begun at different times."""
    sums = [sum(column) for column in zip_longest(*(row[::-1] for row in rows), fillvalue=0)]
    return tuple(sums[::-1])


def _sum(kind: type[N], values: Sequence[N]) -> N:
    return kind(**{field.name: sum(getattr(value, field.name) for value in values) for field in fields(kind)})


def _function(same: list[FunctionStatus]) -> FunctionStatus:
    environments = [each.environments for each in same if each.environments is not None]
    return FunctionStatus(
        name=same[0].name,
        limit=sum(each.limit for each in same),
        busy=sum(each.busy for each in same),
        environments=sum(environments) if environments else None,
        invocations=sum(each.invocations for each in same),
        errors=sum(each.errors for each in same),
        throttles=sum(each.throttles for each in same),
        duration_sum_ms=sum(each.duration_sum_ms for each in same),
        duration_max_ms=max(each.duration_max_ms for each in same),
        concurrency_max=sum(each.concurrency_max for each in same),
    )
