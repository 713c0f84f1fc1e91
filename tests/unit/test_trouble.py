"""When a mapping in trouble tries again, and what it says: the table of `esmd.trouble`."""

from __future__ import annotations

import pytest

from esmd.observe.mapping_events import MappingRecovered, MappingUnavailable, PollFailed
from esmd.trouble import INITIAL, MAXIMUM, Trouble

from support.mapping_lab import Collector


@pytest.fixture
def heard() -> Collector:
    return Collector()


@pytest.fixture
def trouble(heard: Collector) -> Trouble:
    return Trouble("orders", heard)


def fail(trouble: Trouble, times: int, reason: str = "NoQueue", *, passing: bool = False, now: float = 0.0) -> None:
    for _ in range(times):
        trouble.failed(reason, "it is not there", now, passing=passing)


def test_a_first_failure_that_may_pass_is_a_debug_line_and_half_a_second(trouble, heard):
    fail(trouble, 1, passing=True, now=100.0)
    [event] = heard.said
    assert isinstance(event, PollFailed)
    assert event.level == "debug"
    assert 100 + 0.75 * INITIAL <= trouble.retry_at <= 100 + INITIAL
    assert event.retry_in_s == pytest.approx(trouble.retry_at - 100)
    assert (trouble.exists, trouble.unavailable, trouble.reason) == (True, False, None)


def test_the_second_in_a_row_makes_the_mapping_unavailable(trouble, heard):
    fail(trouble, 2, passing=True)
    first, second = heard.said
    assert isinstance(first, PollFailed)
    assert isinstance(second, MappingUnavailable)
    assert second.failures == 2
    assert trouble.reason == "NoQueue: it is not there"


def test_a_failure_that_will_not_pass_is_said_at_once(trouble, heard):
    fail(trouble, 1)
    [event] = heard.said
    assert isinstance(event, MappingUnavailable)
    assert (event.mapping, event.error_type, event.error_message, event.failures) == (
        "orders",
        "NoQueue",
        "it is not there",
        1,
    )


@pytest.mark.parametrize(("passing", "said_at"), [(False, [1, 2, 4, 8, 16, 32, 64]), (True, [2, 4, 8, 16, 32, 64])])
def test_the_same_reason_is_said_ever_more_rarely(trouble, heard, passing, said_at):
    fail(trouble, 100, passing=passing)
    assert [event.failures for event in heard.said if isinstance(event, MappingUnavailable)] == said_at


def test_another_reason_is_said_at_once(trouble, heard):
    fail(trouble, 5)
    heard.said.clear()
    fail(trouble, 1, "AccessDenied")
    [event] = heard.said
    assert (event.error_type, event.failures) == ("AccessDenied", 6)
    assert trouble.reason == "AccessDenied: it is not there"


def test_waits_double_up_to_the_maximum(trouble):
    waits = []
    for _ in range(12):
        fail(trouble, 1, now=1000.0)
        waits.append(trouble.retry_at - 1000)
    for number, wait in enumerate(waits):
        whole = min(MAXIMUM, INITIAL * 2**number)
        assert 0.75 * whole <= wait <= whole


def test_success_after_the_mapping_said_so_is_a_recovery(trouble, heard):
    fail(trouble, 3, now=50.0)
    heard.said.clear()
    trouble.passed(80.0)
    assert heard.said == [MappingRecovered(mapping="orders", failures=3, unavailable_s=30.0)]
    assert (trouble.exists, trouble.unavailable, trouble.reason, trouble.retry_at) == (False, False, None, 0.0)


@pytest.mark.parametrize("failures", [0, 1])
def test_success_is_not_news_when_nothing_was_said(trouble, heard, failures):
    fail(trouble, failures, passing=True)
    heard.said.clear()
    trouble.passed(1.0)
    assert heard.said == []


def test_after_a_recovery_the_count_starts_anew(trouble, heard):
    fail(trouble, 10)
    trouble.passed(1.0)
    heard.said.clear()
    fail(trouble, 1, passing=True, now=10.0)
    [event] = heard.said
    assert isinstance(event, PollFailed)
    assert trouble.retry_at <= 10 + INITIAL
