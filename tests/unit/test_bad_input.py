"""What fuzzing has found: input that made a reader raise what nobody expects, or lose what it should not."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from esmd.config.loader import load
from esmd.invoke import runtime
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.error_objects import read_error, read_error_object
from esmd.invoke.failures import error_of, outcome_of
from esmd.invoke.runtime_messages import error
from esmd.mappings.outcomes import FunctionError
from esmd.pollers.errors import SourceError
from esmd.pollers.http_answers import MAX_INTERIM, Answer, AnswerReader, NotHttp
from esmd.pollers.sqs import checked_messages
from esmd.pollers.streams import child_of, first_iterator, next_iterator, shard_of
from esmd.pollers.wire import _date
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis

MAPPING = """
functions: {f: {handler: m.f, timeout: %s}}
mappings:
  m: {event_source_arn: "arn:aws:sqs:us-east-1:000000000000:q", function_name: f, tags: %s}
"""
LEVELS = 60
CHAIN = "".join(
    f"x-{n}: &a{n} {'[' * LEVELS}{f'*a{n - 1}' if n else ''}{']' * LEVELS}\n"
    for n in range(20)  # together more levels than the stack has frames
)


def errors(tmp_path, text: str) -> list[str]:
    path = tmp_path / "esmd.yaml"
    path.write_text(text)
    return [each.message for each in load([path], environ={}).diagnostics]


def test_a_chain_of_aliases_is_not_deeper_than_a_document_may_be(tmp_path):
    assert errors(tmp_path, CHAIN + MAPPING % (3, "*a19")) == ["nested deeper than 100 levels"]


def test_aliases_within_the_depth_are_taken(tmp_path):
    chain = "x-0: &a0 {a: [[[[b]]]]}\nx-1: &a1 {c: *a0}\nx-2: [*a1, *a1]\n"
    assert errors(tmp_path, chain + MAPPING % (3, "{a: b}")) == []


def test_a_number_of_seconds_that_no_double_holds_is_an_error_of_its_setting(tmp_path):
    assert errors(tmp_path, MAPPING % ("0x" + "f" * 298, "{a: b}")) == ["must be seconds, and fewer of them"]


# --- errors of functions


@pytest.mark.parametrize(
    "body",
    [
        {"cause": {"errorMessage": "inner"}},
        {"errorType": "E", "cause": {"errorMessage": "inner", "errorType": "F"}},
        {"trace": [{"errorMessage": "inner"}]},
    ],
)
def test_an_answer_whose_error_message_is_further_in_is_no_error(body):
    assert read_error_object(json.dumps(body).encode()) is None


def test_an_error_that_is_nested_to_the_limit_of_the_stack_is_an_error_all_the_same():
    for depth in range(sys.getrecursionlimit() - 120, sys.getrecursionlimit() + 20):
        body = b'{"errorType":"E","errorMessage":' + b"[" * depth + b"]" * depth + b"}"
        assert isinstance(read_error(body), FunctionError)
        assert isinstance(error(body, {}, kind="exception"), FunctionError)


def test_an_errors_text_can_be_written_and_is_bounded():
    body = json.dumps({"errorType": "\ud800", "errorMessage": "\udfff" + "x" * 10**5, "stackTrace": ["y" * 2000] * 300})
    found = read_error(body.encode())
    assert found.error_type == "?"
    assert len(found.message.encode()) == runtime.MAX_MESSAGE_CHARACTERS
    assert sum(map(len, found.stack)) <= 200 * 1000


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"[" * 5000, b'{"errorType": 5, "stackTrace": 7}', b"\xff"])
def test_whatever_a_handler_writes_to_its_workers_channel_is_a_failure(body):
    assert error_of(body, kind="init").kind == "init"
    for kind in (runtime.ERROR, runtime.READY):
        assert isinstance(outcome_of(kind, body), FunctionError)


def test_a_frame_that_no_worker_sends_ends_it():
    killed: list[str] = []
    environment = object.__new__(PythonEnvironment)
    environment._inbox = bytearray()
    environment._reply = None
    environment._process = SimpleNamespace(kill=killed.append)
    environment._take(runtime.FRAME.pack(77, 0, 0))
    assert killed == ["protocol"]


# --- answers of services


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:99999999999999999999 GMT",
    ],
)
def test_a_date_beyond_all_times_is_none(date):
    assert _date(Answer(403, b"HTTP/1.1 403 X\r\nDate: %b\r\n" % date.encode(), b"", reusable=True)) is None


GOOD = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b"}


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"MessageId": 5},
            {"ReceiptHandle": ["r"]},
            {"ReceiptHandle": ""},
            {"Attributes": ["a"]},
            {"Attributes": "a"},
        ),
        *({"MessageAttributes": ["a"]}, {"MessageAttributes": {"a": "b"}}),
    ],
)
def test_a_message_of_another_form_is_a_malformed_answer(wrong):
    assert checked_messages([GOOD, {**GOOD, "Attributes": {}, "MessageAttributes": {"a": {}}}])
    with pytest.raises(SourceError, match="MalformedAnswer"):
        checked_messages([{**GOOD, **wrong}])


@pytest.mark.parametrize("found", [5, ["i"], {"a": 1}, True])
def test_an_iterator_that_is_no_text_is_a_malformed_answer_and_not_a_shards_end(found):
    with pytest.raises(SourceError, match="MalformedAnswer"):
        next_iterator({"NextShardIterator": found})
    for answer in ({"ShardIterator": found}, {"ShardIterator": ""}, {}):
        with pytest.raises(SourceError, match="MalformedAnswer"):
            first_iterator(answer)


@pytest.mark.parametrize("found", [{}, {"NextShardIterator": None}, {"NextShardIterator": ""}])
def test_no_next_iterator_is_a_shards_end(found):
    assert next_iterator(found) is None


@pytest.mark.parametrize(
    "item", [{"ShardId": 5}, {"ShardId": "s", "ParentShardId": 5}, {"ShardId": "s", "SequenceNumberRange": "x"}, {}]
)
def test_a_shard_of_another_form_is_a_malformed_answer(item):
    with pytest.raises(SourceError, match="MalformedAnswer"):
        shard_of(item)


@pytest.mark.parametrize(
    "item", [5, "s", None, {"ShardId": "s", "ParentShards": 5}, {"ShardId": "s", "ParentShards": [5]}]
)
def test_a_child_shard_of_another_form_is_a_malformed_answer(item):
    with pytest.raises(SourceError, match="MalformedAnswer"):
        child_of(item)


def lane(answer):
    async def ask(*_args, **_options):
        return answer

    return SimpleNamespace(is_wire=True, ask=ask)


@pytest.mark.parametrize("made", ["yesterday", float("nan"), None, [5]])
async def test_a_record_that_does_not_say_when_it_was_made_in_seconds_is_not_left_out(made):
    record = {"dynamodb": {"SequenceNumber": "1", "ApproximateCreationDateTime": made}}
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2024-01-01T00:00:00.000"
    stream = WireDynamoStreams(None, None, stream_arn=arn, region="us-east-1")
    stream._lane = lane({"Records": [record], "NextShardIterator": "n"})
    page = await stream.read("from:9000000000:i", 10)
    assert page.records == [record]


async def test_a_delay_that_is_no_number_is_unknown():
    stream = WireKinesis(None, None, stream_arn="arn:aws:kinesis:us-east-1:000000000000:stream/s", region="us-east-1")
    stream._lane = lane({"Records": [], "NextShardIterator": "n", "MillisBehindLatest": "5"})
    assert (await stream.read("i", 10)).millis_behind is None


def test_a_server_that_only_ever_announces_its_answer_is_given_up():
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    reader = AnswerReader()
    for _ in range(2):  # each answer is announced anew
        assert reader.feed(interim * MAX_INTERIM + answer)
    for _ in range(MAX_INTERIM):
        assert reader.feed(interim) is None
    with pytest.raises(NotHttp, match="does not come"):
        reader.feed(interim)
