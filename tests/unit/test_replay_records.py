"""Failure records read, their records found again, and who gets them: the tables of `esmd.replay`, row by row."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from esmd.config.loader import load
from esmd.mappings.filters import compile_filters
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.mappings.outstanding import lane_of
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.streams import Page, Place, Seek
from esmd.replay.documents import documents, member
from esmd.replay.reading import read_range
from esmd.replay.records import FailureRecord, NotAFailureRecordError, read_failure_record
from esmd.replay.routes import NoRouteError, route
from esmd.replay.selection import Range, cut, selected
from esmd.replay.verdicts import event_ids, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from esmd.config.schema import Config

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-01-01T00:00:00.000"
ARRIVED = 1_700_000_000.25


def info(**more: Any) -> dict[str, Any]:
    return {
        "shardId": "shardId-000000000000",
        "startSequenceNumber": "3",
        "endSequenceNumber": "5",
        "approximateArrivalOfFirstRecord": "2023-11-14T22:13:20.250Z",
        "approximateArrivalOfLastRecord": "2023-11-14T22:13:20.250Z",
        "batchSize": 3,
        "streamArn": STREAM,
        **more,
    }


def text_of(name: str = "KinesisBatchInfo", **more: Any) -> dict[str, Any]:
    return {
        "requestContext": {"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:handle:live"},
        "version": "1.0",
        name: info(),
        **more,
    }


def record(**more: Any) -> FailureRecord:
    return read_failure_record(json.dumps(text_of(KinesisBatchInfo=info(**more))))


# --- documents


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (' {"a": 1.10}\n', ['{"a": 1.10}']),
        ('{"a":\n 1}\n\n{"b": 2}\n', ['{"a":\n 1}', '{"b": 2}']),
        ('[ {"a": 1} , 2.50,[] ]', ['{"a": 1}', "2.50", "[]"]),
        ("[]", []),
        ('[1]\n{"a": 2}', ["1", '{"a": 2}']),
    ],
)
def test_a_file_is_taken_apart(text: str, found: list[str]):
    assert documents(text) == found


@pytest.mark.parametrize("text", ["{", '{"a": 1} x', "[1,]", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str):
    with pytest.raises(ValueError, match=r"."):
        documents(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1, "payload" : {"n": 1.10, "b": [ ]} , "c": 2}', '{"n": 1.10, "b": [ ]}'),
        ('{"payload": 1, "payload": 2}', "2"),
        ('{"a": {"payload": 1}}', None),
        (" { } ", None),
    ],
)
def test_a_member_is_found_as_it_is_written(text: str, found: str | None):
    assert member(text, "payload") == found


# --- failure records


def test_a_record_of_kinesis_is_a_pointer():
    found = record()
    assert (found.kind, found.stream_arn, found.shard_id) == ("kinesis", STREAM, "shardId-000000000000")
    assert (found.first, found.last, found.count, found.first_arrived) == ("3", "5", 3, ARRIVED)
    assert (found.function_name, found.event) == ("handle", None)
    assert str(found) == "3 of shardId-000000000000, 3 to 5"
    assert str(record(endSequenceNumber="3", batchSize=1)) == "1 of shardId-000000000000, 3"


def test_a_record_of_a_table_is_one_too_and_whole_seconds_are_read():
    said = {"DDBStreamBatchInfo": info(streamArn=TABLE, approximateArrivalOfFirstRecord="2023-11-14T22:13:20Z")}
    found = read_failure_record(json.dumps(text_of("DDBStreamBatchInfo", **said)))
    assert (found.kind, found.stream_arn, found.first_arrived) == ("dynamodb", TABLE, 1_700_000_000.0)


def test_the_payload_is_the_event_to_the_byte():
    event = '{"Records": [{"n": 1.10,  "big": 12345678901234567890.5}]}'
    as_text = json.dumps(text_of())[:-1] + f', "payload": {json.dumps(event)}}}'
    as_object = json.dumps(text_of())[:-1] + f', "payload": {event}}}'
    assert read_failure_record(as_text).event == read_failure_record(as_object).event == event.encode()
    assert read_failure_record(json.dumps(text_of(payload=None))).event is None


def test_an_envelope_of_sns_is_opened():
    inner = json.dumps(text_of())
    found = read_failure_record(json.dumps({"Type": "Notification", "MessageId": "x", "Message": inner}))
    assert found == record()
    assert found.text == inner


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "no failure record"),
        ('{"Type": "Notification", "Message": "hello"}', "not JSON"),
        (json.dumps(text_of(KinesisBatchInfo={})), "damaged failure record: KeyError"),
        (
            json.dumps(text_of(KinesisBatchInfo=info(startSequenceNumber=3))),
            "startSequenceNumber is no sequence number",
        ),
        (json.dumps(text_of(KinesisBatchInfo=info(endSequenceNumber="-3"))), "endSequenceNumber"),
        (json.dumps(text_of(KinesisBatchInfo=info(streamArn=TABLE))), "must be a stream's ARN"),
        (json.dumps(text_of(KinesisBatchInfo=info(shardId=None))), "shardId"),
        (json.dumps(text_of(KinesisBatchInfo=info(batchSize=None))), "damaged"),
        (json.dumps(text_of(KinesisBatchInfo=info(approximateArrivalOfFirstRecord="today"))), "damaged"),
        (json.dumps(text_of(requestContext=None)), "damaged"),
        (json.dumps(text_of(payload="no event")), "damaged"),
        (json.dumps(text_of(payload=[])), "payload is no event"),
    ],
)
def test_what_is_no_failure_record_is_refused(text: str, complaint: str):
    with pytest.raises(NotAFailureRecordError, match=complaint):
        read_failure_record(text)


# --- the range


def raw(number: int, key: str = "k", data: str = "{}", arrived: float = ARRIVED) -> dict[str, Any]:
    return {
        "SequenceNumber": str(number),
        "PartitionKey": key,
        "Data": base64.b64encode(data.encode()).decode(),
        "ApproximateArrivalTimestamp": arrived,
    }


def page(*numbers: int, more: bool = True, behind: int | None = 1000) -> Page:
    return Page([raw(number) for number in numbers], "next" if more else None, behind)


@pytest.mark.parametrize(
    ("pages", "over", "found"),
    [
        ([page(3, 4)], False, [3, 4]),
        ([page(3, 4), page(5, 6)], True, [3, 4, 5]),
        ([page(3), page(), page(4, behind=0)], False, [3, 4]),
        ([page(1, 2)], False, []),
        ([page(1, 7)], True, []),
        ([page(3, more=False)], True, [3]),
        ([page(3), page(behind=0)], True, [3]),
        ([page(behind=None)] * 19, False, []),
        ([page(behind=1)] * 50, False, []),
        ([page(behind=None)] * 20, True, []),
    ],
)
def test_reading_is_over_when_the_last_record_has_passed_or_can_come_no_more(
    pages: list[Page], over: bool, found: list[int]
):
    gathered = Range(record())
    for each in pages:
        assert not gathered.over
        gathered.add(each)
    assert (gathered.over, [int(one["SequenceNumber"]) for one in gathered.found]) == (over, found)


@pytest.mark.parametrize(
    ("first", "arrived", "whole", "other"),
    [
        (3, ARRIVED, True, False),
        (3, ARRIVED + 1, True, False),
        (3, ARRIVED + 2, False, True),
        (4, ARRIVED, False, False),
    ],
)
def test_the_first_record_tells_whether_something_has_expired(first: int, arrived: float, whole: bool, other: bool):
    gathered = Range(record())
    gathered.add(Page([raw(first, arrived=arrived)], None))
    assert (gathered.is_whole, gathered.is_other) == (whole, other)


KEYS = ["a", "b", "c", "d"]
SAME, OTHER = "a", next(key for key in KEYS if lane_of(key, 2) != lane_of("a", 2))


@pytest.mark.parametrize(
    ("keys", "count", "factor", "chosen"),
    [
        ([SAME, OTHER, SAME], 3, 2, "345"),
        ([SAME, OTHER, SAME], 2, 2, "35"),
        ([SAME, OTHER, SAME], 1, 2, "345"),
        ([SAME, OTHER, SAME], 2, 1, "345"),
    ],
)
def test_of_the_range_those_that_were_given_up_are_chosen_or_too_many(
    keys: list[str], count: int, factor: int, chosen: str
):
    found = [raw(number, key) for number, key in enumerate(keys, start=3)]
    records = selected(found, record(batchSize=count), record_filter=None, factor=factor)
    assert "".join(each.id for each in records) == chosen


def test_records_that_the_mapping_filters_are_left_out():
    found = [raw(3, data='{"kind": "a"}'), raw(4, data='{"kind": "b"}'), raw(5, data="text")]
    only = compile_filters(['{"data": {"kind": ["a"]}}'], source="kinesis")
    [kept] = selected(found, record(), record_filter=only, factor=1)
    event = json.loads(kept.event)
    assert (kept.id, event["eventID"]) == ("3", "shardId-000000000000:3")
    assert (event["eventSourceARN"], event["awsRegion"]) == (STREAM, "us-east-1")
    assert event["invokeIdentityArn"] == "arn:aws:iam::000000000000:role/esmd"


def test_too_many_records_make_several_events():
    records = selected([raw(n) for n in range(3, 6)], record(), record_filter=None, factor=1)
    assert [[one.id for one in event] for event in cut(records, most=2, max_bytes=10**6)] == [["3", "4"], ["5"]]
    assert [len(event) for event in cut(records, most=9, max_bytes=records[0].size + 1)] == [1, 1, 1]
    assert cut([], most=1, max_bytes=1) == []


# --- reading


class Script:
    """A `StreamApi` that says what it is told to, in turn; `asked` has the positions that were sought."""

    def __init__(self, *answers: Page | SourceError) -> None:
        self.answers = list(answers)
        self.asked: list[Seek] = []
        self.slept: list[float] = []

    async def iterator(self, shard_id: str, position: Seek) -> str:
        self.asked.append(position)
        if self.answers and isinstance(self.answers[0], SourceError) and self.answers[0].failure.status == 1:
            raise self.answers.pop(0)
        return "iterator"

    async def read(self, iterator: str, limit: int) -> Page:
        answer = self.answers.pop(0)
        if isinstance(answer, SourceError):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def numbers(self) -> list[int]:
        found = await read_range(self, record(), pause=0.2, sleep=self.sleep)  # type: ignore[arg-type]
        return [int(one["SequenceNumber"]) for one in found.found]


def refusal(kind: Kind, code: str, *, seeking: bool = False) -> SourceError:
    return SourceError(Failure(kind, code, "no", 1 if seeking else 2))


async def test_reading_goes_from_the_first_record_to_the_last():
    script = Script(page(3, 4), page(), page(5, 6))
    assert await script.numbers() == [3, 4, 5]
    assert script.asked == [Seek.at("3")]
    assert script.slept == [0.2, 0.2]


async def test_a_missing_shard_or_stream_has_nothing():
    assert await Script(refusal(Kind.RE_SEEK, "ResourceNotFoundException", seeking=True)).numbers() == []


async def test_a_number_that_is_not_known_is_looked_for_from_the_oldest_record_on():
    script = Script(refusal(Kind.RE_SEEK, "TrimmedDataAccessException", seeking=True), page(4, 5))
    assert await script.numbers() == [4, 5]
    assert [each.place for each in script.asked] == [Place.AT_SEQUENCE_NUMBER, Place.TRIM_HORIZON]


async def test_an_iterator_that_expired_is_got_anew_after_what_was_found():
    script = Script(page(3), refusal(Kind.RE_SEEK, "ExpiredIteratorException"), page(4, 5))
    assert await script.numbers() == [3, 4, 5]
    assert script.asked == [Seek.at("3"), Seek.after("3")]


async def test_throttling_is_waited_out_and_ends_at_last():
    throttled = refusal(Kind.BACK_OFF, "ProvisionedThroughputExceededException")
    assert await Script(throttled, throttled, page(3, 5)).numbers() == [3, 5]
    with pytest.raises(SourceError):
        await Script(*[throttled] * 5).numbers()
    with pytest.raises(SourceError):
        await Script(refusal(Kind.RECONFIGURE, "AccessDeniedException")).numbers()


# --- who gets it

MAPPINGS = {
    "first": {"event_source_arn": STREAM, "function_name": "handle"},
    "second": {"event_source_arn": STREAM, "function_name": "other"},
    "table": {"event_source_arn": TABLE.rpartition("/")[0] + "/latest", "function_name": "handle"},
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    document = {
        "version": 1,
        "functions": {name: {"handler": f"h:{name}"} for name in ("handle", "other", "spare")},
        "mappings": {name: {"starting_position": "LATEST", **each} for name, each in MAPPINGS.items()},
    }
    (tmp_path / "esmd.yaml").write_text(yaml.safe_dump(document))
    loaded = load([tmp_path / "esmd.yaml"], environ={})
    assert loaded.config is not None
    return loaded.config


@pytest.mark.parametrize(
    ("arn", "failed", "wanted", "function", "mapping"),
    [
        (STREAM, "handle", "other", "other", "second"),
        (STREAM, "other", None, "other", "second"),
        (STREAM, "other", "spare", "spare", "second"),
        (STREAM, "gone", None, "handle", "first"),
        (STREAM, "gone", "spare", "spare", "first"),
        (STREAM + "s", "gone", "spare", "spare", None),
        (STREAM + "s", "handle", None, "handle", None),
        (TABLE, "handle", None, "handle", "table"),
    ],
)
def test_every_row_of_the_routes(
    config: Config, arn: str, failed: str, wanted: str | None, function: str, mapping: str | None
):
    found = route(config, arn, failed=failed, wanted=wanted)
    assert (found.function, found.mapping and found.mapping.name) == (function, mapping)


def test_nobody_known_is_said(config: Config):
    with pytest.raises(NoRouteError, match="no function gone: name one with --function"):
        route(config, STREAM + "s", failed="gone", wanted=None)


# --- what came of it

IDS = ["1", "2", "3"]


def failures(*ids: str) -> Success:
    return Success(json.dumps({"batchItemFailures": [{"itemIdentifier": each} for each in ids]}).encode())


@pytest.mark.parametrize(
    ("outcome", "report", "is_stream", "done", "reason"),
    [
        (failures("2"), False, True, IDS, None),
        (Success(b"null"), True, True, IDS, None),
        (failures("2"), True, False, ["1", "3"], "2 of 3 records are done, by batchItemFailures"),
        (failures("3", "2"), True, True, ["1"], "1 of 3 records are done, by batchItemFailures"),
        (failures("9"), True, True, [], "batchItemFailures[0].itemIdentifier '9' is not in the batch"),
        (FunctionError("exception", "ValueError", "no"), True, True, [], "ValueError: no"),
        (FunctionError("exit", "Runtime.ExitError", ""), True, True, [], "Runtime.ExitError"),
        (Throttled(), False, True, [], "throttled (ReservedFunctionConcurrentInvocationLimitExceeded)"),
        (Unreachable("gone"), False, True, [], "unreachable (gone)"),
        (Rejected("RequestTooLarge", "6 MB"), False, True, [], "RequestTooLarge: 6 MB"),
    ],
)
def test_every_row_of_the_verdicts(outcome: Any, report: bool, is_stream: bool, done: list[str], reason: str | None):
    said = verdict(outcome, IDS, report=report, is_stream=is_stream)
    assert (sorted(said.done), said.reason) == (done, reason)


@pytest.mark.parametrize(
    ("event", "kind", "ids"),
    [
        ('{"Records": [{"kinesis": {"sequenceNumber": "1"}}]}', "kinesis", ["1"]),
        ('{"Records": [{"dynamodb": {"SequenceNumber": "1"}}]}', "dynamodb", ["1"]),
        ('{"Records": [{"kinesis": {}}]}', "kinesis", []),
        ("{}", "kinesis", []),
        ("no", "kinesis", []),
    ],
)
def test_ids_of_an_event(event: str, kind: str, ids: list[str]):
    assert event_ids(event.encode(), kind) == ids
