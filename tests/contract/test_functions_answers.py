"""What every form of function promises about events and answers."""

from __future__ import annotations

import json
import math

import pytest

from esmd.invoke.protocol import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from esmd.mappings.outcomes import FunctionError, Rejected, Success
from esmd.mappings.settlement import settle
from esmd.mappings.verdicts import judge

from support import source_batches
from support.answers import ALL, ROW_NAMES, Row, batch_with, judged_as, settled_as, settlement_seen, verdict_seen
from support.forms import needs
from support.invocations import ID, answer, call

# --- events in


async def test_the_handler_gets_the_event_and_its_answer_comes_back(make):
    event = {"Records": [{"body": "naïve \U0001f600\u2028", "attributes": {"n": 2**80}}], "none": None}
    assert await answer(await make("answering:echo"), event) == event


async def test_a_6_mb_event_makes_the_round_trip_and_a_larger_one_is_never_sent(make):
    invoker = await make("answering:echo")
    event = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
    assert await invoker.invoke(event, request_id=ID) == Success(event)
    outcome = await invoker.invoke(event + b" ", request_id=ID)
    assert isinstance(outcome, Rejected)
    assert outcome.error_type == "RequestTooLargeException"
    assert "6291456 bytes" in outcome.message


async def test_an_event_that_is_not_json_never_succeeds(form, make):
    invoker = await make("answering:echo")
    for event in (b"{", b"\xff", b"9" * 5000):
        outcome = await invoker.invoke(event, request_id=ID)
        assert not isinstance(outcome, Success)
        if form.has("at hand"):
            assert isinstance(outcome, FunctionError)
            assert outcome.error_type == "Runtime.UnmarshalError"
            assert outcome.message.startswith("Unable to unmarshal input: ")


# --- answers out


JSON_ANSWERS = {
    "none": b"null",
    "true": b"true",
    "text": '"héllo 世界 \U0001f600"'.encode(),
    "half a surrogate": rb'"\ud800"',
    "nested": b'{"a": [1, {"b": [2.5, null]}]}',
    "huge integer": b"1208925819614629174706176",
    "decimal": b"[3, 0.5]",
}


async def test_every_answer_that_has_a_json_form_succeeds(make):
    invoker = await make("answering:value")
    answers = {value: await answer(invoker, value) for value in JSON_ANSWERS}
    assert answers == {value: json.loads(payload) for value, payload in JSON_ANSWERS.items()}


@needs("our runtime")
async def test_an_answer_comes_byte_for_byte_as_the_runtime_wrote_it(make):
    invoker = await make("answering:value")
    outcomes = {value: await call(invoker, value) for value in JSON_ANSWERS}
    assert outcomes == {value: Success(payload) for value, payload in JSON_ANSWERS.items()}


async def test_an_answer_that_is_not_a_number_comes_as_python_writes_it(make):
    assert math.isnan(await answer(await make("answering:value"), "not a number"))


async def test_an_answer_that_is_not_json_comes_as_it_is(make):
    assert await call(await make("answering:value"), "bytes") == Success(b"not json")


@needs("empty")
async def test_an_answer_without_a_body_comes_as_nothing(make):
    batch, _ = batch_with("no body at all", source_batches.sqs)
    invoker = await make("answering:as_told")
    assert await invoker.invoke(source_batches.event_of(batch), request_id=ID) == Success(b"")


async def test_an_answer_without_a_json_form_is_a_marshal_error(make):
    invoker = await make("answering:value")
    reasons = {
        "object": "Object of type object is not JSON serializable",
        "set": "Object of type set is not JSON serializable",
        "circular": "Circular reference detected",
    }
    assert {value: await call(invoker, value) for value in reasons} == {
        value: FunctionError("exception", "Runtime.MarshalError", f"Unable to marshal response: {reason}")
        for value, reason in reasons.items()
    }


async def test_an_answer_may_be_as_long_as_lambda_allows_and_no_longer(make):
    invoker = await make("answering:sized")
    longest = await call(invoker, MAX_RESPONSE_BYTES)
    assert isinstance(longest, Success)
    assert len(longest.payload) == MAX_RESPONSE_BYTES
    assert await call(invoker, MAX_RESPONSE_BYTES + 1) == FunctionError(
        "exception",
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    )
    assert await call(invoker, 10) == Success(b'"xxxxxxxx"')


# --- what an answer means for its records


def row_in(form, name, source):
    """A batch, and the row that it is in this form of function."""
    batch, row = batch_with(name, source)
    if row.told == {"raw": ""} and not form.has("empty"):
        row = Row(row.told, ALL, "function_error", "Runtime.ExitError")
    return batch, row


@pytest.mark.parametrize("reports", [True, False], ids=["reporting", "not reporting"])
async def test_each_answer_settles_its_messages_as_the_specification_says(form, make, reports):
    invoker = await make("answering:as_told")
    seen, expected = {}, {}
    for name in ROW_NAMES:
        batch, row = row_in(form, name, source_batches.sqs)
        outcome = await invoker.invoke(source_batches.event_of(batch), request_id=ID)
        settled = settle(batch, outcome, report_batch_item_failures=reports)
        seen[name], expected[name] = settlement_seen(batch, settled), settled_as(row, reports=reports)
    assert seen == expected


@pytest.mark.parametrize("source", [source_batches.kinesis, source_batches.dynamodb], ids=["kinesis", "dynamodb"])
@pytest.mark.parametrize("reports", [True, False], ids=["reporting", "not reporting"])
async def test_each_answer_cuts_a_streams_batch_as_the_specification_says(form, make, source, reports):
    invoker = await make("answering:as_told")
    seen, expected = {}, {}
    for name in ROW_NAMES:
        batch, row = row_in(form, name, source)
        outcome = await invoker.invoke(source_batches.event_of(batch), request_id=ID)
        verdict = judge(batch.records, outcome, report_batch_item_failures=reports)
        seen[name], expected[name] = verdict_seen(verdict), judged_as(row, reports=reports)
    assert seen == expected


# --- handlers and their context


@needs("our runtime", "at hand")
@pytest.mark.parametrize(
    ("handler", "result"), [("table.handle", "bound"), ("table", "called"), ("partial_of", None), ("wrapped", "awake")]
)
async def test_anything_that_can_be_called_is_a_handler(make, handler, result):
    assert await answer(await make(f"answering:{handler}")) == result


@needs("async", "at hand")
async def test_an_async_handler_keeps_its_state_and_its_loop_between_invocations(make):
    invoker = await make("answering:remember", name="remember")
    first = await answer(invoker)
    assert await answer(invoker) == {"calls": first["calls"] + 1, "loops": first["loops"]}


async def test_the_context_is_lambdas(form, make):
    invoker = await make(
        "answering:describe",
        memory_size=512,
        timeout=7.0,
        environment={"ANSWERING_VARIABLE": "yes"},
        aws_environment={"AWS_ENDPOINT_URL_ANSWERING": "http://127.0.0.1:4566"},
    )
    context = await answer(invoker)
    assert 0 < context.pop("remaining") <= 7000
    log_stream = context.pop("log_stream")
    day, _, stream = log_stream.rpartition("/")
    assert len(day.split("/")) == 3
    assert stream.startswith("[$LATEST]")
    assert len(bytes.fromhex(stream.removeprefix("[$LATEST]"))) == 16
    assert (context.pop("request_id") == ID) == form.has("our id")
    assert context == {
        "name": "orders",
        "version": "$LATEST",
        "arn": "arn:aws:lambda:eu-west-1:000000000000:function:orders",
        "memory": "512",
        "log_group": "/aws/lambda/orders",
        "identity": None,
        "client_context": None,
        "tenant_id": None,
        "variable": "yes",
        "endpoint": "http://127.0.0.1:4566",
    }
