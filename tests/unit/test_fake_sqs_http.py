"""The fake SQS as seen on its socket: HTTP, errors, long polls and every fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from esmd.testing.fake_sqs import FakeSqs
from esmd.testing.faults import Drop, FailEntries, Garbage, Refuse, Stall, Truncated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A client that sends exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
        self.reader = reader
        self.writer = writer
        self.queue = f"{url}/000000000000/q"

    def encode(self, action: str, **request: Any) -> bytes:
        body = json.dumps({"QueueUrl": self.queue, **request}).encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.{action}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def reply(self) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return Reply(int(status.split()[1]), headers, body)

    async def call(self, action: str, **request: Any) -> Reply:
        self.writer.write(self.encode(action, **request))
        return await self.reply()


@contextlib.asynccontextmanager
async def connected(server: FakeSqs) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.endpoint_url.rpartition(":")[2]))
    try:
        yield Wire(reader, writer, server.endpoint_url)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def wire(fake_sqs: FakeSqs) -> AsyncIterator[Wire]:
    fake_sqs.engine.create_queue("q")
    async with connected(fake_sqs) as wire:
        yield wire


def entries(*ids: str) -> list[dict[str, str]]:
    return [{"Id": entry_id, "MessageBody": entry_id} for entry_id in ids]


async def test_pipelined_requests_are_answered_in_order_also_behind_a_long_poll(wire: Wire, fake_sqs: FakeSqs):
    poll = wire.encode("ReceiveMessage", WaitTimeSeconds=20)
    attributes = wire.encode("GetQueueAttributes", AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
    wire.writer.write(poll + attributes + wire.encode("ListQueues"))
    async with connected(fake_sqs) as other:
        while not fake_sqs.engine._queues["q"].polls:
            await other.call("ListQueues")
        await other.call("SendMessage", MessageBody="x")
    assert (await wire.reply()).json["Messages"][0]["Body"] == "x"
    assert (await wire.reply()).json == {"Attributes": {"ApproximateNumberOfMessagesNotVisible": "1"}}
    assert (await wire.reply()).json == {"QueueUrls": [wire.queue]}


async def test_a_request_may_come_in_pieces(wire: Wire):
    for byte in wire.encode("SendMessage", MessageBody="x"):
        wire.writer.write(bytes([byte]))
        await wire.writer.drain()
    assert (await wire.reply()).status == 200


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "UnknownOperationException"),
        (b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.Fly\r\n\r\n", "UnknownOperationException"),
        (b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n\r\n", "SerializationException"),
        (
            b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 2\r\n\r\n[]",
            "SerializationException",
        ),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "SerializationException"),
        (b"x" * 70_000, "SerializationException"),
    ],
    ids=["get", "unknown", "empty", "list", "chunked", "endless-head"],
)
async def test_what_is_no_request_of_sqs_is_refused(wire: Wire, sent: bytes, kind: str):
    wire.writer.write(sent)
    reply = await wire.reply()
    assert reply.status == 400
    assert reply.json["__type"] == f"com.amazon.coral.service#{kind}"


async def test_connection_close_is_honoured(wire: Wire):
    wire.writer.write(wire.encode("ListQueues").replace(b"Host: x", b"Host: x\r\nConnection: close"))
    assert (await wire.reply()).status == 200
    assert await wire.reader.read() == b""


async def test_an_error_is_told_in_body_and_header(wire: Wire):
    reply = await wire.call("SendMessage", QueueUrl="http://x/0/none", MessageBody="x")
    assert reply.status == 400
    assert reply.json["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"
    assert reply.headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"


@pytest.mark.parametrize("swallows", [True, False])
async def test_a_long_poll_whose_client_hung_up(wire: Wire, fake_sqs: FakeSqs, swallows: bool):
    fake_sqs.engine.dead_poll_swallows = swallows
    async with connected(fake_sqs) as doomed:
        doomed.writer.write(doomed.encode("ReceiveMessage", WaitTimeSeconds=20))
        while not fake_sqs.engine._queues["q"].polls:
            await wire.call("ListQueues")
    while len(fake_sqs.connections) > 1:
        await wire.call("ListQueues")
    await wire.call("SendMessage", MessageBody="x")
    answer = (await wire.call("ReceiveMessage")).json
    assert answer.get("Messages", []) == [] if swallows else len(answer["Messages"]) == 1


async def test_refuse_strikes_so_many_calls_and_does_nothing(wire: Wire, fake_sqs: FakeSqs):
    armed = fake_sqs.faults.add("SendMessage", Refuse(503, "ServiceUnavailable"), times=2)
    statuses = [(await wire.call("SendMessage", MessageBody="x")).status for _ in range(3)]
    assert statuses == [503, 503, 200]
    assert armed.hits == 2
    assert fake_sqs.engine.counts("q").sent == 1


async def test_a_refusal_says_whose_fault_it_is(wire: Wire, fake_sqs: FakeSqs):
    fake_sqs.faults.add("*", Refuse(403, "InvalidClientTokenId"))
    reply = await wire.call("ListQueues")
    assert reply.headers["x-amzn-query-error"] == "InvalidClientTokenId;Sender"
    fake_sqs.faults.add("*", Refuse())
    reply = await wire.call("ListQueues")
    assert reply.headers["x-amzn-query-error"] == "InternalFailure;Receiver"


async def test_faults_wait_in_line_and_can_choose_their_requests(wire: Wire, fake_sqs: FakeSqs):
    fake_sqs.faults.add("SendMessage", Refuse(500), matches=lambda request: request["MessageBody"] == "b")
    fake_sqs.faults.add("SendMessage", Refuse(403))
    assert [(await wire.call("SendMessage", MessageBody=body)).status for body in "abb"] == [403, 500, 200]
    fake_sqs.faults.add("SendMessage", Refuse(), times=math.inf)
    assert (await wire.call("SendMessage", MessageBody="x")).status == 500
    fake_sqs.faults.clear()
    assert (await wire.call("SendMessage", MessageBody="x")).status == 200


@pytest.mark.parametrize("after_work", [True, False])
async def test_drop_closes_the_connection(wire: Wire, fake_sqs: FakeSqs, after_work: bool):
    fake_sqs.faults.add("SendMessage", Drop(after_work=after_work))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await wire.call("SendMessage", MessageBody="x")
    assert fake_sqs.engine.counts("q").sent == int(after_work)


async def test_stall_answers_late(wire: Wire, fake_sqs: FakeSqs):
    fake_sqs.faults.add("SendMessage", Stall(0.01))
    wire.writer.write(wire.encode("SendMessage", MessageBody="x") + wire.encode("ListQueues"))
    assert "MessageId" in (await wire.reply()).json
    assert "QueueUrls" in (await wire.reply()).json


async def test_an_endless_stall_never_does_the_work(wire: Wire, fake_sqs: FakeSqs):
    fake_sqs.faults.add("SendMessage", Stall(math.inf))
    wire.writer.write(wire.encode("SendMessage", MessageBody="x"))
    async with connected(fake_sqs) as other:
        while not fake_sqs.calls["SendMessage"]:
            await other.call("ListQueues")
    assert fake_sqs.engine.counts("q").sent == 0


async def test_garbage_comes_with_status_200_after_the_work(wire: Wire, fake_sqs: FakeSqs):
    fake_sqs.faults.add("SendMessage", Garbage(b"oops"))
    reply = await wire.call("SendMessage", MessageBody="x")
    assert (reply.status, reply.body) == (200, b"oops")
    assert fake_sqs.engine.counts("q").sent == 1


async def test_truncated_json(wire: Wire, fake_sqs: FakeSqs):
    fake_sqs.faults.add("ListQueues", Truncated())
    reply = await wire.call("ListQueues")
    with pytest.raises(json.JSONDecodeError):
        reply.json  # noqa: B018 - decoding is the act
    fake_sqs.faults.add("ListQueues", Truncated(mid_body=True))
    with pytest.raises(asyncio.IncompleteReadError):
        await wire.call("ListQueues")


async def test_fail_entries_leaves_them_undone(wire: Wire, fake_sqs: FakeSqs):
    fake_sqs.faults.add("SendMessageBatch", FailEntries(frozenset({0, 2})))
    answer = (await wire.call("SendMessageBatch", Entries=entries("a", "b", "c"))).json
    assert [entry["Id"] for entry in answer["Successful"]] == ["b"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [("a", False), ("c", False)]
    assert fake_sqs.engine.counts("q").sent == 1
    fake_sqs.faults.add("SendMessageBatch", FailEntries(code="AccessDenied", status=400))
    answer = (await wire.call("SendMessageBatch", Entries=entries("a"))).json
    assert answer["Successful"] == []
    assert [(entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [("AccessDenied", True)]


async def test_requests_are_kept_for_the_test_to_read(wire: Wire, fake_sqs: FakeSqs):
    await wire.call("SendMessage", MessageBody="x")
    await wire.call("ReceiveMessage", VisibilityTimeout=90)
    assert fake_sqs.requests_of("ReceiveMessage") == [{"QueueUrl": wire.queue, "VisibilityTimeout": 90}]
    assert fake_sqs.calls == {"SendMessage": 1, "ReceiveMessage": 1}


async def test_it_comes_back_on_the_same_port_with_its_queues():
    server = FakeSqs()
    async with server:
        url = server.endpoint_url
        server.engine.create_queue("q")
        server.engine.send("q", "x")
        async with connected(server) as wire:
            wire.writer.write(wire.encode("ReceiveMessage", WaitTimeSeconds=20, MaxNumberOfMessages=1))
            await wire.reply()
    async with server:
        assert server.endpoint_url == url
        assert server.engine.counts("q").inflight == 1


async def test_stopping_cuts_waiting_polls():
    async with FakeSqs() as server:
        server.engine.create_queue("q")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.endpoint_url.rpartition(":")[2]))
        writer.write(Wire(reader, writer, server.endpoint_url).encode("ReceiveMessage", WaitTimeSeconds=20))
        async with connected(server) as other:
            while not server.engine._queues["q"].polls:
                await other.call("ListQueues")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()


def test_stand_alone_it_prints_its_url_and_ends_on_sigterm():
    command = [sys.executable, "-m", "esmd.testing.fake_sqs", "--queue", "q", "--queue", "f.fifo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            urls = asyncio.run(_list_queues(url))
        finally:
            process.terminate()
    assert urls == [f"{url}/000000000000/q", f"{url}/000000000000/f.fifo"]
    assert process.returncode == 0


async def _list_queues(url: str) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    urls: list[str] = (await Wire(reader, writer, url).call("ListQueues")).json["QueueUrls"]
    writer.close()
    await writer.wait_closed()
    return urls
