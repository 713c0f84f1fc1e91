"""The quick way to a message's JSON gives what the plain way gives, to the byte."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from esmd.mappings.events import SqsText, encode, sqs_record

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


@given(message=MESSAGES, windowed=st.booleans(), region=st.just("us-east-1") | TEXTS)
@example(message=USUAL, windowed=False, region="us-east-1")
@example(message=USUAL, windowed=True, region="us-east-1")
@example(message=USUAL | {"Body": ""}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Body": "\ud800"}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Body": None}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Attributes": {"SentTimestamp": 5, "SenderId": "x"}}, windowed=False, region="us-east-1")
@example(message=USUAL | {"Attributes": {"SentTimestamp": "5", "SomethingNew": "x"}}, windowed=True, region="us-east-1")
@example(message=USUAL | {"MD5OfMessageAttributes": "abc"}, windowed=True, region="us-east-1")
@example(message=USUAL | {"MessageId": 'quo"te\\\n'}, windowed=False, region="us-east-1")
def test_the_quick_text_of_a_message_is_its_text(message, windowed, region):
    more = {"queue_arn": "arn:aws:sqs:us-east-1:000000000000:orders", "region": region, "windowed": windowed}
    plain = encode(sqs_record(message, **more))
    quick = SqsText(**more).of(message)
    assert json.loads(quick) == json.loads(plain)
    if not _HALF_PAIRS.search(region):  # its escapes spread to the whole record in the plain way
        assert quick == plain
