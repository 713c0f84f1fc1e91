"""Counts behind `mapping.stats`: each event counted where it belongs, each period on its own."""

from __future__ import annotations

import pytest

from esmd.observe import mapping_events as say
from esmd.observe.daemon_events import DaemonReady
from esmd.observe.statistics import Counts, Statistics


def batch(kind, mapping="orders", **fields):
    values = {
        "mapping": mapping,
        "function": "process",
        "batch_id": "b",
        "request_id": "r",
        "records": 10,
        "attempt": 1,
        "duration_ms": 100.0,
    }
    return kind(**values | fields)


KEPT = {"ids": (), "next": "visibility_timeout", "retry_in_s": 30.0}
FAILED = {**KEPT, "error_type": "ValueError", "error_message": "boom"}


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (say.RecordsReceived(mapping="orders", records=7), {"received": 7}),
        (say.RecordFiltered(mapping="orders", records=3, ids=()), {"filtered": 3}),
        (say.RecordsDeleted(mapping="orders", records=4), {"deleted": 4}),
        (
            batch(say.BatchSucceeded, cut="size"),
            {"batches": 1, "invoked": 10, "duration_sum": 100.0, "duration_max": 100.0},
        ),
        (
            batch(say.BatchFailed, **FAILED),
            {
                "batches": 1,
                "invoked": 10,
                "failed": 10,
                "batch_errors": 1,
                "duration_sum": 100.0,
                "duration_max": 100.0,
            },
        ),
        (
            batch(say.BatchPartial, failed=2, **KEPT),
            {"batches": 1, "invoked": 10, "failed": 2, "duration_sum": 100.0, "duration_max": 100.0},
        ),
        (say.DeleteFailed(mapping="orders", id="m", error_type="X", error_message="y"), {}),
        (DaemonReady(mappings=1, unavailable=0, disabled=0), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_event_is_counted_where_it_belongs(event, counts):
    statistics = Statistics()
    statistics.sink(event)
    assert statistics.take("orders") == Counts(**counts)


def test_durations_are_summed_and_the_longest_kept():
    statistics = Statistics()
    for duration in (20.0, 300.0, 40.0):
        statistics.sink(batch(say.BatchSucceeded, cut="poll", duration_ms=duration))
    counts = statistics.take("orders")
    assert (counts.batches, counts.duration_sum, counts.duration_max) == (3, 360.0, 300.0)


def test_mappings_are_counted_apart_and_a_period_begins_at_nothing():
    statistics = Statistics()
    statistics.sink(say.RecordsReceived(mapping="orders", records=1))
    statistics.sink(say.RecordsReceived(mapping="payments", records=2))
    assert statistics.take("orders").received == 1
    assert statistics.take("orders") == Counts()
    assert statistics.take("payments").received == 2


@pytest.mark.parametrize(
    ("counts", "moved"),
    [({}, False), ({"received": 1}, True), ({"batches": 1}, True), ({"deleted": 1}, True)],
)
def test_a_mapping_has_moved_when_anything_was_received_run_or_deleted(counts, moved):
    assert Counts(**counts).moved is moved


def test_totals_count_on_where_periods_begin_anew():
    statistics = Statistics()
    assert statistics.totals("orders") == Counts()
    for duration in (30.0, 50.0, 20.0):
        statistics.sink(batch(say.BatchSucceeded, cut="poll", duration_ms=duration, iterator_age_ms=duration))
        statistics.take("orders")
    statistics.sink(say.RecordsReceived(mapping="orders", records=4))
    totals = statistics.totals("orders")
    assert (totals.batches, totals.invoked, totals.received) == (3, 30, 4)
    assert (totals.duration_sum, totals.duration_max, totals.iterator_age_max) == (100.0, 50.0, 50.0)
    assert statistics.take("orders").received == 4
    assert statistics.totals("orders") == totals


def test_totals_do_not_change_once_they_are_given():
    statistics = Statistics()
    statistics.sink(say.RecordsReceived(mapping="orders", records=1))
    totals = statistics.totals("orders")
    statistics.sink(say.RecordsReceived(mapping="orders", records=1))
    assert totals.received == 1
