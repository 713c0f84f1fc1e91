"""One step of scaling at a time: what a single poll or outcome does, and where its effect ends."""

from __future__ import annotations

import pytest

from esmd.mappings.scaling import Scaling, ScalingLimits


def scaling(**limits):
    options = {"maximum_concurrency": None, "provisioned_pollers": None, "function_limit": 10_000} | limits
    return Scaling(ScalingLimits.of(**options))


def with_receives(count):
    """A mapping that has come to so many receives at once."""
    state = scaling()
    for _ in range(count - 1):
        state.polled(asked=10, got=10, now=0)
    assert state.receives == count
    return state


def polled(state, *, got, times):
    for _ in range(times):
        state.polled(asked=10, got=got, now=0)


@pytest.mark.parametrize(("function_limit", "receives"), [(10_000, 3), (2, 2), (0, 1)])
def test_provisioned_pollers_receive_from_the_start_and_never_fewer(function_limit, receives):
    state = scaling(provisioned_pollers=(3, 200), function_limit=function_limit)
    assert state.receives == receives
    polled(state, got=0, times=100)
    assert state.receives == receives


def test_a_function_that_may_not_run_leaves_one_place_to_provisioned_pollers():
    assert scaling(provisioned_pollers=(3, 200), function_limit=0).limits.ceiling == 1


def test_answers_that_are_half_full_keep_the_receives():
    state = with_receives(4)
    polled(state, got=5, times=100)
    assert state.receives == 4


@pytest.mark.parametrize("got", [0, 4])
def test_every_third_thin_answer_takes_one_receive_away(got):
    state = with_receives(5)
    for receives in (5, 5, 4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1, 1):
        polled(state, got=got, times=1)
        assert state.receives == receives


@pytest.mark.parametrize("between", [5, 10])
def test_an_answer_that_is_not_thin_starts_the_count_anew(between):
    state = with_receives(3)
    for _ in range(10):
        polled(state, got=4, times=2)
        polled(state, got=between, times=1)
    assert state.receives >= 3


@pytest.mark.parametrize("outcome", ["succeeded", "ran", "failed", "gave_up"])
def test_every_end_of_an_invocation_ends_the_throttling(outcome):
    state = scaling()
    state.throttled()
    assert state.receives == 0
    getattr(state, outcome)()
    assert state.receives == 1


@pytest.mark.parametrize("outcome", ["failed", "throttled"])
def test_time_before_a_setback_does_not_count_as_growth(outcome):
    state = scaling()
    state.polled(asked=10, got=10, now=0)
    getattr(state, outcome)()
    for _ in range(4):
        state.succeeded()
    assert state.concurrency == 5
    state.polled(asked=10, got=10, now=1000)
    assert state.concurrency == 5


def test_throttling_halves_once_and_stops_at_one():
    state = scaling()
    halved = []
    for _ in range(4):
        state.throttled()
        state.throttled()
        halved.append(state.concurrency)
        state.ran()
    assert halved == [2, 1, 1, 1]


def test_success_never_goes_beyond_the_start():
    state = scaling()
    state.succeeded()
    assert state.concurrency == 5
