"""Every row of the table in esmd.mappings.settlement."""

from __future__ import annotations

import json

import pytest

from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.mappings.settlement import INVALID_ANSWER, Settled, TryAgain, settle

from support.batches import batch

BATCH = batch("a", "b", "c")
ERROR = FunctionError("exception", "ValueError", "boom")


def ids(records):
    return [record.id for record in records]


def answer(*failed):
    return Success(json.dumps({"batchItemFailures": [{"itemIdentifier": f} for f in failed]}).encode())


@pytest.mark.parametrize(
    ("outcome", "reporting", "done", "kept", "pace", "error_type"),
    [
        pytest.param(Success(b"null"), False, "abc", "", "recover", None, id="success"),
        pytest.param(Success(b"not json"), False, "abc", "", "recover", None, id="success, any answer"),
        pytest.param(
            answer("a"), False, "abc", "", "recover", None, id="failures named without reporting mean nothing"
        ),
        pytest.param(answer(), True, "abc", "", "recover", None, id="reporting, nothing failed"),
        pytest.param(answer("b"), True, "ac", "b", "keep", None, id="reporting, some failed"),
        pytest.param(answer("c", "a", "b"), True, "", "abc", "keep", None, id="reporting, all failed: no slowing down"),
        pytest.param(Success(b"{"), True, "", "abc", "slow", INVALID_ANSWER, id="reporting, invalid answer"),
        pytest.param(answer("zzz"), True, "", "abc", "slow", INVALID_ANSWER, id="reporting, unknown identifier"),
        pytest.param(ERROR, False, "", "abc", "slow", "ValueError", id="function error"),
        pytest.param(ERROR, True, "", "abc", "slow", "ValueError", id="function error with reporting"),
        pytest.param(Rejected("TooLarge", "7 MB"), True, "", "abc", "slow", "TooLarge", id="rejected"),
    ],
)
def test_what_is_deleted_and_what_is_kept(outcome, reporting, done, kept, pace, error_type):
    verdict = settle(BATCH, outcome, report_batch_item_failures=reporting)
    assert isinstance(verdict, Settled)
    assert ids(verdict.done) == list(done)
    assert ids(verdict.kept) == list(kept)
    assert (verdict.pace, verdict.error_type) == (pace, error_type)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (ERROR, "boom"),
        (Rejected("TooLarge", "7 MB"), "7 MB"),
        (Success(b"{"), "the answer is not JSON"),
        (Success(b""), None),
    ],
)
def test_why_records_are_kept_is_told(outcome, message):
    verdict = settle(BATCH, outcome, report_batch_item_failures=True)
    assert isinstance(verdict, Settled)
    assert (verdict.error_message or "").startswith(message or "")
    assert (verdict.error_message is None) == (message is None)


@pytest.mark.parametrize("outcome", [Throttled("full"), Unreachable("full")])
def test_why_nothing_ran_is_told(outcome):
    verdict = settle(BATCH, outcome, report_batch_item_failures=True)
    assert isinstance(verdict, TryAgain)
    assert verdict.reason == "full"


@pytest.mark.parametrize("reporting", [True, False])
@pytest.mark.parametrize(
    ("outcome", "throttled"), [(Throttled("full"), True), (Unreachable("connection reset"), False)]
)
def test_what_never_ran_is_tried_again_and_deletes_nothing(outcome, throttled, reporting):
    verdict = settle(BATCH, outcome, report_batch_item_failures=reporting)
    assert isinstance(verdict, TryAgain)
    assert verdict.throttled is throttled


def test_kept_records_stay_in_the_order_of_the_batch():
    verdict = settle(BATCH, answer("c", "a"), report_batch_item_failures=True)
    assert isinstance(verdict, Settled)
    assert ids(verdict.kept) == ["a", "c"]
