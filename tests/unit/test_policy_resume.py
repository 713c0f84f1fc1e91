"""A restart grants no batch fresh attempts, and no snapshot can lose a record."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.commands import Discard, Invoke, Wait
from esmd.mappings.outcomes import Throttled
from esmd.mappings.parts import restore
from esmd.mappings.policy import BatchPolicy

from support.policy_lab import ERROR, OK, Clock, failing_on, ids, naming, options, record, records, reporting, run

TEN = records(*range(1, 11))
BISECTING = options(bisect=True, maximum_retry_attempts=2)


def saved(policy):
    """The snapshot as it comes back from a file."""
    return json.loads(json.dumps(policy.snapshot()))


def after(batch, setting, *outcomes):
    """A policy that has seen these outcomes, waits skipped."""
    policy = BatchPolicy(batch, setting)
    for outcome in outcomes:
        assert isinstance(policy.next(1e9, 0), Invoke)
        policy.invoked(outcome, 0, 0)
    return policy


def test_there_is_nothing_to_save_while_nothing_has_failed():
    policy = after(TEN, options())
    assert policy.snapshot() is None
    assert after(TEN, options(), OK).snapshot() is None
    assert after(TEN, options(), Throttled()).snapshot() is None
    assert after(TEN, options(), ERROR).snapshot() is not None


def test_the_attempts_made_before_the_restart_count():
    before = after(TEN, options(maximum_retry_attempts=3), ERROR, ERROR, ERROR)
    policy = BatchPolicy(TEN, options(maximum_retry_attempts=3), saved(before))
    story = run(policy, lambda _: ERROR)
    assert len(story.invoked) == 1
    assert story.discarded == [(ids(TEN), "RetryAttemptsExhausted", 4)]


def test_a_discard_that_was_not_confirmed_is_given_again_with_its_context():
    before = after(TEN, options(maximum_retry_attempts=0), ERROR)
    discard = before.next(0, 0)
    assert BatchPolicy(TEN, options(maximum_retry_attempts=0), saved(before)).next(0, 0) == discard


def test_the_parts_of_a_bisected_batch_come_back():
    before = after(TEN, BISECTING, ERROR, ERROR, OK, ERROR, ERROR)
    assert before.resolved_count == 2
    policy = BatchPolicy(TEN[2:], BISECTING, saved(before))
    assert policy.resume_ignored is None
    story = run(policy, failing_on(3))
    assert story.invoked == [[3], [3], [4, 5], [6, 7, 8, 9, 10]]
    assert story.discarded == [([3], "RetryAttemptsExhausted", 3)]


def test_the_first_try_after_a_restart_comes_at_once():
    before = after(TEN, options(), *[ERROR] * 5)
    assert isinstance(before.next(0, 0), Wait)
    assert isinstance(BatchPolicy(TEN, options(), saved(before)).next(0, 0), Invoke)


def test_trouble_keeps_its_beginning():
    before = after(TEN, options(), ERROR)
    policy = BatchPolicy(TEN, options(), saved(before))
    assert policy.trouble == before.trouble


def test_the_limits_are_those_of_the_new_configuration():
    before = after(TEN, options(), *[ERROR] * 5)
    lower = BatchPolicy(TEN, options(maximum_retry_attempts=2), saved(before))
    assert isinstance(lower.next(0, 0), Discard)
    higher = BatchPolicy(TEN, options(maximum_retry_attempts=5), saved(before))
    assert len(run(higher, lambda _: ERROR).invoked) == 1


def test_switching_bisect_on_saves_the_good_records_of_a_batch_that_has_failed_for_long():
    before = after(TEN, options(), *[ERROR] * 500)
    policy = BatchPolicy(TEN, BISECTING, saved(before))
    assert run(policy, failing_on(3)).discarded == [([3], "RetryAttemptsExhausted", 3)]


def test_switching_bisect_on_saves_the_good_one_of_two_records_that_have_failed_for_long():
    before = after(records(1, 2), options(), *[ERROR] * 5)
    policy = BatchPolicy(records(1, 2), BISECTING, saved(before))
    assert run(policy, failing_on(2)).discarded == [([2], "RetryAttemptsExhausted", 3)]


@pytest.mark.parametrize("outcome", [ERROR, naming("1"), naming("99")], ids=["raised", "named", "nonsense"])
def test_the_failure_comes_back_as_it_was(outcome):
    setting = options(maximum_retry_attempts=0, report_batch_item_failures=True)
    before = after(records(1), setting, outcome)
    first, second = before.next(0, 0), BatchPolicy(records(1), setting, saved(before)).next(0, 0)
    assert isinstance(first, Discard)
    assert first == second


def test_nothing_is_restored_of_no_records():
    assert restore("damaged", []).parts == ()


@pytest.mark.parametrize(("digits", "ignored"), [(200, False), (201, True)])
def test_a_sequence_number_has_200_digits_at_most(digits, ignored):
    batch = records("9" * digits)
    policy = BatchPolicy(batch, options(), saved(after(batch, options(), ERROR)))
    assert (policy.resume_ignored is not None) is ignored


# --- the batch looks different after the restart


def test_the_batch_should_end_where_the_saved_one_did():
    before = after(TEN, BISECTING, ERROR, ERROR)
    assert BatchPolicy.resume_end(saved(before)) == "10"


def test_sequence_numbers_are_compared_as_integers_and_given_back_as_they_were():
    batch = records("0000000009", "0000000010")
    before = after(batch, options(), ERROR)
    assert BatchPolicy.resume_end(saved(before)) == "0000000010"
    wide = BatchPolicy(records("8", "9", "10", "11"), options(), saved(before))
    assert run(wide, failing_on()).invoked == [[8], [9, 10], [11]]


def test_records_around_the_saved_ones_are_parts_of_their_own_without_attempts():
    before = after(records(5, 6), options(maximum_retry_attempts=1), ERROR)
    policy = BatchPolicy(records(3, 4, 5, 6, 7), options(maximum_retry_attempts=1), saved(before))
    story = run(policy, lambda _: ERROR)
    assert story.invoked == [[3, 4], [3, 4], [5, 6], [7], [7]]


def test_trimmed_records_are_missed_by_nobody():
    before = after(TEN, BISECTING, ERROR, ERROR, OK, ERROR, ERROR)
    policy = BatchPolicy(records(5, 6, 10), BISECTING, saved(before))
    assert policy.resume_ignored is None
    assert run(policy, failing_on()).invoked == [[5], [6, 10]]


def test_records_that_are_new_inside_a_saved_part_give_it_new_attempts():
    before = after(records(1, 5), options(maximum_retry_attempts=0), ERROR)
    policy = BatchPolicy(records(1, 3, 5), options(maximum_retry_attempts=0), saved(before))
    assert policy.resume_ignored == "records have come into a saved part since: its attempts start anew"
    assert isinstance(policy.next(0, 0), Invoke)


def test_what_was_resolved_ahead_of_the_checkpoint_stays_resolved():
    batch = [record(1, arrived_at=90), record(2, arrived_at=0), record(3, arrived_at=90)]
    before = BatchPolicy(batch, options(maximum_record_age=60))
    before.next(0, 100)
    before.discarded()
    assert before.position is None
    policy = BatchPolicy(batch, options(), saved(before))
    assert run(policy, failing_on()).invoked == [[1, 3]]
    assert policy.position == "3"


def test_a_remainder_is_not_topped_up_by_a_restart():
    setting = options(report_batch_item_failures=True)
    before = after(records(1, 2, 3), setting, naming("2"))
    policy = BatchPolicy(records(2, 3, 4, 5), setting, saved(before))
    assert run(policy, reporting()).invoked == [[2, 3], [4, 5]]


# --- snapshots that cannot be used


def damaged(**changes):
    snapshot = saved(after(TEN, options(), ERROR))
    return snapshot | changes


PART = saved(after(TEN, options(), ERROR))["parts"][0]


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        pytest.param([], "of another version", id="not an object"),
        pytest.param({}, "of another version", id="empty"),
        pytest.param(damaged(version=2), "of another version", id="another version"),
        pytest.param({"version": 1}, "damaged", id="nothing inside"),
        pytest.param(damaged(parts=7), "damaged", id="parts are no list"),
        pytest.param(damaged(parts=[]), "its parts are not in order", id="no parts"),
        pytest.param(damaged(parts=[PART, PART]), "its parts are not in order", id="parts overlap"),
        pytest.param(
            damaged(parts=[PART | {"last": "5"}, PART | {"first": "5"}]),
            "its parts are not in order",
            id="parts share a record",
        ),
        pytest.param(damaged(parts=["x"]), "damaged", id="a part is a text"),
        pytest.param(
            damaged(parts=[PART | {"first": "11"}]),
            "a part contradicts itself",
            id="first behind last",
        ),
        pytest.param(damaged(parts=[PART | {"first": "x"}]), "not a sequence number", id="not a number"),
        pytest.param(damaged(parts=[PART | {"first": "9" * 5_000}]), "not a sequence number", id="far too long"),
        pytest.param(damaged(parts=[PART | {"first": 1}]), "not a sequence number", id="a JSON number"),
        pytest.param(
            damaged(parts=[PART | {"attempts": -1}]),
            "a count is not a number",
            id="negative attempts",
        ),
        pytest.param(
            damaged(parts=[PART | {"attempts": True}]),
            "a count is not a number",
            id="attempts are a boolean",
        ),
        pytest.param(
            damaged(parts=[PART | {"records": 0}]),
            "a part contradicts itself",
            id="no records",
        ),
        pytest.param(
            damaged(parts=[PART | {"failure": None}]),
            "a part contradicts itself",
            id="attempts without failure",
        ),
        pytest.param(
            damaged(parts=[PART | {"failure": PART["failure"] | {"kind": "?"}}]),
            "a failure of unknown kind",
            id="unknown kind",
        ),
        pytest.param(
            damaged(parts=[PART | {"failure": PART["failure"] | {"response": None}}]), "damaged", id="no response"
        ),
        pytest.param(damaged(since="yesterday"), "since is not a time", id="since is a text"),
        pytest.param(damaged(resolved=["x"]), "not a sequence number", id="resolved is no number"),
    ],
)
def test_a_damaged_snapshot_is_ignored_and_says_so(snapshot, reason):
    assert BatchPolicy.resume_end(snapshot) is None
    policy = BatchPolicy(TEN, options(maximum_retry_attempts=0), snapshot)
    if reason in ("damaged", "not a sequence number"):
        assert reason in policy.resume_ignored
    else:
        assert policy.resume_ignored in (f"the snapshot is {reason}", f"the snapshot is damaged: {reason}")
    assert policy.trouble is None
    assert run(policy, failing_on()).invoked == [ids(TEN)]


def test_a_snapshot_about_other_records_is_ignored():
    snapshot = saved(after(TEN, options(), ERROR))
    policy = BatchPolicy(records(20, 21), options(), snapshot)
    assert policy.resume_ignored == "the snapshot is about none of these records"
    assert run(policy, failing_on()).invoked == [[20, 21]]


def test_records_without_numbers_make_a_snapshot_useless_and_nothing_worse():
    snapshot = saved(after(TEN, options(), ERROR))
    policy = BatchPolicy([record("a-1"), record("a-2")], options(), snapshot)
    assert "'a-1' is not a sequence number" in policy.resume_ignored
    assert isinstance(policy.next(0, 0), Invoke)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["1", "5", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["version", "since", "parts", "resolved", "first", "last", "records", "attempts", "failure"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values | json_values.map(lambda value: {"version": 1, "since": None, "resolved": [], "parts": [value]}))
def test_whatever_the_snapshot_is_every_record_is_delivered(snapshot):
    policy = BatchPolicy(TEN, options(), snapshot)
    delivered = [number for batch in run(policy, failing_on(), clock=Clock()).invoked for number in batch]
    expected = ids(TEN)
    if isinstance(snapshot, dict) and policy.resume_ignored is None and snapshot.get("resolved"):
        gone = {int(number) for number in snapshot["resolved"]}
        expected = [number for number in expected if number not in gone]
    assert delivered == expected
