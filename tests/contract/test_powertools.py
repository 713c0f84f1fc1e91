"""AWS Lambda Powertools, as it is, in the forms of function that run Python [specification F.4]."""

from __future__ import annotations

import json

import pytest

from esmd.mappings.outcomes import FunctionError, Success
from esmd.mappings.partial import Reported, read_answer
from esmd.mappings.settlement import settle
from esmd.mappings.verdicts import judge
from esmd.observe.events import HandlerOutput

from support import source_batches
from support.forms import only
from support.invocations import ID

pytest.importorskip("aws_lambda_powertools", reason="pip install aws-lambda-powertools")

pytestmark = only("worker", "command")


async def run(make, handler, batch, **changes):
    invoker = await make(f"powertooled:{handler}", **changes)
    return await invoker.invoke(source_batches.event_of(batch), request_id=ID)


async def answer(make, handler, batch, **changes):
    outcome = await run(make, handler, batch, **changes)
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.payload)


def names(batch, *positions):
    return frozenset(batch.records[position].id for position in positions)


# --- batches


@pytest.mark.parametrize("source", ["sqs", "kinesis", "dynamodb"])
async def test_the_records_that_powertools_reports_are_the_ones_that_failed(make, source):
    batch = getattr(source_batches, source)("good", "bad apple", "good", "bad luck")
    outcome = await run(make, source, batch)
    assert isinstance(outcome, Success)
    assert read_answer(outcome.payload, {record.id for record in batch.records}) == Reported(names(batch, 1, 3))
    if source == "sqs":
        settled = settle(batch, outcome, report_batch_item_failures=True)
        assert {record.id for record in settled.done} == names(batch, 0, 2)
        assert settled.pace == "keep"
    else:
        verdict = judge(batch.records, outcome, report_batch_item_failures=True)
        assert (verdict.processed, verdict.failure.kind) == (1, "reported")


@pytest.mark.parametrize("source", ["sqs", "kinesis", "dynamodb"])
async def test_a_batch_without_a_failure_is_done(make, source):
    batch = getattr(source_batches, source)("good", "good", "good")
    outcome = await run(make, source, batch)
    assert settle(batch, outcome, report_batch_item_failures=True).done == tuple(batch.records)
    assert judge(batch.records, outcome, report_batch_item_failures=True).processed == 3


@pytest.mark.parametrize("source", ["sqs", "kinesis", "dynamodb"])
async def test_when_all_failed_powertools_raises_and_the_whole_batch_has_failed(make, source):
    batch = getattr(source_batches, source)("bad apple", "bad luck")
    outcome = await run(make, source, batch)
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type) == ("exception", "BatchProcessingError")
    assert outcome.message.startswith("All records failed processing. 2 individual errors")
    settled = settle(batch, outcome, report_batch_item_failures=True)
    assert (settled.done, settled.pace) == ((), "slow")
    assert judge(batch.records, outcome, report_batch_item_failures=True).failure.kind == "function_error"


async def test_told_not_to_raise_it_reports_them_all(make):
    batch = source_batches.sqs("bad apple", "bad luck")
    outcome = await run(make, "sqs_without_raising", batch)
    settled = settle(batch, outcome, report_batch_item_failures=True)
    assert (len(settled.kept), settled.done, settled.pace) == (2, (), "keep")


@pytest.mark.parametrize(
    ("handler", "failed"),
    [
        ("fifo", (1, 2, 3, 4)),  # everything after the first failure
        ("fifo_groups", (1, 3)),  # only the rest of its group
    ],
)
async def test_a_fifo_batch_keeps_the_order_of_its_groups(make, handler, failed):
    batch = source_batches.sqs("good", "bad", "good", "good", "good", groups=["a", "b", "a", "b", "c"])
    outcome = await run(make, handler, batch)
    settled = settle(batch, outcome, report_batch_item_failures=True)
    assert frozenset(record.id for record in settled.kept) == names(batch, *failed)


# --- logs and metrics


async def test_its_logger_finds_all_it_looks_for_in_the_context(make, said):
    assert await answer(make, "logged", source_batches.sqs("x"), memory_size=512) is None
    lines = [json.loads(line.message) for line in said.of(HandlerOutput)]
    assert {line.request_id for line in said.of(HandlerOutput)} == {ID}
    info, error = lines
    assert {name: info[name] for name in info if name not in {"timestamp", "location", "xray_trace_id"}} == {
        "level": "INFO",
        "message": "shipped",
        "service": "orders",
        "order": "Zoë 7",
        "cold_start": True,
        "function_name": "orders",
        "function_memory_size": "512",
        "function_arn": "arn:aws:lambda:eu-west-1:000000000000:function:orders",
        "function_request_id": ID,
    }
    assert (error["level"], error["exception_name"]) == ("ERROR", "ValueError")
    assert "no stock" in error["exception"]


async def test_its_logger_finds_the_trace(make, said):
    await answer(make, "logged", source_batches.sqs("x"))
    traces = {json.loads(line.message)["xray_trace_id"] for line in said.of(HandlerOutput)}
    (trace,) = traces
    assert trace.startswith("1-")


@pytest.mark.parametrize(("provisioned", "cold"), [(0, [True, False]), (1, [False, False])])
async def test_it_knows_a_cold_start(make, said, provisioned, cold):
    invoker = await make("powertooled:logged", provisioned_concurrency=provisioned)
    await invoker.start()
    for _ in range(2):
        await invoker.invoke(b"{}", request_id=ID)
    lines = [json.loads(line.message) for line in said.of(HandlerOutput)]
    assert [line["cold_start"] for line in lines if line["message"] == "shipped"] == cold


async def test_its_metrics_are_lines_of_output(make, said):
    await answer(make, "measured", source_batches.sqs("x"))
    lines = [json.loads(line.message) for line in said.of(HandlerOutput)]
    assert [line.get("Shipped") for line in lines] == [None, [3.0]]
    assert lines[0]["ColdStart"] == [1.0]
    assert lines[0]["function_name"] == "orders"


# --- event classes


async def test_its_classes_read_our_messages(make):
    (record,) = await answer(make, "sqs_fields", source_batches.sqs('{"order": 7}', groups=["a"]))
    assert record == {
        "id": "059f36b4-87a3-44ab-83d2-000000000000",
        "handle": "AQEB0",
        "body": {"order": 7},
        "md5": "7fa20081ee1217af020c02f44b6a3f91",
        "source": "aws:sqs",
        "arn": source_batches.QUEUE_ARN,
        "region": "eu-west-1",
        "queue": "https://sqs.eu-west-1.amazonaws.com/000000000000/orders",
        "received": "1",
        "sent": "1767323045678",
        "group": "a",
        "author": "Zoë",
        "type": "String",
        "blob": "AQI=",
    }


async def test_its_classes_read_our_kinesis_records(make):
    batch = source_batches.kinesis('{"order": "Zoë"}')
    (record,) = await answer(make, "kinesis_fields", batch)
    number = batch.records[0].id
    assert record == {
        "id": f"{source_batches.SHARD}:{number}",
        "name": "aws:kinesis:record",
        "source": "aws:kinesis",
        "arn": source_batches.STREAM_ARN,
        "role": "arn:aws:iam::000000000000:role/esmd",
        "key": "key-1",
        "number": number,
        "arrived": source_batches.ARRIVED,
        "version": "1.0",
        "data": {"order": "Zoë"},
    }


async def test_its_classes_read_our_changes_of_items(make):
    batch = source_batches.dynamodb("Zoë")
    (record,) = await answer(make, "dynamodb_fields", batch)
    assert record == {
        "id": f"{9:032x}",
        "name": "INSERT",
        "version": "1.1",
        "region": "eu-west-1",
        "arn": source_batches.TABLE_STREAM_ARN,
        "created": int(source_batches.ARRIVED),
        "number": batch.records[0].id,
        "size": 59,
        "view": "NEW_AND_OLD_IMAGES",
        "keys": {"id": 9},
        "text": "Zoë",
        "tags": ["a", "b"],
        "old": {},
    }


async def test_its_parser_accepts_our_events(make):
    invoker = await make("powertooled:parsed")

    async def parsed(source):
        batch = getattr(source_batches, source)("Zoë", "x")
        outcome = await invoker.invoke(source_batches.event_of(batch), request_id=ID)
        assert isinstance(outcome, Success), outcome
        return json.loads(outcome.payload)

    message, _ = await parsed("sqs")
    assert message["body"] == "Zoë"
    assert message["messageAttributes"]["blob"]["binaryValue"] == "AQI="
    assert message["attributes"]["SentTimestamp"] == "2026-01-02T03:04:05.678000Z"
    record, _ = await parsed("kinesis")
    assert record["kinesis"]["data"] == "Zoë"
    change, _ = await parsed("dynamodb")
    assert change["dynamodb"]["NewImage"]["text"] == "Zoë"
    assert change["dynamodb"]["Keys"] == {"id": "9"}
