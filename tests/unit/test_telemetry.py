"""Who hears of which event."""

from __future__ import annotations

import logging

import pytest
import structlog

from esmd.control.results import LastResults
from esmd.observe.catalogue import event_classes
from esmd.observe.daemon_events import DaemonReady, DaemonStopped
from esmd.observe.events import Event
from esmd.observe.logging import LEVELS, Lines
from esmd.observe.mapping_events import BatchFailed, BatchPartial, BatchSucceeded, RecordsDeleted
from esmd.observe.statistics import Statistics
from esmd.observe.telemetry import Broadcast, Sink
from esmd.processes.reporter import Reporter
from esmd.service import ServiceManager
from esmd.status.history import History

READY = DaemonReady(mappings=2, unavailable=1, disabled=0)
STOPPED = DaemonStopped(exit_code=0, uptime_s=1.0)
EVERY_KIND = [kind for kinds in event_classes().values() for kind in kinds]


class Ready:
    """Takes one kind."""

    def __init__(self) -> None:
        self.asked: list[type[Event]] = []
        self.heard: list[Event] = []

    def takes(self, kind: type[Event]) -> bool:
        self.asked.append(kind)
        return kind is DaemonReady

    def sink(self, event: Event) -> None:
        self.heard.append(event)


def test_a_sink_gets_only_what_it_takes_and_is_asked_once_for_each_kind():
    sink = Ready()
    telemetry = Broadcast(sink)
    for event in (READY, STOPPED, READY, STOPPED):
        telemetry.emit(event)
    assert sink.heard == [READY, READY]
    assert sink.asked == [DaemonReady, DaemonStopped]


@pytest.mark.parametrize("level", LEVELS)
def test_the_log_takes_the_events_of_its_level_and_above(level):
    lines = Lines(structlog.get_logger(), threshold=LEVELS[level])
    assert {kind.level for kind in EVERY_KIND if lines.takes(kind)} == {
        name for name, number in LEVELS.items() if number >= LEVELS[level]
    }


def test_a_sink_does_nothing_with_what_it_does_not_take():
    told = []
    lines = Lines(logging.getLogger("nobody"), threshold=logging.CRITICAL)
    reporter = Reporter(told.append, level="error", unavailable=dict)
    nobody, statistics, results, history = ServiceManager({}), Statistics(), LastResults(), History()
    sinks: tuple[Sink, ...] = (lines, reporter, nobody, statistics, results, history)
    for kind in EVERY_KIND:
        for sink in sinks:
            if not sink.takes(kind):
                sink.sink(object.__new__(kind))  # without any value: whoever looked at one would fail
    assert told == []
    assert not any(nobody.takes(kind) or lines.takes(kind) for kind in EVERY_KIND)


def test_what_batches_come_to_is_heard_by_those_who_count_it():
    assert {kind for kind in EVERY_KIND if LastResults().takes(kind)} == {BatchSucceeded, BatchPartial, BatchFailed}
    assert Statistics().takes(RecordsDeleted)
    assert History().takes(BatchFailed)
    assert not History().takes(RecordsDeleted)
