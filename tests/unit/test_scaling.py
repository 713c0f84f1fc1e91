"""AWS's concurrency curve for SQS mappings, and how failures bend it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.scaling import Scaling, ScalingLimits


def scaling(**limits):
    options = {"maximum_concurrency": None, "provisioned_pollers": None, "function_limit": 10_000} | limits
    return Scaling(ScalingLimits.of(**options))


@pytest.mark.parametrize(
    ("limits", "start", "ceiling"),
    [
        ({}, 5, 1250),
        ({"maximum_concurrency": 20}, 5, 20),
        ({"maximum_concurrency": 2}, 2, 2),
        ({"maximum_concurrency": 1}, 1, 1),
        ({"function_limit": 3}, 3, 3),
        ({"function_limit": 0}, 1, 1),
        ({"maximum_concurrency": 50, "function_limit": 8}, 5, 8),
        ({"provisioned_pollers": (2, 200)}, 20, 2000),
        ({"provisioned_pollers": (2, 200), "function_limit": 15}, 15, 15),
    ],
)
def test_limits(limits, start, ceiling):
    state = scaling(**limits)
    assert state.concurrency == start
    assert state.limits.ceiling == ceiling


def test_a_backlog_grows_concurrency_by_300_a_minute_up_to_the_ceiling():
    state = scaling()
    for second in range(61):
        state.polled(asked=10, got=10, now=second)
    assert state.concurrency == 5 + 300
    for second in range(61, 400):
        state.polled(asked=10, got=10, now=second)
    assert state.concurrency == 1250


def test_time_without_a_backlog_does_not_count_as_growth():
    state = scaling()
    state.polled(asked=10, got=10, now=0)
    state.polled(asked=10, got=3, now=1)
    state.polled(asked=10, got=10, now=100)
    assert state.concurrency == 5


def test_an_empty_poll_falls_back_to_the_start():
    state = scaling()
    for second in range(11):
        state.polled(asked=10, got=10, now=second)
    state.polled(asked=10, got=0, now=11)
    assert state.concurrency == 5


def test_failures_lower_concurrency_step_by_step_but_never_below_one():
    state = scaling()
    seen = []
    for _ in range(7):
        state.failed()
        seen.append(state.concurrency)
    assert seen == [4, 3, 2, 1, 1, 1, 1]


def test_many_in_flight_are_lowered_by_a_tenth():
    state = scaling(provisioned_pollers=(20, 20))
    state.failed()
    assert state.concurrency == 180


def test_success_after_failures_climbs_back_to_the_start():
    state = scaling()
    for _ in range(10):
        state.failed()
    for expected in (2, 3, 4, 5, 5):
        state.succeeded()
        assert state.concurrency == expected


def test_partial_failures_do_not_slow_down():
    state = scaling()
    state.ran()
    assert state.concurrency == 5


def test_throttling_stops_receiving_until_something_starts():
    state = scaling()
    state.throttled()
    state.throttled()
    assert state.receives == 0
    assert state.concurrency == 2
    state.ran()
    assert state.receives == 1


def test_a_batch_that_gave_up_lets_one_receive_probe_again():
    state = scaling()
    state.throttled()
    state.gave_up()
    assert state.receives == 1


def test_full_polls_add_receives_and_thin_ones_take_them_away():
    state = scaling()
    for expected in (2, 3, 4, 5, 5):
        state.polled(asked=10, got=10, now=0)
        assert state.receives == expected
    for _ in range(3 * 10):
        state.polled(asked=10, got=1, now=0)
    assert state.receives == 1


def test_a_half_full_poll_resets_the_count_of_thin_ones():
    state = scaling()
    state.polled(asked=10, got=10, now=0)
    for _ in range(5):
        state.polled(asked=10, got=0, now=0)
        state.polled(asked=10, got=0, now=0)
        state.polled(asked=10, got=5, now=0)
    assert state.receives == 2


@given(
    st.lists(
        st.sampled_from(["full", "half", "empty", "ok", "partial", "failed", "throttled", "gave_up"]), max_size=60
    ),
    st.integers(min_value=1, max_value=30),
)
def test_concurrency_and_receives_stay_within_their_bounds(steps, maximum):
    state = scaling(maximum_concurrency=maximum)
    for now, step in enumerate(steps):
        match step:
            case "full":
                state.polled(asked=10, got=10, now=now)
            case "half":
                state.polled(asked=10, got=5, now=now)
            case "empty":
                state.polled(asked=10, got=0, now=now)
            case "ok":
                state.succeeded()
            case "partial":
                state.ran()
            case "failed":
                state.failed()
            case "throttled":
                state.throttled()
            case "gave_up":
                state.gave_up()
        assert 1 <= state.concurrency <= maximum
        assert 0 <= state.receives <= state.concurrency
