"""The SQS event JSON, as recorded on AWS [specification A.8]."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.events import ENVELOPE_BYTES, SqsText, encode, join, sqs_record

from support.batches import records

ARN = "arn:aws:sqs:us-east-2:123456789012:my-queue"
MESSAGE = {
    "MessageId": "059f36b4",
    "ReceiptHandle": "AQEB",
    "Body": "hello",
    "MD5OfBody": "5d41402a",
    "Attributes": {
        "SenderId": "AIDA",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
    },
}


def element(message=MESSAGE, *, windowed=False):
    return sqs_record(message, queue_arn=ARN, region="us-east-2", windowed=windowed)


def test_the_recorded_shape_and_key_order():
    assert json.dumps(element()) == json.dumps(
        {
            "messageId": "059f36b4",
            "receiptHandle": "AQEB",
            "body": "hello",
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDA",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            },
            "messageAttributes": {},
            "md5OfBody": "5d41402a",
            "eventSource": "aws:sqs",
            "eventSourceARN": ARN,
            "awsRegion": "us-east-2",
        }
    )


ATTRIBUTES = {
    "Author": {"StringValue": "x", "DataType": "String"},
    "Count": {"StringValue": "5", "DataType": "Number.int"},
    "Blob": {"BinaryValue": b"\x01\x02", "DataType": "Binary"},
    "Encoded": {"BinaryValue": "AQI=", "DataType": "Binary"},
}


def test_message_attributes_have_lower_camel_names_and_two_empty_lists():
    got = element(MESSAGE | {"MessageAttributes": ATTRIBUTES})["messageAttributes"]
    lists = {"stringListValues": [], "binaryListValues": []}
    assert got == {
        "Author": {"stringValue": "x", **lists, "dataType": "String"},
        "Count": {"stringValue": "5", **lists, "dataType": "Number.int"},
        "Blob": {"binaryValue": "AQI=", **lists, "dataType": "Binary"},
        "Encoded": {"binaryValue": "AQI=", **lists, "dataType": "Binary"},
    }
    assert list(got["Blob"]) == ["binaryValue", "stringListValues", "binaryListValues", "dataType"]


@pytest.mark.parametrize(
    ("windowed", "md5", "expected"),
    [(False, None, "absent"), (False, "d25a", "d25a"), (True, None, None), (True, "d25a", "d25a")],
)
def test_md5_of_message_attributes_is_absent_null_or_a_value_by_window(windowed, md5, expected):
    message = MESSAGE | ({"MD5OfMessageAttributes": md5} if md5 else {})
    got = element(message, windowed=windowed)
    assert got.get("md5OfMessageAttributes", "absent") == expected
    if expected != "absent":
        assert list(got).index("md5OfMessageAttributes") == list(got).index("messageAttributes") + 1


def test_fifo_attributes_are_passed_and_unknown_ones_kept():
    attributes = MESSAGE["Attributes"] | {
        "MessageGroupId": "g",
        "SequenceNumber": "188",
        "MessageDeduplicationId": "d",
        "New": 5,
    }
    got = element(MESSAGE | {"Attributes": attributes})["attributes"]
    assert got["MessageGroupId"] == "g"
    assert got["SequenceNumber"] == "188"
    assert got["New"] == "5"


BODIES = [
    "",
    "{}",
    '{"a": 1.50,  "b":"\\u00e9"}',
    "\u0000\u001f\u007f",
    "é \U0001f600 \u2028",
    '"quoted"',
    "\\",
    "\ud800",
]


@pytest.mark.parametrize("body", BODIES)
def test_the_body_survives_to_the_byte(body):
    assert json.loads(encode(element(MESSAGE | {"Body": body})))["body"] == body


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_body_survives(body):
    assert json.loads(encode(element(MESSAGE | {"Body": body})))["body"] == body


def test_the_event_is_its_records_joined_and_its_size_is_known_before():
    parts = records("a", "b", "c")
    event = join(parts)
    assert [r["messageId"] for r in json.loads(event)["Records"]] == ["a", "b", "c"]
    assert len(event) == ENVELOPE_BYTES + sum(part.size for part in parts) + 2


def test_what_utf8_cannot_hold_is_escaped_and_compact_all_the_same():
    assert encode({"a": "\ud800", "b": 1}) == b'{"a":"\\ud800","b":1}'


def test_a_message_attribute_without_a_type_is_a_string():
    message = MESSAGE | {"MessageAttributes": {"a": {"StringValue": "x"}}}
    assert element(message)["messageAttributes"]["a"]["dataType"] == "String"


@pytest.mark.parametrize("windowed", [False, True])
def test_a_usual_message_is_written_the_quick_way(monkeypatch, windowed):
    text = SqsText(queue_arn="arn:q", region="r1", windowed=windowed)
    usual = {"MessageId": "m", "ReceiptHandle": "h", "MD5OfBody": "0", "Body": '"', "Attributes": {"SenderId": "s"}}
    plain = text._plainly(usual)
    monkeypatch.delattr(SqsText, "_plainly")
    assert text.of(usual) == plain
