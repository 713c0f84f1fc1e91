"""A Kinesis record that is a value is what its JSON says, and as long, to the byte."""

from __future__ import annotations

import json
import math
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.events import ENVELOPE_BYTES, is_longer_than, text_of
from esmd.mappings.kinesis_values import KinesisEvent, KinesisRecord, event_of, kinesis_records
from esmd.mappings.records import Record, sizes_of, stream_records
from esmd.mappings.stream_events import KinesisText, WindowFields, epochs, stream_event

NAMES = {
    "shard_id": "shardId-000000000000",
    "stream_arn": "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
    "region": "us-east-1",
    "role_arn": "arn:aws:iam::000000000000:role/esmd",
}
KEYS = st.from_regex(r"[A-Za-z0-9+/=_.:!#$%*,;?@^~ -]{0,40}", fullmatch=True)
RAWS = st.fixed_dictionaries(
    {
        "PartitionKey": KEYS,
        "SequenceNumber": st.integers(0, 10**56).map(str),
        "Data": st.from_regex(r"[A-Za-z0-9+/]{0,60}={0,2}", fullmatch=True),
        "ApproximateArrivalTimestamp": st.floats(0, 1e11) | st.integers(0, 10**14).map(lambda n: n / 1000),
    }
)


def made(raws, names=NAMES, keys=None):
    moments = epochs([raw["ApproximateArrivalTimestamp"] for raw in raws])
    numbers = [raw["SequenceNumber"] for raw in raws]
    return kinesis_records(KinesisText(**names), raws, numbers=numbers, keys=keys or repeat(None), arrived_at=moments)


def as_text(raws, names=NAMES):
    moments = epochs([raw["ApproximateArrivalTimestamp"] for raw in raws])
    events = KinesisText(**names).of_all(raws, moments)
    return stream_records([raw["SequenceNumber"] for raw in raws], repeat(None), moments, events)


@given(st.lists(RAWS, min_size=1, max_size=5), st.just(NAMES["shard_id"]) | st.text(max_size=9))
def test_a_value_is_what_its_json_says(raws, shard_id):
    names = NAMES | {"shard_id": shard_id}
    values, texts = made(raws, names), as_text(raws, names)
    for value, text in zip(values, texts, strict=True):
        assert value[:6] == text[:6]
        assert value.event == text.event
        assert value.size == value.most == len(text.event)
        assert value.value() == json.loads(text.event)
    event = event_of(values, window=None)
    assert type(event) is KinesisEvent
    assert text_of(event) == stream_event(texts)
    assert event.value() == json.loads(stream_event(texts))
    length = len(stream_event(texts))
    assert (is_longer_than(event, length), is_longer_than(event, length - 1)) == (False, True)
    assert sizes_of(values) == sizes_of(texts)


@given(RAWS, st.sampled_from([{"PartitionKey": 'k"'}, {"PartitionKey": "é"}, {"Data": b"x"}, {"Data": "a\n"}]))
def test_of_a_page_with_anything_to_escape_the_records_have_their_json(raw, change):
    assert made([raw, raw | change]) is None


def test_a_handler_may_do_with_a_value_what_it_likes():
    raw = {"PartitionKey": "k", "SequenceNumber": "7", "Data": "YQ==", "ApproximateArrivalTimestamp": 5}
    [record] = made([raw], keys=["k"])
    assert (record.ordering_key, record.hidden_until, record.arrived_at) == ("k", math.inf, 5.0)
    record.value()["kinesis"].clear()
    assert record.value()["kinesis"]["data"] == "YQ=="
    assert repr(record) == "KinesisRecord(id='7', ordering_key='k')"


def test_an_event_is_text_where_a_record_is_or_a_window_says_more():
    raw = {"PartitionKey": "k", "SequenceNumber": "7", "Data": "YQ==", "ApproximateArrivalTimestamp": 5}
    [value], [text] = made([raw]), as_text([raw])
    assert (type(value), type(text)) == (KinesisRecord, Record)
    assert event_of([value, text], window=None) == stream_event([text, text])
    window = WindowFields(start=0, end=60, state=b"{}", shard_id="s", stream_arn="arn")
    assert event_of([value], window=window) == stream_event([text], window=window)


@pytest.mark.parametrize("moments", [[1.5], [1.5, 2.5, 3.5]])
def test_every_record_of_a_page_has_its_time(moments):
    raw = {"PartitionKey": "k", "SequenceNumber": "7", "Data": "YQ=="}
    with pytest.raises(ValueError, match="zip"):
        kinesis_records(KinesisText(**NAMES), [raw, raw], numbers=["7", "7"], keys=repeat(None), arrived_at=moments)


@pytest.mark.parametrize("limit", [0, ENVELOPE_BYTES])
def test_a_text_is_itself_and_as_long_as_it_is(limit):
    assert text_of(b"x") == b"x"
    assert is_longer_than(b"x" * (limit + 1), limit)
    assert not is_longer_than(b"x" * limit, limit)
