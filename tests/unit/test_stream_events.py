"""The event JSON of Kinesis and DynamoDB Streams, as recorded on AWS."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.events import encode, join
from esmd.mappings.stream_events import (
    DynamoText,
    KinesisText,
    WindowFields,
    dynamodb_record,
    epoch_seconds,
    iso_second,
    kinesis_record,
    ordering_key_of_item,
    stream_event,
)

from support.batches import records

STREAM = "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
TABLE = "arn:aws:dynamodb:us-east-2:123456789012:table/t/stream/2024-06-10T19:26:16.525"
ROLE = "arn:aws:iam::123456789012:role/lambda-role"
RAW = {
    "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
    "ApproximateArrivalTimestamp": 1545084650.987,
    "Data": "SGVsbG8=",
    "PartitionKey": "1",
    "EncryptionType": "NONE",
}
CHANGE = {
    "eventID": "c4ca4238",
    "eventName": "INSERT",
    "eventVersion": "1.0",
    "eventSource": "aws:dynamodb",
    "awsRegion": "ddblocal",
    "dynamodb": {
        "StreamViewType": "NEW_AND_OLD_IMAGES",
        "SizeBytes": 59,
        "SequenceNumber": "1117",
        "NewImage": {"id": {"S": "a"}, "bin": {"B": "AQI="}},
        "Keys": {"id": {"S": "a"}},
        "ApproximateCreationDateTime": 1697045500,
    },
}


def kinesis(**changes):
    raw = RAW | changes
    return kinesis_record(raw, shard_id="shardId-000000000006", stream_arn=STREAM, region="us-east-2", role_arn=ROLE)


def dynamodb(**changes):
    raw = CHANGE | {"dynamodb": CHANGE["dynamodb"] | changes}
    return dynamodb_record(raw, stream_arn=TABLE, region="us-east-2")


def test_the_recorded_kinesis_record_to_the_byte():
    assert encode(kinesis()) == (
        b'{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"1",'
        b'"sequenceNumber":"49590338271490256608559692538361571095921575989136588898","data":"SGVsbG8=",'
        b'"approximateArrivalTimestamp":1545084650.987},"eventSource":"aws:kinesis","eventVersion":"1.0",'
        b'"eventID":"shardId-000000000006:49590338271490256608559692538361571095921575989136588898",'
        b'"eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role",'
        b'"awsRegion":"us-east-2","eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"}'
    )


def test_the_recorded_dynamodb_record_to_the_byte_whatever_order_and_version_the_server_has():
    assert encode(dynamodb()) == (
        b'{"eventID":"c4ca4238","eventName":"INSERT","eventVersion":"1.1","eventSource":"aws:dynamodb",'
        b'"awsRegion":"us-east-2","dynamodb":{"ApproximateCreationDateTime":1697045500.0,'
        b'"Keys":{"id":{"S":"a"}},"NewImage":{"id":{"S":"a"},"bin":{"B":"AQI="}},"SequenceNumber":"1117",'
        b'"SizeBytes":59,"StreamViewType":"NEW_AND_OLD_IMAGES"},'
        b'"eventSourceARN":"arn:aws:dynamodb:us-east-2:123456789012:table/t/stream/2024-06-10T19:26:16.525"}'
    )


def test_both_clients_make_the_same_kinesis_record():
    moment = datetime(2018, 12, 17, 22, 10, 50, 987000, tzinfo=UTC)
    assert encode(kinesis(ApproximateArrivalTimestamp=moment, Data=b"Hello")) == encode(kinesis())


@pytest.mark.parametrize(
    ("moment", "spelled"),
    [
        (1697045500, "1697045500.0"),
        (1697045500.0, "1697045500.0"),
        (1697045500.1239, "1697045500.124"),
        (datetime(2023, 10, 11, 17, 31, 40, tzinfo=UTC), "1697045500.0"),
        (datetime(2023, 10, 11, 19, 31, 40, 7000, tzinfo=timezone(timedelta(hours=2))), "1697045500.007"),
        (datetime(2023, 10, 11, 17, 31, 40), "1697045500.0"),  # noqa: DTZ001 - a parser without zones
    ],
)
def test_times_are_epoch_seconds_with_milliseconds(moment, spelled):
    assert encode({"at": epoch_seconds(moment)}) == f'{{"at":{spelled}}}'.encode()


def test_what_a_change_does_not_have_is_absent():
    record = dynamodb_record(
        {
            "eventID": "1",
            "eventName": "REMOVE",
            "dynamodb": {"Keys": {"id": {"S": "a"}}, "OldImage": None, "SequenceNumber": "1"},
        },
        stream_arn=TABLE,
        region="us-east-2",
    )
    assert list(record["dynamodb"]) == ["Keys", "SequenceNumber"]
    assert "userIdentity" not in record


def test_a_ttl_delete_names_its_identity_in_lower_camel():
    raw = CHANGE | {"userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}}
    record = dynamodb_record(raw, stream_arn=TABLE, region="us-east-2")
    assert json.dumps(record["userIdentity"]) == '{"type": "Service", "principalId": "dynamodb.amazonaws.com"}'
    assert list(record)[-3:] == ["dynamodb", "userIdentity", "eventSourceARN"]


def test_binary_is_base64_wherever_it_stands():
    given_image = {
        "B": {"B": b"\x00"},
        "set": {"BS": [b"a", b"b"]},
        "deep": {"L": [{"M": {"B": {"S": "not binary"}, "inner": {"B": b"\xff"}}}, {"NULL": True}]},
    }
    assert dynamodb(NewImage=given_image)["dynamodb"]["NewImage"] == {
        "B": {"B": "AA=="},
        "set": {"BS": ["YQ==", "Yg=="]},
        "deep": {"L": [{"M": {"B": {"S": "not binary"}, "inner": {"B": "/w=="}}}, {"NULL": True}]},
    }


@given(st.binary(), st.text(alphabet=st.characters(codec=None)))
def test_any_kinesis_payload_and_key_survive_to_the_byte(payload, key):
    for data in (payload, base64.b64encode(payload).decode()):
        kinesis_part = json.loads(encode(kinesis(Data=data, PartitionKey=key)))["kinesis"]
        assert base64.b64decode(kinesis_part["data"], validate=True) == payload
        assert kinesis_part["partitionKey"] == key


TEXT = st.text(alphabet=st.characters(codec=None), max_size=8)
LEAVES = st.one_of(
    st.builds(lambda value: {"S": value}, TEXT),
    st.builds(lambda value: {"N": str(value)}, st.integers()),
    st.builds(lambda value: {"B": value}, st.binary(max_size=8)),
    st.builds(lambda value: {"BS": value}, st.lists(st.binary(max_size=8), min_size=1, max_size=3)),
    st.builds(lambda value: {"BOOL": value}, st.booleans()),
    st.just({"NULL": True}),
)
ATTRIBUTES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda value: {"L": value}, st.lists(inner, max_size=3))
        | st.builds(lambda value: {"M": value}, st.dictionaries(TEXT, inner, max_size=3))
    ),
    max_leaves=8,
)


def as_bytes_again(attribute):
    """An attribute of the event as botocore gives it: the reverse of the encoding, by the type names."""
    ((kind, value),) = attribute.items()
    if kind == "B":
        return {"B": base64.b64decode(value, validate=True)}
    if kind == "BS":
        return {"BS": [base64.b64decode(one, validate=True) for one in value]}
    if kind == "L":
        return {"L": [as_bytes_again(one) for one in value]}
    if kind == "M":
        return {"M": {name: as_bytes_again(one) for name, one in value.items()}}
    return attribute


@given(st.dictionaries(TEXT, ATTRIBUTES, max_size=4))
def test_any_image_survives(image):
    event = json.loads(encode(dynamodb(NewImage=image)))
    assert {name: as_bytes_again(one) for name, one in event["dynamodb"]["NewImage"].items()} == image


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"S": "x"}, "b": {"N": "1"}}, {"b": {"N": "1"}, "a": {"S": "x"}}),
        ({"a": {"N": "1"}}, {"a": {"N": "1.0"}}),
        ({"a": {"N": "100"}}, {"a": {"N": "1E+2"}}),
        ({"a": {"N": "0"}}, {"a": {"N": "-0.00"}}),
        ({"a": {"B": b"\x01"}}, {"a": {"B": "AQ=="}}),
    ],
)
def test_an_item_has_one_ordering_key(one, other):
    assert ordering_key_of_item(one) == ordering_key_of_item(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"S": "1"}}, {"a": {"N": "1"}}),
        ({"a": {"S": "1"}}, {"b": {"S": "1"}}),
        ({"a": {"S": 'x","b'}}, {"a": {"S": "x"}, "b": {"S": ""}}),
        (
            {"a": {"N": "12345678901234567890123456789012345678"}},
            {"a": {"N": "12345678901234567890123456789012345679"}},
        ),
        ({"a": {"N": "not a number"}}, {"a": {"N": "1e9999999999"}}),
        ({"a": {"S": "\ud800"}}, {"a": {"S": "\ud801"}}),
    ],
)
def test_two_items_have_two_ordering_keys(one, other):
    assert ordering_key_of_item(one) != ordering_key_of_item(other)


def test_without_a_window_the_event_is_the_records():
    batch = records("a", "b")
    assert stream_event(batch) == join(batch) == b'{"Records":[{"messageId":"a"},{"messageId":"b"}]}'


def test_the_fields_of_a_window_follow_the_records_and_the_state_is_spliced_untouched():
    window = WindowFields(
        start=1607497440,
        end=1607497560,
        state=b'{"1": 282, "x":1.10}',
        shard_id="shardId-000000000006",
        stream_arn=STREAM,
    )
    assert stream_event(records("a"), window=window) == (
        b'{"Records":[{"messageId":"a"}],'
        b'"window":{"start":"2020-12-09T07:04:00Z","end":"2020-12-09T07:06:00Z"},'
        b'"state":{"1": 282, "x":1.10},"shardId":"shardId-000000000006",'
        b'"eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",'
        b'"isFinalInvokeForWindow":false,"isWindowTerminatedEarly":false}'
    )


def test_a_final_event_may_have_no_records():
    window = WindowFields(start=0, end=60, state=b"{}", shard_id="s", stream_arn="a", final=True, terminated_early=True)
    event = json.loads(stream_event([], window=window))
    assert event["Records"] == []
    assert (event["isFinalInvokeForWindow"], event["isWindowTerminatedEarly"]) == (True, True)


@pytest.fixture
def in_tokyo(monkeypatch):
    """A machine whose own time is not UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_times_do_not_depend_on_where_the_machine_is():
    assert epoch_seconds(datetime(2023, 10, 11, 17, 31, 40)) == 1697045500.0  # noqa: DTZ001 - a parser without zones
    assert iso_second(1607497440) == "2020-12-09T07:04:00Z"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"b": {"N": "1.0"}, "a": {"S": "x"}}, '[["a","S","x"],["b","N","1"]]'),
        ({"a": {"N": "-0.00"}}, '[["a","N","0"]]'),
    ],
)
def test_an_ordering_key_is_spelled_the_same_in_every_version(keys, text):
    # The lane of an item follows from it, and a restart must find its records in the lanes they were in.
    assert ordering_key_of_item(keys) == text


def test_a_change_that_utf8_cannot_hold_is_written_all_the_same():
    raw = {"eventID": "1", "eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "\ud800"}}, "SequenceNumber": "1"}}
    (text,) = DynamoText(stream_arn=TABLE, region="eu-west-1").of_all([raw])
    assert text == encode(dynamodb_record(raw, stream_arn=TABLE, region="eu-west-1"))


def test_usual_records_of_streams_are_written_the_quick_way(monkeypatch):
    change = {
        "eventID": "1",
        "eventName": "INSERT",
        "dynamodb": {"ApproximateCreationDateTime": 5, "SequenceNumber": "1"},
    }
    text = DynamoText(stream_arn=TABLE, region="eu-west-1")
    plain = text._plainly(change)
    monkeypatch.delattr(DynamoText, "_plainly")
    assert text.of_all([change]) == [plain]
    raw = {"SequenceNumber": "1", "PartitionKey": "k", "Data": "SGVsbG8="}
    pages = KinesisText(shard_id="s", stream_arn="arn", region="r", role_arn="role")
    one = pages.of(raw, 1.5)
    monkeypatch.delattr(KinesisText, "of")
    assert pages.of_all([raw, raw], [1.5, 1.5]) == [one, one]


@pytest.mark.parametrize("moments", [[1.5], [1.5, 2.5, 3.5]])
@pytest.mark.parametrize("key", ["k", "\x00"])
def test_every_record_of_a_page_has_its_time(moments, key):
    raw = {"SequenceNumber": "1", "PartitionKey": key, "Data": "SGVsbG8="}
    with pytest.raises(ValueError, match="zip"):
        KinesisText(shard_id="s", stream_arn="arn", region="r", role_arn="role").of_all([raw, raw], moments)
