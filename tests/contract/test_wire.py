"""Both clients say the same of every server: messages, records, failures and errors are equal, call by call."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from esmd.mappings.events import sqs_record
from esmd.pollers.client_choice import ClientChoice
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.errors import Failure, SourceError
from esmd.pollers.kinesis import BotoKinesis
from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.pollers.streams import LATEST, TRIM_HORIZON, Seek
from esmd.pollers.wire_clients import WireClients
from esmd.pollers.wire_sqs import WireSqs

from support.servers import make_queue, sqs_client
from support.stream_backends import number_of, refuse, server_backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from esmd.pollers.sqs import EntryFailure, Queue
    from esmd.pollers.streams import Page, StreamApi

    from support.stream_backends import Backend

ACCOUNT = "000000000000"
BODIES = [
    "plain",
    "snow \u2603 \U0001f409 \u00e9",
    '{"a": "\\"quoted\\" \\\\ \\n"}',
    "tab\tand\r\nlines",
    "x" * 200_000,
]
ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "\u2603"},
    "number": {"DataType": "Number", "StringValue": "123456789012345678901234567890"},
    "binary": {"DataType": "Binary", "BinaryValue": b"\x00\xff\x01"},
    "custom": {"DataType": "Binary.png", "BinaryValue": b"\x89PNG"},
}
CHANGING = {"ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"}


@pytest.fixture(params=["fake_sqs", "ministack", "localstack"])
def url(request: pytest.FixtureRequest) -> str:
    """Every server with queues, in turn."""
    server = request.getfixturevalue(request.param)
    return server if isinstance(server, str) else server.endpoint_url


class Pair:
    """One queue through both clients.

    Attributes:
        wire: through the lean one.
        boto: through botocore.
    """

    def __init__(self, wire: WireSqs, boto: WireSqs, client: Any) -> None:
        self.wire = wire
        self.boto = boto
        self.client = client

    @property
    def both(self) -> tuple[WireSqs, WireSqs]:
        return self.wire, self.boto


@contextlib.asynccontextmanager
async def pair_on(url: str, **options: Any) -> AsyncIterator[tuple[Pair, Queue]]:
    """A new queue."""

    def connect(_service: str, region: str | None, _url: str | None = None) -> Connection:
        return Connection(endpoint_url=url, region=region, dummy_credentials=True)

    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(sqs_client(url))
        name = (await make_queue(client, **options)).name
        apis = []
        for setting in ("wire", "botocore"):
            clients = await stack.enter_async_context(LocalStackClients(connect, profile=None, pool=20))
            choice = ClientChoice(setting, say=refuse)
            wires = await stack.enter_async_context(
                WireClients(choice, plain=clients.plain, ca_bundle=clients.ca_bundle)
            )
            apis.append(WireSqs(clients, wires, region="us-east-1", account_id=ACCOUNT, queue_name=name))
        queues = [await api.look_up() for api in apis]
        assert queues[0] == queues[1]
        yield Pair(apis[0], apis[1], client), queues[0]


async def receive_all(api: WireSqs, queue: Queue, count: int, *, visibility_timeout: int = 60) -> list[dict[str, Any]]:
    """Receive until `count` messages came."""
    messages: list[Any] = []
    async with asyncio.timeout(30):
        while len(messages) < count:
            messages += await api.receive(queue, most=10, wait=1, visibility_timeout=visibility_timeout)
    return messages


def lasting(message: Any) -> dict[str, Any]:
    """A message as its event shows it, without what every receive changes."""
    record = sqs_record(message, queue_arn="arn", region="r", windowed=False)
    record["attributes"] = {name: value for name, value in record["attributes"].items() if name not in CHANGING}
    return {name: value for name, value in record.items() if name != "receiptHandle"}


@pytest.mark.parametrize("fifo", [False, True])
async def test_messages_are_equal(url, fifo):
    async with pair_on(url, fifo=fifo) as (pair, queue):
        for n, body in enumerate(BODIES):
            extra: dict[str, Any] = {"MessageGroupId": f"g{n}", "MessageDeduplicationId": f"d{n}"} if fifo else {}
            if n % 2 == 0:
                extra["MessageAttributes"] = ATTRIBUTES
            await pair.client.send_message(QueueUrl=queue.url, MessageBody=body, **extra)
        seen = []
        for api in pair.both:
            messages = await receive_all(api, queue, len(BODIES))
            seen.append(
                sorted((lasting(message) for message in messages), key=lambda record: BODIES.index(record["body"]))
            )
            handles = {message["ReceiptHandle"]: 0 for message in messages}
            assert await api.change_visibility(queue, handles) == []
        assert seen[0] == seen[1]
        assert [record["body"] for record in seen[0]] == BODIES
        assert seen[0][0]["messageAttributes"].keys() == ATTRIBUTES.keys()
        assert seen[0][0]["messageAttributes"]["binary"]["binaryValue"] == "AP8B"


async def test_what_one_client_received_the_other_can_delete(url):
    async with pair_on(url) as (pair, queue):
        for api, other in (pair.both, pair.both[::-1]):
            await pair.client.send_message(QueueUrl=queue.url, MessageBody="a")
            (message,) = await receive_all(api, queue, 1, visibility_timeout=2)
            assert await other.change_visibility(queue, {message["ReceiptHandle"]: 30}) == []
            assert await other.delete(queue, [message["ReceiptHandle"]]) == []
            assert list(await api.receive(queue, most=10, wait=0, visibility_timeout=None)) == []


async def test_a_long_poll_ends_when_a_message_comes(url):
    async with pair_on(url) as (pair, queue):
        for api in pair.both:
            poll = asyncio.create_task(api.receive(queue, most=1, wait=10, visibility_timeout=30))
            await asyncio.sleep(0.05)
            # Another call is not held up by the poll.
            await api.change_visibility(queue, {"no-such-handle": 0})
            assert not poll.done()
            await pair.client.send_message(QueueUrl=queue.url, MessageBody="a")
            (message,) = await poll
            assert await api.delete(queue, [message["ReceiptHandle"]]) == []


def told(failures: list[EntryFailure]) -> list[tuple[str, Failure]]:
    return [(each.handle, each.failure) for each in failures]


async def test_failed_entries_are_equal(url):
    async with pair_on(url) as (pair, queue):
        for n in range(4):
            await pair.client.send_message(QueueUrl=queue.url, MessageBody=f"{n}")
        messages = await receive_all(pair.wire, queue, 4)
        handles = [message["ReceiptHandle"] for message in messages]
        changed = [
            await api.change_visibility(queue, {handles[0]: 60, "bogus": 60, handles[1]: 60}) for api in pair.both
        ]
        assert told(changed[0]) == told(changed[1])
        assert [each.handle for each in changed[0]] == ["bogus"]
        deleted = [
            await api.delete(queue, [*own, "bogus"])
            for api, own in zip(pair.both, (handles[:2], handles[2:]), strict=True)
        ]
        assert told(deleted[0]) == told(deleted[1])
        assert [each.handle for each in deleted[0]] == ["bogus"]


async def failure_of(call: Callable[[], Any]) -> tuple[Failure, int]:
    with pytest.raises(SourceError) as caught:
        await call()
    return caught.value.failure, caught.value.failure.status


async def test_errors_are_equal(url):
    async with pair_on(url) as (pair, queue):
        await pair.client.delete_queue(QueueUrl=queue.url)
        for call in (
            lambda api: api.receive(queue, most=10, wait=0, visibility_timeout=None),
            lambda api: api.delete(queue, ["a"]),
            lambda api: api.change_visibility(queue, {"a": 1}),
            lambda api: api.look_up(),
        ):
            wire, boto = [await failure_of(lambda api=api, call=call: call(api)) for api in pair.both]
            assert wire == boto
            assert wire[0].code == "AWS.SimpleQueueService.NonExistentQueue"


async def test_a_request_that_makes_no_sense_is_refused_alike(url):
    async with pair_on(url) as (pair, queue):
        wire, boto = [
            await failure_of(lambda api=api: api.receive(queue, most=99, wait=0, visibility_timeout=None))
            for api in pair.both
        ]
        assert (wire[0].kind, wire[0].code, wire[1]) == (boto[0].kind, boto[0].code, boto[1])


# --- streams


@pytest.fixture(
    params=["ministack-kinesis", "ministack-dynamodb", "kinesis_local-kinesis", "localstack_kinesis-kinesis"]
)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """A stream on every server that has any, made through botocore; the lean client is the one under test."""
    server, kind = request.param.split("-")
    async with server_backend(kind, request.getfixturevalue(server), client="wire") as backend:
        yield backend


def through_botocore(api: Any) -> StreamApi:
    """The same stream, through botocore."""
    by_botocore = BotoKinesis if isinstance(api, BotoKinesis) else BotoDynamoStreams
    plain: StreamApi = by_botocore(api._clients, stream_arn=api._arn, region=api._region)
    return plain


async def only_shard(api: StreamApi) -> str:
    (shard,) = await api.list_shards()
    return shard.id


async def read_until(api: StreamApi, shard: str, position: Seek, count: int) -> tuple[list[Any], Page]:
    """Records from a position on, at least `count`, and the last page."""
    records: list[Any] = []
    async with asyncio.timeout(30):
        iterator: str | None = await api.iterator(shard, position)
        while True:
            page = await api.read(iterator, 100)
            records += page.records
            iterator = page.next_iterator
            if len(records) >= count or iterator is None:
                return records, page
            await asyncio.sleep(0.02)


async def test_records_are_equal(backend):
    wire, boto = backend.api, through_botocore(backend.api)
    assert await wire.describe() == await boto.describe()
    assert await wire.list_shards() == await boto.list_shards()
    names = [f"r{n} \u2603" for n in range(5)]
    await backend.put(*names)
    shard = await only_shard(wire)
    records, page = await read_until(wire, shard, TRIM_HORIZON, 5)
    expected, expected_page = await read_until(boto, shard, TRIM_HORIZON, 5)
    assert records == expected
    assert (page.millis_behind, page.children) == (expected_page.millis_behind, expected_page.children)
    second = Seek.after(number_of(records[1]))
    assert (await read_until(wire, shard, second, 3))[0] == (await read_until(boto, shard, second, 3))[0] == records[2:]


async def test_an_iterator_of_one_client_is_good_for_the_other(backend):
    wire, boto = backend.api, through_botocore(backend.api)
    await backend.put("a", "b")
    shard = await only_shard(wire)
    await read_until(wire, shard, TRIM_HORIZON, 2)
    first = await boto.read(await wire.iterator(shard, TRIM_HORIZON), 1)
    rest = await wire.read(first.next_iterator, 100)
    assert len(first.records) == 1
    assert len(rest.records) == 1
    assert (await wire.read(await boto.iterator(shard, LATEST), 100)).records == []


async def test_errors_of_streams_are_equal(backend):
    apis = backend.api, through_botocore(backend.api)
    shard = await only_shard(backend.api)
    unknown = shard[:-1] + ("1" if shard[-1] != "1" else "2")
    missing = backend.missing()
    gone = missing, through_botocore(missing)
    for one, two, call in (
        (*apis, lambda api: api.iterator(unknown, TRIM_HORIZON)),
        (*apis, lambda api: api.iterator(shard, Seek.at("1"))),
        (*apis, lambda api: api.read("useless" * 10, 10)),
        (*gone, lambda api: api.iterator(shard, TRIM_HORIZON)),
        (*gone, lambda api: api.describe()),
    ):
        found = []
        for api in (one, two):
            try:
                await call(api)
                found.append(None)  # some servers take a number that they do not know
            except SourceError as error:
                found.append((error.failure, error.failure.status))
        assert found[0] == found[1]
