"""What each answer of the specification's tables makes of a batch [A.5, B.7]; no function runs here."""

from __future__ import annotations

import pytest

from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.mappings.settlement import Settled, TryAgain, settle
from esmd.mappings.verdicts import judge

from support import source_batches
from support.answers import ALL, ROW_NAMES, batch_with, judged_as, rows, settled_as, settlement_seen, verdict_seen

STREAMS = [source_batches.kinesis, source_batches.dynamodb]


def outcome_of(row):
    if row.why == "function_error":
        return FunctionError("exception", "AnswerRefusedError", row.told["raise"])
    return Success(row.payload)


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize("name", ROW_NAMES)
def test_each_answer_keeps_and_deletes_the_messages_that_the_specification_says(name, reports):
    batch, row = batch_with(name, source_batches.sqs)
    settled = settle(batch, outcome_of(row), report_batch_item_failures=reports)
    assert settlement_seen(batch, settled) == settled_as(row, reports=reports)


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize("source", STREAMS)
@pytest.mark.parametrize("name", ROW_NAMES)
def test_each_answer_cuts_a_streams_batch_where_the_specification_says(name, source, reports):
    batch, row = batch_with(name, source)
    verdict = judge(batch.records, outcome_of(row), report_batch_item_failures=reports)
    assert verdict_seen(verdict) == judged_as(row, reports=reports)


def test_a_batch_is_done_with_only_if_nothing_failed():
    for name, row in rows(("a", "b", "c")).items():
        assert (row.why is None) == (row.failed == ()), name


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize("kind", ["exception", "timeout", "exit", "init"])
def test_every_kind_of_function_error_fails_the_whole_batch(kind, reports):
    outcome = FunctionError(kind, "Some.Error", "why")
    batch = source_batches.sqs("1", "2", "3")
    settled = settle(batch, outcome, report_batch_item_failures=reports)
    assert settled == Settled((), tuple(batch.records), "slow", "Some.Error", "why")
    verdict = judge(batch.records, outcome, report_batch_item_failures=reports)
    assert (verdict.processed, verdict.failure.kind) == (0, "function_error")
    assert verdict.failure.counts


@pytest.mark.parametrize("outcome", [Throttled("too many"), Unreachable("no route")])
def test_what_was_not_run_is_no_attempt(outcome):
    batch = source_batches.sqs("1", "2", "3")
    assert isinstance(settle(batch, outcome, report_batch_item_failures=True), TryAgain)
    verdict = judge(batch.records, outcome, report_batch_item_failures=True)
    assert (verdict.processed, verdict.failure.counts) == (0, False)


def test_an_event_that_can_never_be_sent_fails_the_whole_batch():
    outcome = Rejected("RequestTooLargeException", "too large")
    batch = source_batches.sqs("1", "2", "3")
    settled = settle(batch, outcome, report_batch_item_failures=True)
    assert (len(settled.kept), settled.done, settled.pace) == (len(ALL), (), "slow")
    verdict = judge(batch.records, outcome, report_batch_item_failures=True)
    assert (verdict.processed, verdict.failure.response.status_code) == (0, 413)
