"""The quick way to a Kinesis record's JSON, and to its time, gives what the plain way gives, to the byte."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from esmd.mappings.events import encode
from esmd.mappings.stream_events import DynamoText, KinesisText, dynamodb_record, epoch_seconds, epochs, kinesis_record

_HALF_PAIRS = re.compile("[\ud800-\udfff]")
TEXTS = st.text(st.characters(), max_size=40)
NAMES = {
    "shard_id": "shardId-000000000000",
    "stream_arn": "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
    "region": "us-east-1",
    "role_arn": "arn:aws:iam::000000000000:role/esmd",
}


PLAIN_RAW = {"PartitionKey": "k", "SequenceNumber": "7", "Data": "YQ==", "ApproximateArrivalTimestamp": 5}


@given(
    key=TEXTS,
    number=st.integers(0, 10**56),
    data=st.from_regex(r"[A-Za-z0-9+/]{0,60}={0,2}", fullmatch=True) | TEXTS | st.binary(max_size=40),
    seconds=st.floats(0, 1e11) | st.integers(0, 10**11).map(lambda n: n / 1000) | st.integers(0, 10**11),
    shard_id=st.just("shardId-000000000000") | TEXTS,
)
@example(key='"\\\ud800', number=0, data="YQ==\n", seconds=1697045500.0, shard_id='shard"\\\n')
def test_the_quick_text_of_a_record_is_its_text(key, number, data, seconds, shard_id):
    raw = {
        "PartitionKey": key,
        "SequenceNumber": str(number),
        "Data": data,
        "ApproximateArrivalTimestamp": seconds,
    }
    names = NAMES | {"shard_id": shard_id}
    quick = KinesisText(**names).of(raw, epoch_seconds(seconds))
    plain = encode(kinesis_record(raw, **names))
    assert json.loads(quick) == json.loads(plain)
    assert KinesisText(**names).of_all([raw, PLAIN_RAW], epochs([seconds, 5])) == [
        quick,
        KinesisText(**names).of(PLAIN_RAW, 5.0),
    ]
    if not _HALF_PAIRS.search(f"{key}{data}{shard_id}"):  # their escapes spread to the whole record in the plain way
        assert quick == plain


@given(st.floats(-1e15, 1e15) | st.integers(-(10**14), 10**14).map(lambda n: n / 1000))
@example(1697045500.123)
@example(1.0005)
@example(2.6745)
@example(1e12 + 0.001)
def test_a_time_is_rounded_to_milliseconds_as_python_rounds(seconds):
    assert repr(epoch_seconds(seconds)) == repr(round(float(seconds), 3))


@given(st.lists(st.sampled_from(["k", "a b", 'quoted"', "é", "back\\slash"]), min_size=1), st.floats(0, 1e10))
def test_the_texts_of_a_page_are_those_of_its_records(keys, seconds):
    page = [{**PLAIN_RAW, "PartitionKey": key, "SequenceNumber": str(n)} for n, key in enumerate(keys)]
    moments = epochs([seconds + n // 3 for n in range(len(keys))])
    assert moments == [epoch_seconds(seconds + n // 3) for n in range(len(keys))]
    one_by_one = [KinesisText(**NAMES).of(raw, moment) for raw, moment in zip(page, moments, strict=True)]
    assert KinesisText(**NAMES).of_all(page, moments) == one_by_one


VALUES = st.recursive(
    st.builds(lambda text: {"S": text}, TEXTS)
    | st.builds(lambda n: {"N": str(n)}, st.integers())
    | st.just({"NULL": True}),
    lambda inner: (
        st.builds(lambda values: {"L": values}, st.lists(inner, max_size=3))
        | st.builds(lambda values: {"M": values}, st.dictionaries(TEXTS, inner, max_size=3))
    ),
    max_leaves=8,
)
IMAGES = st.dictionaries(TEXTS, VALUES, max_size=4)


@given(
    given_=st.fixed_dictionaries(
        {"Keys": IMAGES, "SequenceNumber": st.integers(0).map(str)},
        optional={
            "NewImage": st.none() | IMAGES,
            "OldImage": IMAGES,
            "SizeBytes": st.integers(0, 10**6),
            "StreamViewType": st.sampled_from(["KEYS_ONLY", "NEW_IMAGE"]),
            "ApproximateCreationDateTime": st.none() | st.integers(0, 10**10) | st.floats(0, 1e10),
            "Unknown": TEXTS,
        },
    ),
    more=st.fixed_dictionaries(
        {"eventID": TEXTS | st.just("c4ca4238a0b923820dcc509a6f75849b"), "eventName": st.sampled_from(["INSERT", "é"])},
        optional={"userIdentity": st.just({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"})},
    ),
    arn=st.just("arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/1") | TEXTS,
)
def test_the_quick_text_of_a_change_is_its_text(given_, more, arn):
    raw = {**more, "dynamodb": given_}
    [quick] = DynamoText(stream_arn=arn, region="us-east-1").of_all([raw])
    plain = encode(dynamodb_record(raw, stream_arn=arn, region="us-east-1"))
    assert json.loads(quick) == json.loads(plain)
    if not _HALF_PAIRS.search(arn):  # their escapes spread to the whole record in the plain way
        assert quick == plain
