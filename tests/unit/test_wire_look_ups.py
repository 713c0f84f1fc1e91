"""Queues and streams are looked up without botocore as with it: the same requests, the same results, the same errors."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from esmd.pollers import localstack
from esmd.pollers.client_choice import ClientChoice, FallBack
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.pollers.streams import TRIM_HORIZON
from esmd.pollers.wire_clients import WireClients
from esmd.pollers.wire_sqs import WireSqs
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis
from esmd.testing.faults import Drop, Garbage, Refuse, Truncated

from support.scripted_server import ScriptedServer, answer
from support.stream_servers import SESSION, raw_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from esmd.pollers.client_choice import Setting
    from esmd.pollers.sqs import Queue
    from esmd.testing.fake_sqs import FakeSqs

SETTINGS: tuple[Setting, ...] = ("wire", "botocore")
ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
TABLE_ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2020-01-01T00:00:00.000"


@contextlib.asynccontextmanager
async def wires_on(
    url: str, setting: Setting = "auto"
) -> AsyncIterator[tuple[LocalStackClients, WireClients, list[FallBack]]]:
    said: list[FallBack] = []

    def connect(_service: str, region: str | None, _url: str | None = None) -> Connection:
        return Connection(endpoint_url=url, region=region, dummy_credentials=True)

    async with (
        LocalStackClients(connect, profile=None, pool=20) as clients,
        WireClients(ClientChoice(setting, say=said.append), plain=clients.plain, ca_bundle=clients.ca_bundle) as wires,
    ):
        clients._session, clients._raw_session = SESSION, raw_session()
        yield clients, wires, said


def sqs(clients: LocalStackClients, wires: WireClients, name: str = "q") -> WireSqs:
    return WireSqs(clients, wires, region="us-east-1", account_id="000000000000", queue_name=name)


def stream(kind: str, clients: LocalStackClients, wires: WireClients) -> WireKinesis | WireDynamoStreams:
    if kind == "kinesis":
        return WireKinesis(clients, wires, stream_arn=ARN, region="eu-west-1")
    arn = TABLE_ARN if kind == "dynamodb" else TABLE_ARN.rpartition("/")[0] + "/latest"
    return WireDynamoStreams(clients, wires, stream_arn=arn, region="eu-west-1")


@pytest.fixture
def without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a client of botocore's fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("botocore is not needed here")

    monkeypatch.setattr(localstack.LocalStackClients, "_make", refuse)


# --- queues


@pytest.mark.usefixtures("without_botocore")
async def test_a_queue_is_found_read_counted_and_received_from(fake_sqs: FakeSqs) -> None:
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": "4"}
    fake_sqs.engine.create_queue("dead", {})
    url = fake_sqs.engine.create_queue("q", {"VisibilityTimeout": "45", "RedrivePolicy": json.dumps(policy)})
    fake_sqs.engine.send(url, "a")
    async with wires_on(fake_sqs.endpoint_url) as (clients, wires, said):
        api = sqs(clients, wires)
        queue = await api.look_up()
        assert (queue.visibility_timeout, queue.max_receive_count) == (45, 4)
        assert queue.dead_letter_arn == policy["deadLetterTargetArn"]
        assert (await api.depth(queue)).visible == 1
        (message,) = await api.receive(queue, most=10, wait=0, visibility_timeout=None)
        assert await api.delete(queue, [message["ReceiptHandle"]]) == []
        assert said == []


async def test_look_ups_ask_for_what_botocores_ask_for(fake_sqs: FakeSqs) -> None:
    fake_sqs.engine.create_queue("q", {})
    requests: list[list[Any]] = []
    for setting in SETTINGS:
        before = len(fake_sqs.requests)
        async with wires_on(fake_sqs.endpoint_url, setting) as (clients, wires, _):
            api = sqs(clients, wires)
            await api.depth(await api.look_up())
        requests.append(list(fake_sqs.requests)[before:])
    assert requests[0] == requests[1]
    assert [name for name, _ in requests[0]] == ["GetQueueUrl", "GetQueueAttributes", "GetQueueAttributes"]


async def outcome(fake: FakeSqs, setting: Setting, fault: Any, action: str, name: str = "q") -> Any:
    """What a look-up and a count end with."""
    async with wires_on(fake.endpoint_url, setting) as (clients, wires, _):
        api = sqs(clients, wires, name)
        queue: Queue | None = None
        try:
            if action == "depth":
                queue = await api.look_up()
                fake.faults.add("GetQueueAttributes", fault)
                return await api.depth(queue)
            if fault is not None:
                fake.faults.add(action, fault, times=1)
            return await api.look_up()
        except SourceError as error:
            failure: Failure = error.failure
            return failure, failure.status


@pytest.mark.thorough
@pytest.mark.parametrize("action", ["GetQueueUrl", "GetQueueAttributes", "depth"])
@pytest.mark.parametrize(
    "fault",
    [
        Refuse(400, "QueueDoesNotExist", "gone"),
        Refuse(400, "AWS.SimpleQueueService.NonExistentQueue", "gone"),
        Refuse(403, "AccessDenied", "no"),
        Refuse(403, "InvalidClientTokenId", "who?"),
        Refuse(400, "ExpiredToken", "old"),
        Refuse(400, "ThrottlingException", "slower"),
        Refuse(500, "InternalFailure", "oh"),
        Refuse(503, "ServiceUnavailable", "later"),
        Garbage(b"{}"),
        Garbage(b'{"QueueUrl":5,"Attributes":{"VisibilityTimeout":"x"}}'),
        Garbage(b'{"QueueUrl":"","Attributes":{"VisibilityTimeout":"soon"}}'),
        Garbage(b'{"QueueUrl":"http://[","Attributes":{"VisibilityTimeout":"7","RedrivePolicy":"{"}}'),
        Garbage(b'{"QueueUrl":"http://h/0/q","Attributes":{"VisibilityTimeout":7}}'),
        Garbage(b'{"QueueUrl":"http://h/0/q","Attributes":{"RedrivePolicy":null}}'),
    ],
    ids=str,
)
async def test_a_look_up_ends_as_by_botocore(fake_sqs: FakeSqs, action: str, fault: Any) -> None:
    fake_sqs.engine.create_queue("q", {})
    wire, boto = [await outcome(fake_sqs, setting, fault, action) for setting in SETTINGS]
    assert wire == boto


async def test_attributes_that_are_none_are_an_error_that_passes_on_both_lanes(fake_sqs: FakeSqs) -> None:
    fake_sqs.engine.create_queue("q", {})
    for action in ("GetQueueAttributes", "depth"):
        fault = Garbage(b'{"Attributes":5}')
        wire, boto = [await outcome(fake_sqs, setting, fault, action) for setting in SETTINGS]
        assert wire[0].kind is boto[0].kind is Kind.BACK_OFF


async def test_a_queue_that_is_not_there_has_awss_text(fake_sqs: FakeSqs) -> None:
    wire, boto = [await outcome(fake_sqs, setting, None, "GetQueueUrl", "missing") for setting in SETTINGS]
    assert wire == boto
    assert wire[0].kind is Kind.RECONFIGURE
    assert wire[0].message.endswith("The specified queue does not exist.")


async def test_where_nobody_listens_the_error_has_botocores_name_and_the_endpoint() -> None:
    found = []
    for setting in SETTINGS:
        async with wires_on("http://127.0.0.1:1", setting) as (clients, wires, _):
            with pytest.raises(SourceError, match=re.escape("http://127.0.0.1:1")) as caught:
                await sqs(clients, wires).look_up()
            found.append((caught.value.failure.kind, caught.value.failure.code))
    assert found == [(Kind.BACK_OFF, "EndpointConnectionError")] * 2


@pytest.mark.parametrize("fault", [Garbage(b"<html>"), Garbage(b"[]"), Truncated()], ids=str)
@pytest.mark.parametrize("action", ["GetQueueUrl", "GetQueueAttributes"])
async def test_after_an_answer_that_is_none_botocore_finds_the_queue(
    fake_sqs: FakeSqs, action: str, fault: Any
) -> None:
    fake_sqs.engine.create_queue("q", {})
    fake_sqs.faults.add(action, fault)
    async with wires_on(fake_sqs.endpoint_url) as (clients, wires, said):
        api = sqs(clients, wires)
        with pytest.raises(SourceError, match="ProtocolError") as caught:
            await api.look_up()
        assert caught.value.failure.kind is Kind.BACK_OFF
        assert [news.cause for news in said] == ["protocol_error"]
        queue = await api.look_up()
        fake_sqs.engine.send(queue.url, "a")
        (message,) = await api.receive(queue, most=1, wait=0, visibility_timeout=None)
        assert message["Body"] == "a"
        assert len(said) == 1


async def test_a_look_up_goes_out_again_when_an_old_connection_has_ended(fake_sqs: FakeSqs) -> None:
    fake_sqs.engine.create_queue("q", {})
    async with wires_on(fake_sqs.endpoint_url) as (clients, wires, _):
        api = sqs(clients, wires)
        await api.look_up()
        fake_sqs.faults.add("GetQueueUrl", Drop())
        assert (await api.look_up()).url.startswith(fake_sqs.endpoint_url)


# --- streams


DESCRIPTION = (
    b'{"StreamARN":"a","StreamArn":"a","StreamStatus":"ACTIVE","RetentionPeriodHours":24,'
    b'"StreamCreationTimestamp":1.7E9,"CreationRequestDateTime":1700000000.1239,"LatestStreamArn":"arn/latest",'
    b'"Shards":[{"ShardId":"s","ParentShardId":null,"SequenceNumberRange":{"StartingSequenceNumber":"1"}}]}'
)
ALL = b'{"StreamDescriptionSummary":%b,"StreamDescription":%b,"Table":%b,"Shards":[{"ShardId":"s"}],"NextToken":null}'
GOOD = ALL % (DESCRIPTION, DESCRIPTION, DESCRIPTION)
KINDS = ["kinesis", "dynamodb", "latest"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("without_botocore")
async def test_a_stream_is_described_listed_and_sought_without_botocore(kind: str) -> None:
    body = GOOD[:-1] + b',"ShardIterator":"i"}'
    async with ScriptedServer([answer(body)]) as server, wires_on(server.url) as (clients, wires, said):
        api = stream(kind, clients, wires)
        assert (await api.describe()).arn == "a"
        assert [shard.id for shard in await api.list_shards()] == ["s"]
        assert await api.iterator("s", TRIM_HORIZON) == "i"
        assert said == []


async def streams_outcome(kind: str, setting: Setting, reply: bytes) -> tuple[list[Any], list[Any]]:
    """What describing and listing end with, and what was asked."""
    found: list[Any] = []
    async with ScriptedServer([reply]) as server, wires_on(server.url, setting) as (clients, wires, _):
        api = stream(kind, clients, wires)
        for call in (api.describe, api.list_shards):
            try:
                found.append(await call())
            except SourceError as error:
                found.append((error.failure, error.failure.status))
        requests = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    return found, requests


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "reply",
    [
        answer(GOOD),
        answer(ALL % (b"{}", b"{}", b"{}")),
        answer(ALL % (b"null", b"null", b"null")),
        answer(GOOD.replace(b'"ACTIVE"', b"null").replace(b"24", b"null")),
        answer(GOOD.replace(b'[{"ShardId":"s"', b'[{"ShardId":null')),
        answer(GOOD.replace(b'"ShardId":"s"', b'"ShardId":""')),
        answer(b'{"__type":"ResourceNotFoundException","message":"no"}', status="400 Bad Request"),
        answer(b'{"__type":"com.amazonaws#AccessDeniedException","Message":"no"}', status="400 Bad Request"),
        answer(b'{"__type":"LimitExceededException","message":"slower"}', status="400 Bad Request"),
        answer(b'{"__type":"InternalFailure"}', status="500 Internal Server Error"),
        answer(b"<html>", status="503 Service Unavailable"),
    ],
)
async def test_describing_and_listing_end_as_by_botocore(kind: str, reply: bytes) -> None:
    wire, boto = [await streams_outcome(kind, setting, reply) for setting in SETTINGS]
    assert wire == boto


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", [b"5", b"[5]", b'["x"]', b"{}"])
async def test_a_listing_of_something_else_is_an_error_that_passes(kind: str, shards: bytes) -> None:
    body = b'{"Shards":%b,"StreamDescription":{"Shards":%b}}' % (shards, shards)
    (_, (failure, _)), _ = await streams_outcome(kind, "wire", answer(body))
    assert (failure.kind, failure.code) == (Kind.BACK_OFF, "MalformedAnswer")


@pytest.mark.parametrize("kind", KINDS)
async def test_after_an_answer_that_is_none_botocore_describes_the_stream(kind: str) -> None:
    async with ScriptedServer([answer(b"<html>")], [answer(GOOD)]) as server, wires_on(server.url) as (c, wires, said):
        api = stream(kind, c, wires)
        with pytest.raises(SourceError, match="ProtocolError"):
            await api.describe()
        assert (await api.describe()).arn == "a"
        assert len(said) == 1
