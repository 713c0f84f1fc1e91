"""Targets that read what AWS, or whatever answers in its place, sends."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

from esmd.pollers import connections
from esmd.pollers.client_choice import ClientChoice, Place
from esmd.pollers.connections import READ_BYTES, ConnectionTrouble
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.http_answers import MAX_HEAD, Answer, AnswerReader, NotHttp
from esmd.pollers.sqs import Queue
from esmd.pollers.streams import TRIM_HORIZON, Seek
from esmd.pollers.wire import _date, service_failure
from esmd.pollers.wire_clients import Lane
from esmd.pollers.wire_json import ProtocolError, parsed
from esmd.pollers.wire_sqs import WireSqs
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis

QUEUE = Queue(url="http://localhost/q", visibility_timeout=30, max_receive_count=None, dead_letter_arn=None)
HANDLES = ("h0", "h1")


def http_answer(data: bytes) -> None:
    """An answer is the same however it is split, and what is kept of it is never more than came."""
    whole, _ = _read(data, [data])
    size = 1 + len(data) % 61
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    if len(pieces) < 1500:
        again, rest = _read(data, pieces)
        if whole is None or again is None or isinstance(whole, str) or isinstance(again, str):
            assert whole == again
        else:
            assert (whole.status, bytes(whole.body)) == (again.status, bytes(again.body))
            assert whole.reusable == (again.reusable and not rest)
            assert whole.header("date") == again.header("date")


def _read(data: bytes, pieces: list[bytes]) -> tuple[Answer | str | None, bytes]:
    reader = AnswerReader()
    fed = 0
    try:
        for n, piece in enumerate(pieces):
            fed += len(piece)
            answer = reader.feed(memoryview(bytearray(piece)))
            if answer is not None:
                return answer, b"".join(pieces[n + 1 :])
            assert len(reader._body or b"") <= fed
            assert len(reader._held) < MAX_HEAD + 4
            assert reader._chunks is None or len(reader._chunks._held) <= MAX_HEAD
        return reader.end(), b""
    except NotHttp as error:
        assert len(str(error)) < 1000
        return "not http", b""


class _Transport:
    """Takes what is written and remembers that it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def get_extra_info(self, _name):
        return None

    def is_closing(self):
        return self.closed

    def write(self, _data):
        assert not self.closed

    def abort(self):
        self.closed = True


def connection(data: bytes) -> None:
    """A request on a connection comes to an end, with an answer or an error of the documented kinds."""
    asyncio.run(_connection(data))


async def _connection(data: bytes) -> None:
    owner = SimpleNamespace(idle_seconds=9.0, buffers=[], lost=lambda _: None)
    transport = _Transport()
    one = connections.Connection(owner, asyncio.get_running_loop())
    one.connection_made(transport)
    size = min(READ_BYTES, 1 + len(data) % 997)
    place = 0
    answered = one.send(b"POST", 5.0)
    while place < len(data) and not transport.closed:
        piece = data[place : place + size]
        place += size
        one.get_buffer(-1)[: len(piece)] = piece
        one.buffer_updated(len(piece))
        if answered.done() and answered.exception() is None and one.rest():
            answered = one.send(b"POST", 5.0)
    if not transport.closed:
        one.eof_received()
    one.connection_lost(None)
    assert answered.done()
    error = answered.exception()
    assert error is None or isinstance(error, ConnectionTrouble | NotHttp)
    assert one.gone.done()
    assert len(owner.buffers) == (1 if data else 0)


def aws_answer(data: bytes) -> None:
    """A body is an object without nulls or a `ProtocolError`; an error answer has a class and a text."""
    status, _, rest = data.partition(b"\x1e")
    head, _, body = rest.partition(b"\x1e")
    try:
        value = parsed(body)
    except ProtocolError as error:
        assert len(str(error)) < 1000
    else:
        assert type(value) is dict
        assert None not in value.values()
    answer = Answer(300 + sum(status) % 300, b"HTTP/1.1 400 X\r\n" + head + b"\r\n", body, reusable=True)
    failure, codes = service_failure(answer)
    assert isinstance(failure.kind, Kind)
    assert isinstance(failure.code, str)
    assert isinstance(failure.message, str)
    assert len(failure.message) <= 200_000
    assert all(isinstance(code, str) for code in codes)
    moment = _date(answer)
    assert moment is None or isinstance(moment, float)


def _lane(body: bytes) -> Lane:
    async def call(*_args, **_options):
        return body

    place = Place("sqs", "http://localhost", True)
    return Lane(ClientChoice("auto", say=lambda _: None), place, SimpleNamespace(call=call))


def messages(data: bytes) -> None:
    """Every message that is handed on can be told apart and deleted; every entry of a batch has a result."""
    asyncio.run(_messages(data))


async def _messages(data: bytes) -> None:
    sqs = WireSqs(None, None, region="us-east-1", account_id="000000000000", queue_name="q")
    sqs._lane = _lane(data)
    try:
        for message in await sqs.receive(QUEUE, most=10, wait=0, visibility_timeout=None):
            assert type(message["MessageId"]) is str
            assert type(message["ReceiptHandle"]) is str
            assert isinstance(message.get("Attributes") or {}, dict)
    except SourceError as error:
        assert isinstance(error.failure, Failure)
    for ask in (sqs.delete, lambda queue, handles: sqs.change_visibility(queue, dict.fromkeys(handles, 0))):
        sqs._lane = _lane(data)
        try:
            failures = await ask(QUEUE, HANDLES)
        except SourceError as error:
            assert isinstance(error.failure, Failure)
        else:
            assert {failure.handle for failure in failures} <= set(HANDLES)
            assert all(isinstance(failure.failure, Failure) for failure in failures)


def pages(data: bytes) -> None:
    """A page of records has numbers, and iterators that can be asked for again, whatever the service says."""
    asyncio.run(_pages(data))


async def _pages(data: bytes) -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2024-01-01T00:00:00.000"
    kinesis = WireKinesis(None, None, stream_arn="arn:aws:kinesis:us-east-1:000000000000:stream/s", region="us-east-1")
    dynamodb = WireDynamoStreams(None, None, stream_arn=arn, region="us-east-1")
    for stream in (kinesis, dynamodb):
        for seek in (TRIM_HORIZON, Seek.at_time(5.0)):
            stream._lane = _lane(data)
            try:
                assert isinstance(await stream.iterator("s", seek), str)
            except SourceError as error:
                assert isinstance(error.failure, Failure)
        for iterator in ("i", "from:5:i"):
            stream._lane = _lane(data)
            try:
                page = await stream.read(iterator, 10)
            except SourceError as error:
                assert isinstance(error.failure, Failure)
                continue
            numbers = [(each["dynamodb"] if stream is dynamodb else each)["SequenceNumber"] for each in page.records]
            assert all(type(number) is str for number in numbers)
            assert page.next_iterator is None or (type(page.next_iterator) is str and page.next_iterator)
            assert page.millis_behind is None or isinstance(page.millis_behind, int)
            for child in page.children:
                assert all(type(name) is str for name in (child.id, *child.parents))


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\n"
_ANSWERS = (
    _HEAD + b"Content-Length: 2\r\n\r\n{}",
    _HEAD + b"Connection: close\r\n\r\n{}",
    _HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 400 Bad Request\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
)
_HTTP_WORDS = (
    *(b"Content-Length: 999999999999999999\r\n", b"Content-Length: 134217728\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"ffffffff\r\n", b"1\r\na\r\n", b"0\r\n\r\n", b"HTTP/1.1 ", b"HTTP/1.1 100 \r\n\r\n" * 50, b"Connection: "),
    *(b"content-encoding: gzip\r\n", b"X: " + b"y" * 9000 + b"\r\n", b"\r\nX", b";" * 9000, b"1\r\nb\r\n" * 300),
)
_ERROR = b"\x01\x1eDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nx-amzn-query-error: AWS.SimpleQueueService.X;Sender\r\n\x1e"
_MESSAGES = {
    "Messages": [
        {
            "MessageId": "m",
            "ReceiptHandle": "r",
            "Body": "b",
            "MD5OfBody": "5",
            "Attributes": {"SentTimestamp": "1", "MessageGroupId": "g"},
            "MessageAttributes": {"a": {"DataType": "String", "StringValue": "x"}},
        }
    ],
}
_SETTLED = {"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "Code": "C", "Message": "m", "SenderFault": True}]}
_PAGE = {
    "Records": [
        {
            "SequenceNumber": "1",
            "Data": "eA==",
            "PartitionKey": "k",
            "ApproximateArrivalTimestamp": 1.5,
            "dynamodb": {"SequenceNumber": "100", "ApproximateCreationDateTime": 1.5e9, "Keys": {"k": {"S": "x"}}},
        }
    ],
    "NextShardIterator": "n",
    "ShardIterator": "i",
    "MillisBehindLatest": 5,
    "ChildShards": [{"ShardId": "c", "ParentShards": ["s"], "SequenceNumberRange": {"EndingSequenceNumber": "5"}}],
}
_JSON = tuple(json.dumps(each).encode() for each in (_MESSAGES, _SETTLED, _PAGE))

TARGETS = (
    (http_answer, _ANSWERS, _HTTP_WORDS),
    (connection, (*_ANSWERS, _ANSWERS[0] * 2), _HTTP_WORDS),
    (
        aws_answer,
        (
            _ERROR + b'{"__type":"com.amazonaws#ThrottlingException:x","message":"slow down"}',
            _ERROR + b"<html>a proxy's page</html>",
            _ERROR.replace(b"Thu, 26", b"26").replace(b"GMT", b"+0100") + _JSON[0],
            b'{"a":null}',
        ),
        (
            b"\x1e",
            b"+99999999999999999999",
            b" 99999999999999999999 ",
            b"\r\n",
            b'"__type":5',
            b"ExpiredToken",
            b";",
            b"#",
        ),
    ),
    (messages, _JSON[:2], (b'"Messages":', b'"Failed":', b'"Successful":', b'"Id":"1"', b'"MessageId":')),
    (
        pages,
        _JSON[2:],
        (b'"Records":', b'"ChildShards":', b'"SequenceNumber":', b'"dynamodb":', b'"NextShardIterator":'),
    ),
)
