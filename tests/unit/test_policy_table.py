"""The tables of esmd.mappings.verdicts, .policy and .parts, row by row and in every combination of the options."""

from __future__ import annotations

from itertools import product

import pytest

from esmd.mappings import policy as policy_module
from esmd.mappings import verdicts as verdicts_module
from esmd.mappings.commands import Bisected, Discard, Finished, Invoke, Processed, Retrying, Wait
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.mappings.policy import BatchPolicy
from esmd.mappings.settlement import INVALID_ANSWER
from esmd.mappings.verdicts import REPORTED, Response, judge

from support.policy_lab import ERROR, OK, ids, naming, options, record, records, table

# --- verdicts

ONE, MANY = 1, 5
OUTCOMES = {
    "success": Success(b"null"),
    "function error": ERROR,
    "rejected": Rejected("RequestTooLargeException", "7 MB"),
    "throttled": Throttled(),
    "unreachable": Unreachable("connection reset"),
}
ANSWERS = {
    "any": Success(b"not even JSON"),
    "nothing failed": OK,
    "names records, not the first": naming("4", "3"),
    "names the first record": naming("5", "1"),
    "invalid": naming("99"),
    "refused by the mapping": OK,
}
VERDICTS = table(verdicts_module.__doc__, "outcome")


def verdict_word(verdict, count):
    if verdict.failure is None:
        return "processed"
    if not verdict.failure.counts:
        return "refused"
    if verdict.failure.kind == "reported":
        return "cut inside" if 0 < verdict.processed < count else "cut at first"
    return "failed"


@pytest.mark.parametrize(
    ("row", "reporting"),
    [
        pytest.param(row, reporting, id=f"{row['outcome']}, {row['answer']}, reporting {reporting}")
        for row, reporting in product(VERDICTS, ("on", "off"))
        if row["`ReportBatchItemFailures`"] in ("any", reporting)
    ],
)
def test_verdict(row, reporting):
    outcome = ANSWERS[row["answer"]] if row["outcome"] == "success" else OUTCOMES[row["outcome"]]
    refused = "no state" if row["answer"] == "refused by the mapping" else None
    batch = records(*range(1, MANY + 1))
    verdict = judge(batch, outcome, report_batch_item_failures=reporting == "on", refused_answer=refused)
    assert verdict_word(verdict, MANY) == row["verdict"]
    processed = {"processed": MANY, "cut inside": 2}.get(row["verdict"], 0)
    assert verdict.processed == processed
    response = verdict.failure and verdict.failure.response
    if row["`statusCode`"] == "-":
        assert response is None
    else:
        function_error = {"`null`": None, '`"Unhandled"`': "Unhandled"}[row["`functionError`"]]
        assert response == Response(int(row["`statusCode`"]), "$LATEST", function_error)


@pytest.mark.parametrize(
    ("outcome", "kind", "error_type", "message"),
    [
        (ERROR, "function_error", "ValueError", "boom"),
        (Rejected("RequestTooLargeException", "7 MB"), "rejected", "RequestTooLargeException", "7 MB"),
        (Throttled("full"), "throttled", "Throttled", "full"),
        (Unreachable("reset"), "unreachable", "Unreachable", "reset"),
        (Success(b"{"), "invalid_answer", INVALID_ANSWER, "the answer is not JSON"),
        (naming("4", "3"), "reported", REPORTED, "the handler named 2 of 5 records, the first is 3"),
    ],
)
def test_a_verdict_tells_what_went_wrong(outcome, kind, error_type, message):
    failure = judge(records(*range(1, MANY + 1)), outcome, report_batch_item_failures=True).failure
    assert failure is not None
    assert (failure.kind, failure.error_type) == (kind, error_type)
    assert failure.error_message.startswith(message)


def test_a_verdict_tells_why_an_answer_was_refused():
    failure = judge(records(1), OK, report_batch_item_failures=True, refused_answer="no state").failure
    assert failure is not None
    assert (failure.kind, failure.error_type, failure.error_message) == ("invalid_answer", INVALID_ANSWER, "no state")


@pytest.mark.parametrize("answer", [Success(b"{", "7"), Success(b"null", "7"), FunctionError("init", "E", "", (), "7")])
def test_a_verdict_tells_the_version_that_ran(answer):
    failure = judge(records(1), answer, report_batch_item_failures=True, refused_answer="no state").failure
    assert failure is not None
    assert failure.response is not None
    assert failure.response.executed_version == "7"


def test_the_verdict_table_knows_every_outcome_and_answer():
    assert {row["outcome"] for row in VERDICTS} == set(OUTCOMES)
    assert {row["answer"] for row in VERDICTS if row["outcome"] == "success"} == set(ANSWERS)


# --- after an invocation

TRANSITIONS = table(policy_module.__doc__, "verdict")
CAUSES = {
    "processed": OK,
    "cut inside": naming("3"),
    "cut at first": naming("1"),
    "failed": ERROR,
    "refused": Throttled(),
}
LIMIT = 3


def fits(row, *, verdict, bisect, count, attempts_left):
    return (
        verdict in row["verdict"].split(", ")
        and row["bisect"] in ("any", bisect)
        and row["records"] in ("any", count)
        and row["attempts left"] in ("any", attempts_left)
    )


CASES = [
    (verdict, bisect, count, left)
    for verdict, bisect, count, left in product(CAUSES, ("on", "off"), ("one", "many"), ("yes", "no"))
    if (verdict, count) != ("cut inside", "one")
]


def part_with(attempts, *, bisect, count):
    """A policy whose only part has that many attempts, and its `Invoke` given."""
    batch = records(*range(1, (ONE if count == "one" else MANY) + 1))
    setting = options(
        bisect=bisect == "on",
        report_batch_item_failures=True,
        maximum_retry_attempts=LIMIT,
        retry_backoff_initial=1,
    )
    # As a restart leaves it: the wait for the next attempt is over.
    failed = BatchPolicy(batch, options(report_batch_item_failures=True))
    for _ in range(attempts):
        command = failed.next(1e9, 0)
        assert isinstance(command, Invoke)
        failed.invoked(ERROR, 0, 0)
    policy = BatchPolicy(batch, setting, failed.snapshot())
    assert policy.resume_ignored is None
    assert isinstance(policy.next(0, 0), Invoke)
    return policy, batch


@pytest.mark.parametrize(("verdict", "bisect", "count", "left"), CASES)
def test_exactly_one_row_decides_and_the_policy_does_what_it_says(verdict, bisect, count, left):
    rows = [row for row in TRANSITIONS if fits(row, verdict=verdict, bisect=bisect, count=count, attempts_left=left)]
    assert len(rows) == 1
    row = rows[0]
    before = LIMIT - 1 if left == "yes" else LIMIT
    policy, batch = part_with(before, bisect=bisect, count=count)
    everything = ids(batch)

    notes = policy.invoked(CAUSES[verdict], 0, 0)
    following = policy.next(0, 0)

    attempts = {"restart": 0, "one more": before + 1, "unchanged": before, "-": None}[row["attempts"]]
    # The n-th failure in a row waits 2 to the n-1: a refusal counts for itself, an attempt with those before it.
    doubled = 1 if verdict == "refused" else 2**before
    delay = {"-": None, "initial": 1, "doubled": doubled}[row["wait"]]
    match row["what becomes of the part"]:
        case "resolved":
            assert [ids(note.records) for note in notes] == [everything]
            assert isinstance(notes[0], Processed)
            assert following == Finished()
        case "resolved before the cut; the rest is a part":
            processed, retrying = notes
            assert isinstance(processed, Processed)
            assert isinstance(retrying, Retrying)
            assert ids(processed.records) == everything[:2]
            assert (ids(retrying.records), retrying.attempts, retrying.delay) == (everything[2:], attempts, delay)
            assert policy.position == "2"
        case "split behind the first record":
            (note,) = notes
            assert isinstance(note, Bisected)
            assert (note.sizes, note.at, note.delay) == ((1, MANY - 1), "2", delay)
        case "split in the middle, the smaller half first":
            (note,) = notes
            assert isinstance(note, Bisected)
            assert (note.sizes, note.at, note.delay) == ((2, 3), "3", delay)
        case "retried":
            (note,) = notes
            assert isinstance(note, Retrying)
            assert (ids(note.records), note.attempts, note.delay) == (everything, attempts, delay)
        case "discarded: RetryAttemptsExhausted":
            assert notes == ()
            assert isinstance(following, Discard)
            assert ids(following.records) == everything
            assert (following.condition, following.approximate_invoke_count) == ("RetryAttemptsExhausted", attempts)
        case other:
            pytest.fail(f"the table says {other!r}, which no test understands")
    if delay is not None:
        assert isinstance(following, Wait)
        assert following.until_monotonic == delay
    trouble = policy.trouble
    assert (trouble is None) is (verdict == "processed")
    if trouble is not None:
        assert trouble.attempts == attempts


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: " ".join(row.values())[:60])
def test_no_row_is_idle(row):
    assert any(
        fits(row, verdict=verdict, bisect=bisect, count=count, attempts_left=left)
        for verdict, bisect, count, left in CASES
    )


# --- before an invocation

COMMANDS = table(policy_module.__doc__, "attempts left")
AGE = 60


@pytest.mark.parametrize(("left", "old", "waiting"), list(product(("yes", "no"), ("some", "none"), ("yes", "no"))))
def test_the_command_before_an_invocation(left, old, waiting):
    rows = [
        row
        for row in COMMANDS
        if row["attempts left"] == left
        and row["records too old"] in ("any", old)
        and row["waiting"] in ("any", waiting)
    ]
    assert len(rows) == 1
    batch = [record(1, arrived_at=0), record(2, arrived_at=50)]
    limit = 0 if left == "no" else 5
    policy = BatchPolicy(batch, options(maximum_retry_attempts=limit, maximum_record_age=AGE, retry_backoff_initial=1))
    policy.next(0, 0)
    policy.invoked(ERROR, 0, 0)

    command = policy.next(0 if waiting == "yes" else 1, AGE if old == "some" else 0)

    match rows[0]["command"]:
        case "Discard all of the part: RetryAttemptsExhausted":
            assert isinstance(command, Discard)
            assert (ids(command.records), command.condition) == ([1, 2], "RetryAttemptsExhausted")
        case "Discard the first run of those too old: RecordAgeExceeded":
            assert isinstance(command, Discard)
            assert (ids(command.records), command.condition) == ([1], "RecordAgeExceeded")
        case "Wait until the wait ends or the last of the part is too old":
            assert command == Wait(1, "function_error")
        case "Invoke":
            assert command == Invoke(tuple(batch))
        case other:
            pytest.fail(f"the table says {other!r}, which no test understands")
