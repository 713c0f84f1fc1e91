"""The failure rules of streams: what AWS was recorded to do (specification B.5 to B.8, part H) and what was decided here."""

from __future__ import annotations

import json

import pytest

from esmd.mappings.commands import Bisected, Discard, Finished, Invoke, Retrying, Wait
from esmd.mappings.outcomes import Rejected, Success, Throttled, Unreachable
from esmd.mappings.policy import BatchPolicy
from esmd.mappings.verdicts import Response

from support.policy_lab import ERROR, OK, Clock, failing_on, ids, naming, options, record, records, reporting, run

TEN = records(*range(1, 11))


# --- part H: vectors taken from recordings


def test_vector_5_the_invocation_that_moved_the_checkpoint_is_no_attempt():
    setting = options(report_batch_item_failures=True, maximum_retry_attempts=3)
    first, second = BatchPolicy(records(0, 1, 2), setting), BatchPolicy(records(3, 4, 5), setting)
    assert run(first, reporting(5)).invoked == [[0, 1, 2]]
    story = run(second, reporting(5))
    assert story.invoked == [[3, 4, 5], [5], [5], [5], [5]]
    assert story.discarded == [([5], "RetryAttemptsExhausted", 4)]
    assert story.discards[0].response == Response(200, "$LATEST", None)


def answer(value):
    return Success(json.dumps(value).encode())


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'""', id="empty string"),
        pytest.param(b"[]", id="empty list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="empty object"),
        pytest.param(b'{"batchItemFailures":[]}', id="no failures"),
        pytest.param(b'{"batchItemFailures":null}', id="null failures"),
        pytest.param(b"", id="no body at all"),
    ],
)
def test_vector_6_answers_that_resolve_the_batch(payload):
    policy = BatchPolicy(records(1, 2), options(report_batch_item_failures=True))
    assert run(policy, lambda _: Success(payload)).invoked == [[1, 2]]
    assert policy.position == "2"


@pytest.mark.parametrize(
    ("outcome", "function_error"),
    [
        pytest.param(naming(123), None, id="identifier not in the batch"),
        pytest.param(naming(""), None, id="empty identifier"),
        pytest.param(naming(None), None, id="null identifier"),
        pytest.param(answer({"batchItemFailures": [{"foo": 123}]}), None, id="wrong key"),
        pytest.param(answer({"batchItemFailures": [{"foo": None}]}), None, id="wrong key with null"),
        pytest.param(ERROR, "Unhandled", id="exception"),
    ],
)
@pytest.mark.parametrize("retries", [2, 3])
def test_vector_6_answers_that_fail_the_batch(outcome, function_error, retries):
    policy = BatchPolicy(records(1, 2), options(report_batch_item_failures=True, maximum_retry_attempts=retries))
    story = run(policy, lambda _: outcome)
    assert story.invoked == [[1, 2]] * (retries + 1)
    assert story.discarded == [([1, 2], "RetryAttemptsExhausted", retries + 1)]
    assert story.discards[0].response == Response(200, "$LATEST", function_error)
    assert policy.position == "2"


def test_vector_6_of_several_identifiers_the_lowest_number_is_the_cut():
    policy = BatchPolicy(records(8, 9, 10, 11), options(report_batch_item_failures=True))
    policy.next(0, 0)
    policy.invoked(naming("11", "10", "9"), 0, 0)
    assert policy.position == "8"
    assert [ids(policy.next(10, 0).records)] == [[9, 10, 11]]


def test_vector_7_one_stale_record_is_discarded_and_the_fresh_ones_delivered():
    batch = [record(1, arrived_at=0), *records(2, 3, 4, 5, 6, arrived_at=100)]
    story = run(BatchPolicy(batch, options(maximum_record_age=60)), failing_on(), clock=Clock(100))
    assert story.discarded == [([1], "RecordAgeExceeded", 1)]
    assert story.discards[0].response is None
    assert story.invoked == [[2, 3, 4, 5, 6]]


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_vector_8_an_always_failing_batch_is_invoked_eight_times_in_a_minute(jitter):
    clock = Clock(0.0)
    policy = BatchPolicy(records(1), options(maximum_record_age=60, jitter=lambda: jitter))
    story = run(policy, lambda _: ERROR, clock=clock)
    assert story.discarded == [([1], "RecordAgeExceeded", 8)]
    assert story.discards[0].response is None
    assert clock.now == pytest.approx(60, abs=0.01)


@pytest.mark.parametrize("retries", [0, 1, 2, 3])
def test_vector_9_retries_exclude_the_first_attempt(retries):
    story = run(BatchPolicy(records(1, 2), options(maximum_retry_attempts=retries)), lambda _: ERROR)
    assert story.discarded == [([1, 2], "RetryAttemptsExhausted", retries + 1)]
    assert story.discards[0].response == Response(200, "$LATEST", "Unhandled")
    assert story.discards[0].failure.error_type == "ValueError"


# --- attempts


@pytest.mark.parametrize("refusal", [Throttled(), Unreachable("connection reset")])
def test_what_never_ran_uses_no_attempt_and_is_not_counted(refusal):
    outcomes = iter([refusal, refusal, ERROR, refusal, ERROR, refusal])
    policy = BatchPolicy(records(1), options(maximum_retry_attempts=1))
    story = run(policy, lambda _: next(outcomes))
    assert len(story.invoked) == 5
    assert story.discarded == [([1], "RetryAttemptsExhausted", 2)]


def test_what_never_ran_is_retried_until_it_is_too_old():
    policy = BatchPolicy(records(1, 2), options(maximum_retry_attempts=0, maximum_record_age=3600, bisect=True))
    story = run(policy, lambda _: Throttled())
    assert len(story.invoked) > 60
    assert story.discarded == [([1, 2], "RecordAgeExceeded", 1)]


def test_refusals_and_failures_lengthen_their_own_waits():
    outcomes = iter([Throttled(), Throttled(), ERROR, Unreachable("x"), ERROR, OK])
    policy = BatchPolicy(records(1), options(retry_backoff_initial=1))
    story = run(policy, lambda _: next(outcomes))
    delays = [(note.failure.kind, note.attempts, note.delay) for note in story.notes if isinstance(note, Retrying)]
    assert delays == [
        ("throttled", 0, 1),
        ("throttled", 0, 2),
        ("function_error", 1, 1),
        ("unreachable", 1, 1),
        ("function_error", 2, 2),
    ]
    assert [step.command.why for step in story.steps if isinstance(step.command, Wait)] == [kind for kind, *_ in delays]


def test_an_event_that_cannot_be_sent_is_a_failure_and_ends_at_the_limit():
    rejected = Rejected("RequestTooLargeException", "7 MB")
    story = run(BatchPolicy(records(1), options(maximum_retry_attempts=1)), lambda _: rejected)
    assert story.discarded == [([1], "RetryAttemptsExhausted", 2)]
    assert story.discards[0].response == Response(413, "$LATEST", None)


def test_an_event_that_is_too_large_is_cured_by_bisecting():
    def at_most_three(batch):
        return OK if len(batch) <= 3 else Rejected("RequestTooLargeException", "7 MB")

    story = run(BatchPolicy(TEN, options(maximum_retry_attempts=0, bisect=True)), at_most_three)
    assert story.discards == []
    assert [batch for batch in story.invoked if len(batch) <= 3] == [[1, 2], [3, 4, 5], [6, 7], [8, 9, 10]]


def test_the_mapping_may_refuse_an_answer():
    policy = BatchPolicy(records(1), options(maximum_retry_attempts=0))
    policy.next(0, 0)
    assert policy.invoked(OK, 0, 0, refused_answer="the answer has no state") == ()
    discard = policy.next(0, 0)
    assert isinstance(discard, Discard)
    assert discard.response == Response(200, "$LATEST", None)
    assert discard.failure.error_message == "the answer has no state"


def test_without_limits_nothing_is_ever_given_up():
    policy = BatchPolicy(records(1, 2), options())
    attempts = iter(range(200))
    story = run(policy, lambda _: ERROR if next(attempts) < 199 else OK)
    assert story.discards == []
    assert len(story.invoked) == 200
    assert max(note.delay for note in story.notes if isinstance(note, Retrying)) == 60


# --- bisect


def test_bisecting_goes_left_then_right_and_uses_no_attempt():
    story = run(BatchPolicy(TEN, options(bisect=True, maximum_retry_attempts=0)), failing_on(3))
    assert story.invoked == [list(range(1, 11)), [1, 2, 3, 4, 5], [1, 2], [3, 4, 5], [3], [4, 5], [6, 7, 8, 9, 10]]
    assert story.discarded == [([3], "RetryAttemptsExhausted", 1)]


def test_bisecting_isolates_every_poison_record():
    story = run(BatchPolicy(TEN, options(bisect=True, maximum_retry_attempts=1)), failing_on(1, 6, 10))
    assert story.discarded == [([n], "RetryAttemptsExhausted", 2) for n in (1, 6, 10)]


def test_only_the_left_half_waits_and_only_the_initial_time():
    policy = BatchPolicy(records(1, 2), options(bisect=True, retry_backoff_initial=1))
    policy.next(0, 0)
    policy.invoked(ERROR, 0, 0)
    assert policy.next(0, 0) == Wait(1, "function_error")
    assert ids(policy.next(1, 0).records) == [1]
    policy.invoked(OK, 1, 0)
    assert ids(policy.next(1, 0).records) == [2]


def test_bisect_with_a_partial_answer_cuts_at_the_number_and_then_isolates_the_record():
    setting = options(bisect=True, report_batch_item_failures=True, maximum_retry_attempts=1)
    story = run(BatchPolicy(records(1, 2, 3, 4, 5, 6), setting), reporting(3))
    assert story.invoked == [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6], [3], [3], [4, 5, 6]]
    assert story.discarded == [([3], "RetryAttemptsExhausted", 2)]


def test_without_bisect_a_partial_answer_takes_the_whole_remainder_to_the_destination():
    setting = options(report_batch_item_failures=True, maximum_retry_attempts=1)
    story = run(BatchPolicy(records(1, 2, 3), setting), reporting(2))
    assert story.invoked == [[1, 2, 3], [2, 3], [2, 3]]
    assert story.discarded == [([2, 3], "RetryAttemptsExhausted", 2)]


def test_bisect_with_an_invalid_answer_splits_in_the_middle():
    setting = options(bisect=True, report_batch_item_failures=True, maximum_retry_attempts=0)
    story = run(BatchPolicy(records(1, 2, 3, 4), setting), lambda batch: naming("zzz") if 2 in batch else OK)
    assert story.invoked == [[1, 2, 3, 4], [1, 2], [1], [2], [3, 4]]
    assert [note.sizes for note in story.notes if isinstance(note, Bisected)] == [(2, 2), (1, 1)]


# --- age


def test_age_is_looked_at_before_every_retry_and_takes_only_what_is_old():
    batch = [record(1, arrived_at=0), record(2, arrived_at=0), record(3, arrived_at=30)]
    setting = options(maximum_record_age=60, retry_backoff_initial=25, retry_backoff_maximum=25)
    story = run(BatchPolicy(batch, setting), lambda _: ERROR)
    assert story.invoked == [[1, 2, 3], [1, 2, 3], [1, 2, 3], [3]]
    assert story.discarded == [([1, 2], "RecordAgeExceeded", 3), ([3], "RecordAgeExceeded", 4)]


def test_old_records_behind_young_ones_are_discarded_first_and_never_hide_an_unresolved_one():
    batch = [record(1, arrived_at=90), record(2, arrived_at=0), record(3, arrived_at=90), record(4, arrived_at=0)]
    policy = BatchPolicy(batch, options(maximum_record_age=60))
    positions = []
    for _ in range(2):
        policy.next(0, 100)
        policy.discarded()
        positions.append(policy.position)
    assert positions == [None, None]
    assert ids(policy.next(0, 100).records) == [1, 3]
    policy.invoked(OK, 0, 100)
    assert policy.position == "4"
    assert policy.next(0, 100) == Finished()


def test_a_discard_covers_neighbours_only_so_that_its_range_holds_nothing_else():
    old, young = 0, 90
    batch = [record(n, arrived_at=at) for n, at in enumerate([old, old, young, old], start=1)]
    story = run(BatchPolicy(batch, options(maximum_record_age=60)), failing_on(), clock=Clock(100))
    assert [discarded for discarded, *_ in story.discarded] == [[1, 2], [4]]
    assert story.invoked == [[3]]


def test_a_record_that_is_already_gone_is_a_gap_too():
    batch = [record(1, arrived_at=50), record(2, arrived_at=0), record(3, arrived_at=50)]
    policy = BatchPolicy(batch, options(maximum_record_age=60))
    discarded = []
    for now in (60, 110, 110):
        command = policy.next(0, now)
        assert isinstance(command, Discard)
        discarded.append(ids(command.records))
        policy.discarded()
    assert discarded == [[2], [1], [3]]


def test_records_left_by_older_ones_keep_their_attempts():
    batch = [record(1, arrived_at=0), record(2, arrived_at=59.5)]
    setting = options(maximum_record_age=60, maximum_retry_attempts=2)
    story = run(BatchPolicy(batch, setting), lambda _: ERROR, clock=Clock(59.5))
    assert story.discarded == [([1], "RecordAgeExceeded", 2), ([2], "RetryAttemptsExhausted", 3)]
    assert story.invoked == [[1, 2], [1, 2], [2]]


def test_bisecting_does_not_make_records_young():
    story = run(BatchPolicy(TEN, options(bisect=True, maximum_record_age=60)), failing_on(3))
    assert story.discarded[0][:2] == ([3], "RecordAgeExceeded")
    assert sum(len(discarded) for discarded, *_ in story.discarded) == 8
    assert [1, 2] in story.invoked


def test_a_part_that_was_never_invoked_counts_one():
    batch = [record(1, arrived_at=0), record(2, arrived_at=0)]
    policy = BatchPolicy(batch, options(bisect=True, maximum_record_age=60))
    policy.next(0, 59)
    policy.invoked(ERROR, 0, 59)
    command = policy.next(0, 60)
    assert isinstance(command, Discard)
    assert (ids(command.records), command.approximate_invoke_count) == ([1], 1)


def test_records_that_are_given_up_for_their_age_tell_their_last_failure():
    policy = BatchPolicy(records(1), options(maximum_record_age=60))
    policy.next(0, 0)
    policy.invoked(ERROR, 0, 0)
    command = policy.next(60, 60)
    assert isinstance(command, Discard)
    assert command.failure is not None
    assert (command.failure.error_type, command.failure.error_message) == ("ValueError", "boom")


def test_the_limit_that_is_noticed_first_wins():
    policy = BatchPolicy(records(1), options(maximum_record_age=60, maximum_retry_attempts=0))
    policy.next(0, 59)
    policy.invoked(ERROR, 5, 64)
    command = policy.next(5, 64)
    assert isinstance(command, Discard)
    assert command.condition == "RetryAttemptsExhausted"


def test_a_wait_ends_when_its_last_record_is_too_old():
    policy = BatchPolicy(records(1), options(maximum_record_age=60, retry_backoff_initial=50))
    policy.next(500, 30)
    policy.invoked(ERROR, 500, 30)
    wait = policy.next(500, 30)
    assert isinstance(wait, Wait)
    assert wait.until_monotonic == pytest.approx(530, abs=0.01)
    assert isinstance(policy.next(wait.until_monotonic, 60.001), Discard)


def test_with_an_age_of_0_every_record_is_too_old():
    command = BatchPolicy(records(1, 2), options(maximum_record_age=0)).next(0, 0)
    assert isinstance(command, Discard)
    assert (ids(command.records), command.condition) == ([1, 2], "RecordAgeExceeded")


def test_both_halves_of_a_split_batch_know_its_failure():
    policy = BatchPolicy(records(1, 2), options(bisect=True, maximum_record_age=60))
    policy.next(0, 0)
    (note,) = policy.invoked(ERROR, 0, 0)
    assert isinstance(note, Bisected)
    assert (ids(note.records), note.at, note.failure.error_type) == ([1, 2], "2", "ValueError")
    for number in (1, 2):
        command = policy.next(60, 60)
        assert isinstance(command, Discard)
        assert (ids(command.records), command.failure) == ([number], note.failure)
        policy.discarded()


def test_with_an_age_of_0_a_record_of_a_clock_that_is_ahead_waits_until_that_time():
    policy = BatchPolicy(records(1, arrived_at=30), options(maximum_record_age=0, retry_backoff_initial=50))
    policy.next(500, 10)
    policy.invoked(ERROR, 500, 10)
    wait = policy.next(500, 10)
    assert isinstance(wait, Wait)
    assert wait.until_monotonic == pytest.approx(520, abs=0.01)


def test_a_wall_clock_that_was_set_back_only_prolongs_the_wait():
    policy = BatchPolicy(records(1), options(maximum_record_age=60, retry_backoff_initial=50))
    policy.next(0, 30)
    policy.invoked(ERROR, 0, 30)
    assert isinstance(policy.next(30.001, 20), Wait)
    assert isinstance(policy.next(50, 20), Invoke)


# --- the contract with the shell


def test_commands_are_repeated_until_they_are_reported():
    policy = BatchPolicy(records(1), options(maximum_retry_attempts=0))
    assert policy.next(0, 0) is policy.next(5, 5)
    policy.invoked(ERROR, 5, 5)
    assert policy.next(5, 5) is policy.next(9, 9)
    assert policy.position is None
    policy.discarded()
    assert (policy.position, policy.resolved_count) == ("1", 1)
    assert policy.next(9, 9) == policy.next(9, 9) == Finished()


def test_a_report_without_its_command_is_an_error():
    policy = BatchPolicy(records(1), options())
    with pytest.raises(RuntimeError, match=r"^nothing was invoked$"):
        policy.invoked(OK, 0, 0)
    policy.next(0, 0)
    with pytest.raises(RuntimeError, match=r"^nothing was to be discarded$"):
        policy.discarded()
    policy.invoked(OK, 0, 0)
    with pytest.raises(RuntimeError, match=r"^nothing was invoked$"):
        policy.invoked(OK, 0, 0)


def test_a_batch_without_records_is_finished():
    assert BatchPolicy([], options()).next(0, 0) == Finished()


def test_trouble_says_what_fails_since_when_and_until_when():
    policy = BatchPolicy(records(1, 2, arrived_at=5), options(maximum_record_age=60))
    assert policy.trouble is None
    policy.next(0, 10)
    policy.invoked(ERROR, 0, 11)
    policy.next(50, 40)
    policy.invoked(Throttled("full"), 50, 41)
    trouble = policy.trouble
    assert trouble is not None
    assert (ids(trouble.records), trouble.attempts, trouble.since, trouble.expires_at) == ([1, 2], 1, 11, 65)
    assert trouble.failure.kind == "throttled"
    policy.next(60, 50)
    policy.invoked(OK, 60, 50)
    assert policy.trouble is None


def test_trouble_begins_anew_when_a_record_is_resolved():
    policy = BatchPolicy(records(1, 2), options(report_batch_item_failures=True))
    for now, outcome in ((10, ERROR), (20, naming("2"))):
        policy.next(now, now)
        policy.invoked(outcome, now, now)
    assert policy.trouble.since == 20
    assert policy.trouble.expires_at is None
