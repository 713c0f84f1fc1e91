"""Records as the rules make them: of messages, of the columns of a stream's page; and what outcomes tell of themselves."""

from __future__ import annotations

import math

import pytest

from esmd.mappings.events import SqsText
from esmd.mappings.messages import Messages
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable, version_of
from esmd.mappings.records import Record, stream_records

GIVEN = {"ApproximateReceiveCount": "3", "SentTimestamp": "1500", "MessageGroupId": "g"}
MESSAGE = {"MessageId": "m", "ReceiptHandle": "h", "MD5OfBody": "0", "Body": "four", "Attributes": GIVEN}
QUEUE = {"queue_arn": "arn:q", "region": "r1", "windowed": False}


class NeverAsked(SqsText):
    """Of what a usual message gives without its JSON."""

    __slots__ = ()

    def of(self, message):
        raise AssertionError(f"made JSON of {message}")


def record_of(message, *, text=SqsText, fifo=False):
    (record,) = Messages(text(**QUEUE), fifo=fifo).records([message], 5.0)
    return record


def test_a_usual_message_is_bounded_and_read_without_its_json():
    record = record_of(MESSAGE, text=NeverAsked)
    assert record.most == 600 + 6 * (len("arn:q") + len("r1") + len("mh0" + "3" + "1500" + "g") + len("four"))
    assert record.value() == record_of(MESSAGE | {"MessageAttributes": {}}).value()


@pytest.mark.parametrize(
    "change",
    [
        {"Body": None},
        {"Body": ["no text"]},
        {"MessageId": 7},
        {"Attributes": GIVEN | {"SenderId": 7}},
        {"Attributes": GIVEN | {"Unheard": "x"}},
        {"MD5OfMessageAttributes": "0"},
        {"MessageAttributes": {"a": {"DataType": "String", "StringValue": "x"}}},
    ],
)
def test_any_other_message_is_measured_and_read_by_its_json(change):
    record = record_of(MESSAGE | change)
    assert record.most == record.size == len(record.event)
    assert record.value() == super(type(record), record).value()
    with pytest.raises(AssertionError, match="made JSON"):
        record_of(MESSAGE | change, text=NeverAsked).value()


@pytest.mark.parametrize("missing", ["Attributes", "Body", "MD5OfBody"])
def test_a_message_without_a_part_is_a_record_all_the_same(missing):
    record = record_of({name: value for name, value in MESSAGE.items() if name != missing})
    assert record.value()["messageId"] == "m"
    assert record.most == record.size
    assert record.attempt == (1 if missing == "Attributes" else 3)


def test_a_message_tells_how_often_and_when_it_came():
    record = record_of(MESSAGE)
    assert (record.id, record.handle, record.attempt, record.arrived_at, record.hidden_until) == ("m", "h", 3, 1.5, 5.0)


@pytest.mark.parametrize(
    ("fifo", "group", "key"), [(True, "g", "g"), (True, 7, "7"), (True, None, None), (False, "g", None)]
)
def test_the_group_of_a_message_counts_on_fifo_queues_only(fifo, group, key):
    attributes = {"MessageGroupId": group} if group is not None else {}
    assert record_of(MESSAGE | {"Attributes": attributes}, fifo=fifo).ordering_key == key


def test_the_records_of_a_page_are_made_of_its_columns():
    assert stream_records(["1", "2"], ["a", None], [1.5, 2.5], [b"{}", b"[]"]) == [
        Record("1", "", "a", 1, 1.5, math.inf, b"{}"),
        Record("2", "", None, 1, 2.5, math.inf, b"[]"),
    ]
    assert type(stream_records(["1"], ["a"], [1.5], [b"{}"])[0]) is Record


@pytest.mark.parametrize(
    ("outcome", "version"),
    [
        (Success(b"", "7"), "7"),
        (FunctionError("exit", "E", "", (), "7"), "7"),
        (Success(b""), None),
        (FunctionError("exit", "E", ""), None),
        (Throttled(), None),
        (Unreachable("gone"), None),
        (Rejected("E", "no"), None),
    ],
)
def test_an_outcome_tells_the_version_that_ran_if_there_are_several(outcome, version):
    assert version_of(outcome) == version
