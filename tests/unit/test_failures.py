"""The on-failure records are those of AWS, key by key (specification B.8)."""

from __future__ import annotations

import json

from esmd.mappings.commands import Discard
from esmd.mappings.events import join
from esmd.mappings.failures import Origin, invocation_object, invocation_record, object_key
from esmd.mappings.verdicts import Response

from support.policy_lab import record

KINESIS = Origin(
    kind="kinesis",
    shard_id="shardId-000000000001",
    stream_arn="arn:aws:kinesis:us-east-2:123456789012:stream/mystream",
    function_arn="arn:aws:lambda:us-east-2:123456789012:function:myfunction",
)
DYNAMODB = Origin(
    kind="dynamodb",
    shard_id="shardId-00000001573689847184-864758bb",
    stream_arn="arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388",
    function_arn=KINESIS.function_arn,
)
RECORDS = (
    record(4960, arrived_at=1573691884.835),
    record(4961, arrived_at=1573691885.0),
    record(4962, arrived_at=1573691885.58),
)
EXHAUSTED = Discard(RECORDS, "RetryAttemptsExhausted", 2, Response(200, "$LATEST", "Unhandled"), None)
AGED = Discard(RECORDS[:1], "RecordAgeExceeded", 1, None, None)
NOW = 1573691886.021


def made(discard, origin=KINESIS):
    return invocation_record(discard, origin, request_id="c9b8fa9f", now=NOW)


def test_a_kinesis_record_is_the_recorded_one_to_the_key_order():
    expected = {
        "requestContext": {
            "requestId": "c9b8fa9f",
            "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2019-11-14T00:38:06.021Z",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000001",
            "startSequenceNumber": "4960",
            "endSequenceNumber": "4962",
            "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04.835Z",
            "approximateArrivalOfLastRecord": "2019-11-14T00:38:05.580Z",
            "batchSize": 3,
            "streamArn": "arn:aws:kinesis:us-east-2:123456789012:stream/mystream",
        },
    }
    assert made(EXHAUSTED) == json.dumps(expected, separators=(",", ":"))


def test_a_dynamodb_record_has_its_own_name_and_whole_seconds():
    made_record = json.loads(made(Discard((record(7, arrived_at=1573690399.0),), *tail(EXHAUSTED)), DYNAMODB))
    assert list(made_record) == ["requestContext", "responseContext", "version", "timestamp", "DDBStreamBatchInfo"]
    assert made_record["timestamp"] == "2019-11-14T00:38:06.021Z"
    assert made_record["DDBStreamBatchInfo"] == {
        "shardId": "shardId-00000001573689847184-864758bb",
        "startSequenceNumber": "7",
        "endSequenceNumber": "7",
        "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
        "approximateArrivalOfLastRecord": "2019-11-14T00:13:19Z",
        "batchSize": 1,
        "streamArn": DYNAMODB.stream_arn,
    }


def tail(discard):
    return discard.condition, discard.approximate_invoke_count, discard.response, discard.failure


def test_records_that_got_too_old_have_no_response_context_but_all_of_the_request_context():
    made_record = json.loads(made(AGED))
    assert list(made_record) == ["requestContext", "version", "timestamp", "KinesisBatchInfo"]
    assert made_record["requestContext"] == {
        "requestId": "c9b8fa9f",
        "functionArn": KINESIS.function_arn,
        "condition": "RecordAgeExceeded",
        "approximateInvokeCount": 1,
    }


def test_a_failure_by_answer_says_null():
    by_answer = Discard(RECORDS, "RetryAttemptsExhausted", 4, Response(200, "$LATEST", None), None)
    assert '"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":null}' in made(by_answer)


def test_no_millisecond_is_lost():
    for ms in range(1000):
        made_record = json.loads(invocation_record(AGED, KINESIS, request_id="r", now=1573691886 + ms / 1000))
        assert made_record["timestamp"] == f"2019-11-14T00:38:06.{ms:03}Z"


def test_an_object_holds_the_event_as_text():
    event = join(RECORDS)
    made_object = invocation_object(EXHAUSTED, KINESIS, request_id="c9b8fa9f", now=NOW, event=event)
    content = json.loads(made_object)
    assert list(content)[-1] == "payload"
    assert content.pop("payload") == event.decode()
    assert content == json.loads(made(EXHAUSTED))


def test_an_object_may_hold_the_event_itself_untouched():
    event = b'{"Records":[{"n":1.10,"big":12345678901234567890.5,"t":"\xc3\xa4 \\u00e4"}]}'
    made_object = invocation_object(
        EXHAUSTED, KINESIS, request_id="c9b8fa9f", now=NOW, event=event, payload_as="object"
    )
    assert made_object == f'{made(EXHAUSTED)[:-1]},"payload":{event.decode()}}}'
    assert json.loads(made_object)["payload"] == json.loads(event)


def test_the_key_of_an_object():
    key = object_key(KINESIS, mapping_id="14e0db71-eec3", now=NOW, unique="0f3f2bf5")
    assert key == "aws/lambda/14e0db71-eec3/shardId-000000000001/2019/11/14/2019-11-14T00.38.06-0f3f2bf5"
