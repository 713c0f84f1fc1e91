"""One line for a mapping, whatever the number of processes."""

from __future__ import annotations

from dataclasses import fields

from esmd.observe.events import FunctionStats
from esmd.observe.mapping_events import MappingStats
from esmd.processes.sums import Sums


def mapping(name: str = "orders", **values) -> MappingStats:
    known = {field.name: 0 for field in fields(MappingStats) if field.default is not None}
    nothing = {"duration_avg_ms": None, "duration_max_ms": None, "available": True, "mapping": name, "period_s": 1.0}
    return MappingStats(**(known | nothing | values))


def function(**values) -> FunctionStats:
    known = {field.name: 0 for field in fields(FunctionStats)}
    nothing = {"duration_avg_ms": None, "duration_max_ms": None, "function": "process", "period_s": 1.0}
    return FunctionStats(**(known | nothing | values))


def summed(*events: MappingStats | FunctionStats, final: bool = False) -> list[MappingStats | FunctionStats]:
    sums = Sums()
    for event in events:
        sums.add(event)
    return sums.take(period=60.0, final=final)


def test_counts_are_added_means_weighted_and_the_largest_kept():
    [event] = summed(
        mapping(received=10, deleted=9, batches=1, duration_avg_ms=10.0, duration_max_ms=10.0, in_flight=1, pollers=2),
        mapping(received=30, deleted=30, batches=3, duration_avg_ms=2.0, duration_max_ms=4.0, in_flight=2, pollers=3),
        mapping(pollers=1, concurrency=5),
    )
    assert (event.received, event.deleted, event.batches, event.in_flight, event.pollers) == (40, 39, 4, 3, 6)
    assert (event.duration_avg_ms, event.duration_max_ms, event.concurrency) == (4.0, 10.0, 5)
    assert (event.period_s, event.available, event.mapping) == (60.0, True, "orders")


def test_what_no_process_has_stays_without_a_value():
    [event] = summed(mapping(received=1, discarded=2), mapping(received=1, iterator_age_max_ms=5.0))
    assert (event.deleted, event.discarded, event.iterator_age_max_ms, event.duration_avg_ms) == (None, 2, 5.0, None)


def test_a_mapping_is_available_where_it_is_in_every_process():
    [event] = summed(mapping(received=1), mapping(available=False))
    assert event.available is False


def test_mappings_and_functions_that_did_nothing_are_not_said():
    assert summed(mapping(pollers=3), mapping(pollers=1), function(limit=4), function(limit=4)) == []


def test_functions_are_added():
    [event] = summed(
        function(invocations=1, duration_avg_ms=4.0, duration_max_ms=4.0, concurrency_max=2, limit=3),
        function(invocations=3, duration_avg_ms=8.0, duration_max_ms=9.0, concurrency_max=1, limit=2),
    )
    assert (event.invocations, event.duration_avg_ms, event.duration_max_ms) == (4, 7.0, 9.0)
    assert (event.concurrency_max, event.limit) == (3, 5)


def test_at_the_end_nothing_polls():
    [event] = summed(mapping(received=1, pollers=2, concurrency=5), mapping(received=2), final=True)
    assert (event.received, event.pollers, event.concurrency) == (3, 0, 0)


def test_what_was_taken_is_not_said_again():
    sums = Sums()
    sums.add(mapping(received=1))
    assert len(sums.take(period=1.0)) == 1
    assert sums.take(period=1.0) == []
