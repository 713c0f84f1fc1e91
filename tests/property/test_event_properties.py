"""The quick ways to a message's JSON, and to its value, give what the plain way gives."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from esmd.mappings.events import Event, SqsText, encode, join, sqs_record
from esmd.mappings.messages import Messages

_HALF_PAIRS = re.compile("[\ud800-\udfff]")
TEXTS = st.text(st.characters(), max_size=30)
ATTRIBUTES = (
    *("SenderId", "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SentTimestamp", "SequenceNumber"),
    *("MessageGroupId", "MessageDeduplicationId", "AWSTraceHeader", "DeadLetterQueueSourceArn", "SomethingNew"),
)
VALUES = st.from_regex(r"[0-9]{1,13}", fullmatch=True) | TEXTS
MESSAGES = st.fixed_dictionaries(
    {"MessageId": TEXTS, "ReceiptHandle": TEXTS},
    optional={
        "Body": st.none() | st.text(st.characters(), max_size=200),
        "MD5OfBody": st.none() | TEXTS,
        "MD5OfMessageAttributes": st.none() | TEXTS,
        "Attributes": st.none() | st.dictionaries(st.sampled_from(ATTRIBUTES), VALUES | st.integers(0, 9)),
        "MessageAttributes": st.none()
        | st.dictionaries(TEXTS, st.fixed_dictionaries({"DataType": st.just("String"), "StringValue": TEXTS})),
    },
)
USUAL = {
    "MessageId": "8f3c5d0e-0000-4000-8000-000000000001",
    "ReceiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a+/=",
    "MD5OfBody": "0" * 32,
    "Body": '{"order": "naïve \\ \U0001f600", "n": 1}\n',
    "Attributes": {
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1700000000000",
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1700000000000",
    },
}
EVERY_ATTRIBUTE = {
    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
    "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793",
    "SequenceNumber": "18849496460467696128",
    "MessageGroupId": "\x01" * 128,
    "MessageDeduplicationId": "\x01" * 128,
    "SentTimestamp": "1700000000000",
    "ApproximateReceiveCount": "2",
    "ApproximateFirstReceiveTimestamp": "1700000000001",
    "DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:source",
}


@given(message=MESSAGES, windowed=st.booleans(), region=st.just("us-east-1") | TEXTS)
@example(message=USUAL, windowed=False, region="us-east-1")
@example(message=USUAL, windowed=True, region="us-east-1")
@example(message=USUAL | {"Body": ""}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Body": "\ud800"}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Body": None}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Attributes": {"SentTimestamp": 5, "SenderId": "x"}}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Attributes": {"SentTimestamp": "5", "SomethingNew": "x"}}, windowed=True, region="us-east-1")
@example(message=USUAL | {"MD5OfMessageAttributes": "abc"}, windowed=True, region="us-east-1")
@example(message=USUAL | {"MessageAttributes": {"a": {"StringValue": "x"}}}, windowed=True, region="us-east-1")
@example(message=USUAL | {"MessageId": 'quo"te\\\n'}, windowed=False, region="us-east-1")
def test_the_quick_text_of_a_message_is_its_text(message, windowed, region):
    more = {"queue_arn": "arn:aws:sqs:us-east-1:000000000000:orders", "region": region, "windowed": windowed}
    plain = encode(sqs_record(message, **more))
    quick = SqsText(**more).of(message)
    assert json.loads(quick) == json.loads(plain)
    if not _HALF_PAIRS.search(region):  # its escapes spread to the whole record in the plain way
        assert quick == plain


ATTRIBUTE_TEXTS = st.dictionaries(
    st.sampled_from(ATTRIBUTES).filter(lambda name: name not in {"ApproximateReceiveCount", "SentTimestamp"}), TEXTS
)
RECEIVED = st.builds(lambda message, given: message | {"Attributes": given}, MESSAGES, ATTRIBUTE_TEXTS)
"""What `Messages` may be given: counts and times are numbers."""


@given(message=RECEIVED, windowed=st.booleans(), region=st.just("us-east-1") | TEXTS)
@example(message=USUAL, windowed=False, region="us-east-1")
@example(message=USUAL, windowed=True, region="us-east-1")
@example(message=USUAL | {"Attributes": EVERY_ATTRIBUTE}, windowed=True, region="us-east-1")
@example(message=USUAL | {"Body": "\x00" * 300, "Attributes": EVERY_ATTRIBUTE}, windowed=True, region="us-east-1")
@example(message=USUAL | {"Body": "\ud800" * 300}, windowed=True, region="\ud800" * 30)
@example(message=USUAL | {"Body": 5}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Body": None}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Attributes": {"SentTimestamp": 5, "SenderId": 7}}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Attributes": None}, windowed=False, region="us-east-1")
@example(message=USUAL | {"MessageId": 5}, windowed=False, region="us-east-1")
@example(message=USUAL | {"MessageAttributes": {}}, windowed=False, region="us-east-1")
@example(
    message=USUAL | {"MessageAttributes": {"a": {"DataType": "String", "StringValue": "x"}}},
    windowed=True,
    region="us-east-1",
)
def test_a_record_gives_the_text_the_value_and_a_bound_of_the_size(message, windowed, region):
    more = {"queue_arn": "arn:aws:sqs:us-east-1:000000000000:orders", "region": region, "windowed": windowed}
    plain = SqsText(**more).of(message)
    [record] = Messages(SqsText(**more), fifo=False).records([message], 5.0)
    assert repr(record.value()) == repr(json.loads(plain))  # the order of members and the types of values too
    assert record.most >= record.size == len(plain)
    assert record.event == plain
    assert record.event is record.event
    assert (record.id, record.handle, record.hidden_until) == (message["MessageId"], message["ReceiptHandle"], 5.0)


@given(messages=st.lists(RECEIVED, min_size=1, max_size=4), spare=st.integers(-2, 2))
def test_the_event_of_a_batch_is_the_same_as_text_and_as_value(messages, spare):
    text = SqsText(queue_arn="arn", region="us-east-1", windowed=False)
    records = Messages(text, fifo=False).records(messages, 5.0)
    joined = join(records)
    event = Event(records)
    assert repr(event.value()) == repr(json.loads(joined))
    assert event.is_longer_than(len(joined) + spare) == (spare < 0)
    assert event.text() == joined


@given(message=RECEIVED)
@example(message=USUAL)
@example(message=USUAL | {"MessageAttributes": {"a": {"DataType": "String", "StringValue": "x"}}})
def test_a_value_is_its_takers_own(message):
    text = SqsText(queue_arn="arn", region="us-east-1", windowed=False)
    [record] = Messages(text, fifo=False).records([message], 5.0)
    before = json.dumps(record.value())
    mine = record.value()
    mine["attributes"]["mine"] = mine["messageAttributes"]["mine"] = "x"
    for each in record.value()["messageAttributes"].values():
        each.clear()
    mine.clear()
    assert json.dumps(record.value()) == before
    assert json.loads(record.event) == json.loads(before)
