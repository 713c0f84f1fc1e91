"""Files are taken apart as they are written, and of a range nothing that was given up is left out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.outstanding import lane_of
from esmd.pollers.streams import Page
from esmd.replay.documents import documents, member
from esmd.replay.records import FailureRecord
from esmd.replay.selection import Range, number_of, selected

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=3)


@given(st.lists(OBJECTS, max_size=4), st.sampled_from(["\n", " ", "\r\n\t"]), st.sampled_from([None, 2]))
def test_documents_are_found_whatever_is_between_them(values: list[Any], gap: str, indent: int | None):
    texts = [json.dumps(value, indent=indent) for value in values]
    assert documents(gap.join(texts)) == texts
    assert documents("[" + ",".join(f"{gap}{text}{gap}" for text in texts) + "]") == texts


@given(OBJECTS, st.text(max_size=3), st.sampled_from([None, 2]))
def test_a_member_is_what_the_parser_finds(value: dict[str, Any], name: str, indent: int | None):
    found = member(json.dumps(value, indent=indent), name)
    assert (found is not None) == (name in value)
    if found is not None:
        assert json.loads(found) == value[name]


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30),
    st.integers(1, 4),
    st.data(),
)
def test_all_that_was_given_up_is_replayed_and_mostly_nothing_else(keys: list[str], factor: int, data: st.DataObject):
    """A shard's records by key; a run of one lane's is given up; pages are cut anywhere."""
    raws = [
        {"SequenceNumber": str(10 + n), "PartitionKey": key, "Data": "e30=", "ApproximateArrivalTimestamp": 1.0}
        for n, key in enumerate(keys)
    ]
    lane = lane_of(keys[data.draw(st.integers(0, len(keys) - 1))], factor)
    of_lane = [raw for raw in raws if lane_of(raw["PartitionKey"], factor) == lane]
    start = data.draw(st.integers(0, len(of_lane) - 1))
    given_up = of_lane[start : start + data.draw(st.integers(1, 5))]
    wanted = FailureRecord(
        kind="kinesis",
        stream_arn="arn:aws:kinesis:us-east-1:000000000000:stream/s",
        shard_id="shard",
        first=number_of(given_up[0]),
        last=number_of(given_up[-1]),
        first_arrived=1.0,
        count=len(given_up),
        function_arn="f",
        text="",
    )
    found = Range(wanted)
    rest = list(raws)
    while not found.over:
        size = data.draw(st.integers(1, 4))
        page, rest = rest[:size], rest[size:]
        found.add(Page(page, "next" if rest else None))
    assert found.is_whole
    ids = [record.id for record in selected(found.found, wanted, record_filter=None, factor=factor)]
    assert set(map(number_of, given_up)) <= set(ids)
    assert ids == [number_of(raw) for raw in given_up] or len(ids) == len(found.found)
