"""Which way calls go: where botocore would send them, what forbids the lean client, and when it is given up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from pathlib import Path
from typing import Any

import botocore
import pytest
from aiobotocore.config import AioConfig

from esmd.pollers.client_choice import ClientChoice, FallBack
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.pollers.streams import TRIM_HORIZON, Seek, Shard
from esmd.pollers.wire import Route
from esmd.pollers.wire_clients import WireClients
from esmd.pollers.wire_routes import Obstacle, route_of
from esmd.pollers.wire_sqs import WireSqs
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis
from esmd.testing.fake_sqs import FakeSqs
from esmd.testing.faults import Garbage

from support.scripted_server import ScriptedServer, answer
from support.stream_servers import SESSION

TLS = Path(__file__).parents[1] / "data" / "tls"
ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
TABLE_ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2020-01-01T00:00:00.000"
QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/q"
RECEIVE = ("receive_message", {"QueueUrl": QUEUE_URL})
READ = ("get_records", {"StreamARN": ARN, "ShardIterator": "i"})
READ_TABLE = ("get_records", {"ShardIterator": "i"})


@contextlib.asynccontextmanager
async def client_of(service: str, url: str | None = None, **config: Any):
    async with SESSION.create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=AioConfig(retries={"total_max_attempts": 1}, **config),
    ) as client:
        yield client


@contextlib.asynccontextmanager
async def lanes(url: str, setting: str = "auto"):
    """Clients of both kinds for `url`, and what was said."""
    said: list[FallBack] = []

    def connect(_service: str, region: str | None, _url: str | None = None) -> Connection:
        return Connection(endpoint_url=url, region=region, dummy_credentials=True)

    choice = ClientChoice(setting, say=said.append)
    async with (
        LocalStackClients(connect, profile=None, pool=20) as clients,
        WireClients(choice, plain=clients.plain, ca_bundle=clients.ca_bundle) as wires,
    ):
        yield clients, wires, said


# --- routes


@pytest.mark.parametrize(
    ("service", "url", "call", "route"),
    [
        ("sqs", None, RECEIVE, Route(url="https://sqs.eu-west-1.amazonaws.com/", region="eu-west-1", service="sqs")),
        (
            "kinesis",
            None,
            READ,
            Route(
                url="https://123456789012.data-kinesis.eu-west-1.amazonaws.com/", region="eu-west-1", service="kinesis"
            ),
        ),
        (
            "dynamodbstreams",
            None,
            READ_TABLE,
            Route(url="https://streams.dynamodb.eu-west-1.amazonaws.com/", region="eu-west-1", service="dynamodb"),
        ),
        ("sqs", "http://[::1]:4566", RECEIVE, Route(url="http://[::1]:4566/", region="eu-west-1", service="sqs")),
        ("kinesis", "http://h:1/base", READ, Route(url="http://h:1/base", region="eu-west-1", service="kinesis")),
    ],
)
async def test_a_call_goes_where_botocore_would_send_it(service, url, call, route):
    async with client_of(service, url) as client:
        operation, parameters = call
        for _ in range(2):
            assert await route_of(client, operation, **parameters) == route


async def test_a_client_that_does_not_sign_has_a_route_that_does_not():
    async with client_of("sqs", signature_version=botocore.UNSIGNED) as client:
        assert not (await route_of(client, "receive_message", QueueUrl=QUEUE_URL)).signed


async def test_only_the_call_that_asks_is_kept_back(fake_sqs: FakeSqs):
    async with client_of("sqs", fake_sqs.endpoint_url) as client:
        url = (await client.create_queue(QueueName="q"))["QueueUrl"]
        await asyncio.gather(
            route_of(client, "receive_message", QueueUrl=url),
            client.receive_message(QueueUrl=url),
            route_of(client, "receive_message", QueueUrl=url),
        )
        await client.receive_message(QueueUrl=url)
        assert fake_sqs.calls["ReceiveMessage"] == 2


async def test_another_signature_is_an_obstacle():
    async with client_of("sqs", signature_version="v4a") as client:
        with pytest.raises(Obstacle, match="v4a"):
            await route_of(client, "receive_message", QueueUrl=QUEUE_URL)


@pytest.mark.parametrize("url", ["http://user:pw@h:1", "http://h:1/?a=b"])
async def test_a_user_or_a_query_in_the_url_is_an_obstacle(url):
    async with client_of("sqs", url) as client:
        with pytest.raises(Obstacle, match="query or a user"):
            await route_of(client, "receive_message", QueueUrl=QUEUE_URL)


@pytest.mark.parametrize(
    ("environ", "url", "through"),
    [
        ({"HTTPS_PROXY": "http://proxy.test:3128"}, "https://aws.test", "proxy.test"),
        ({"https_proxy": "http://user:secret@proxy.test"}, "https://aws.test", "proxy.test"),
        ({"HTTP_PROXY": "proxy.test:3128"}, "http://aws.test:4566", "proxy.test"),
        ({"http_proxy": "http://proxy.test"}, "http://127.0.0.1:4566", "proxy.test"),
        # it is for the other scheme, or for others
        ({"HTTPS_PROXY": "http://proxy.test"}, "http://aws.test", None),
        ({"HTTP_PROXY": "http://proxy.test"}, "https://aws.test", None),
        ({"ALL_PROXY": "http://proxy.test"}, "https://aws.test", None),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "aws.test"}, "https://aws.test", None),
        ({"HTTPS_PROXY": "http://proxy.test", "no_proxy": ".test,localhost"}, "https://aws.test", None),
        ({"HTTP_PROXY": "http://proxy.test", "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:4566", None),
        ({"HTTP_PROXY": "http://proxy.test", "NO_PROXY": "*"}, "http://aws.test", None),
        ({"HTTP_PROXY": ""}, "http://aws.test", None),
    ],
)
async def test_a_proxy_of_the_environment_is_an_obstacle_where_botocore_would_use_it(
    monkeypatch, environ, url, through
):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with client_of("sqs", url) as client:
        used = client._endpoint.http_session._proxy_config.proxy_url_for(url)
        assert (used is not None) == (through is not None), "what botocore does"
        if through is None:
            await route_of(client, "receive_message", QueueUrl=QUEUE_URL)
            return
        with pytest.raises(Obstacle, match=f"through the proxy {through}$"):
            await route_of(client, "receive_message", QueueUrl=QUEUE_URL)


# --- the choice


async def lane_for(wires: WireClients, clients: LocalStackClients, service: str = "sqs"):
    client, _ = await clients.client(service, "eu-west-1")
    operation, parameters = RECEIVE if service == "sqs" else READ
    return await wires.lane(client, operation, **parameters)


@pytest.mark.parametrize(("setting", "is_wire"), [("botocore", False), ("wire", True), ("auto", True)])
async def test_a_plain_endpoint_goes_by_the_setting_and_nothing_is_said(setting, is_wire):
    async with lanes("http://127.0.0.1:1", setting) as (clients, wires, said):
        assert (await lane_for(wires, clients)).is_wire is is_wire
        assert said == []


async def test_an_obstacle_is_refused_with_its_reason_where_wire_is_demanded(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test")
    async with lanes("http://aws.test", "wire") as (clients, wires, said):
        for _ in range(2):
            with pytest.raises(
                SourceError, match=r"`client: wire` cannot be used for sqs at .*proxy proxy\.test"
            ) as caught:
                await lane_for(wires, clients)
            assert caught.value.failure.kind is Kind.RECONFIGURE
        assert said == []


async def test_an_obstacle_is_said_once_and_avoided_where_the_choice_is_ours(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test")
    async with lanes("http://aws.test") as (clients, wires, said):
        for _ in range(3):
            assert not (await lane_for(wires, clients)).is_wire
        (news,) = said
        assert (news.service, news.endpoint, news.cause) == ("sqs", "http://aws.test", "obstacle")
        assert "proxy.test" in news.reason


async def test_an_obstacle_does_not_matter_to_botocore(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test")
    async with lanes("http://aws.test", "botocore") as (clients, wires, said):
        assert not (await lane_for(wires, clients)).is_wire
        assert said == []


async def test_a_protocol_error_ends_the_lean_client_for_that_service_and_endpoint_alone():
    async with lanes("http://127.0.0.1:1") as (clients, wires, said):
        first, second, other = [await lane_for(wires, clients, each) for each in ("sqs", "sqs", "kinesis")]
        error = first._choice.protocol_error(first._place, "garbage")
        assert (error.failure.kind, error.failure.code) == (Kind.BACK_OFF, "ProtocolError")
        assert (first.is_wire, second.is_wire, other.is_wire) == (False, False, True)
        assert not (await lane_for(wires, clients)).is_wire
        first._choice.protocol_error(first._place, "more garbage")
        assert [(news.service, news.cause, news.reason) for news in said] == [("sqs", "protocol_error", "garbage")]


async def test_a_protocol_error_changes_nothing_where_wire_is_demanded():
    async with lanes("http://127.0.0.1:1", "wire") as (clients, wires, said):
        lane = await lane_for(wires, clients)
        assert lane._choice.protocol_error(lane._place, "garbage").failure.kind is Kind.BACK_OFF
        assert lane.is_wire
        assert said == []


async def test_mappings_of_one_endpoint_share_a_client():
    async with lanes("http://127.0.0.1:1") as (clients, wires, _):
        found = await asyncio.gather(*(lane_for(wires, clients) for _ in range(5)))
        assert len({id(lane._wire) for lane in found}) == 1
        assert (await lane_for(wires, clients, "kinesis"))._wire is not found[0]._wire


async def test_a_bundle_of_certificates_that_cannot_be_read_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    async with lanes("https://127.0.0.1:1") as (clients, wires, _):
        with pytest.raises(SourceError, match=r"SSLError: .*missing\.pem"):
            await lane_for(wires, clients)


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_both_lanes_trust_the_bundle_that_botocore_is_told(monkeypatch, name):
    monkeypatch.setenv(name, str(TLS / "certificate.pem"))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    body = b'{"Records":[],"NextShardIterator":"n","MillisBehindLatest":0}'
    async with ScriptedServer([answer(body)], tls=serving) as server:
        for setting in ("wire", "botocore"):
            async with lanes(server.url, setting) as (clients, wires, _):
                api = WireKinesis(clients, wires, stream_arn=ARN, region="eu-west-1")
                assert (await api.read("i", 1)).next_iterator == "n"


async def test_without_a_client_there_is_no_bundle_but_the_environments(monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    async with lanes("http://127.0.0.1:1") as (clients, _, __):
        assert clients.ca_bundle() is None


# --- queues


@contextlib.asynccontextmanager
async def queue_on(server: FakeSqs, setting: str = "auto"):
    server.engine.create_queue("q", {})
    async with lanes(server.endpoint_url, setting) as (clients, wires, said):
        api = WireSqs(clients, wires, region="us-east-1", account_id="000000000000", queue_name="q")
        yield api, await api.look_up(), said


async def receive(api: WireSqs, queue: Any):
    return await api.receive(queue, most=10, wait=0, visibility_timeout=None)


GARBAGE = [b"<html>", b"[]", b'{"Messages":{}}', b'{"Messages":"abc"}', b'{"Messages":5}', b'{"Messages":[']


@pytest.mark.parametrize("body", GARBAGE)
async def test_garbage_instead_of_messages_is_an_error_and_botocore_goes_on(fake_sqs: FakeSqs, body):
    async with queue_on(fake_sqs) as (api, queue, said):
        fake_sqs.engine.send(queue.url, "lost for a while")
        fake_sqs.faults.add("ReceiveMessage", Garbage(body))
        with pytest.raises(SourceError, match="ProtocolError"):
            await receive(api, queue)
        assert [news.cause for news in said] == ["protocol_error"]
        fake_sqs.engine.send(queue.url, "next")
        (message,) = await receive(api, queue)
        assert message["Body"] == "next"
        assert await api.change_visibility(queue, {message["ReceiptHandle"]: 60}) == []
        assert await api.delete(queue, [message["ReceiptHandle"]]) == []
        assert len(said) == 1


@pytest.mark.parametrize(
    "messages", ["[5]", "[{}]", '[{"MessageId":"m"}]', '[{"MessageId":"m","ReceiptHandle":""}]', "[[]]"]
)
async def test_messages_that_cannot_be_deleted_are_no_messages(fake_sqs: FakeSqs, messages):
    async with queue_on(fake_sqs) as (api, queue, said):
        fake_sqs.faults.add("ReceiveMessage", Garbage(f'{{"Messages":{messages}}}'.encode()))
        with pytest.raises(SourceError, match=r"ReceiptHandle|a message is no object"):
            await receive(api, queue)
        assert said == []


@pytest.mark.parametrize("body", [b"{}", b"", b'{"Messages":null}', b'{"Messages":[]}'])
async def test_no_messages_are_none(fake_sqs: FakeSqs, body):
    async with queue_on(fake_sqs) as (api, queue, said):
        fake_sqs.faults.add("ReceiveMessage", Garbage(body))
        assert list(await receive(api, queue)) == []
        assert said == []


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (b"{}", ["a", "b"]),
        (b'{"Successful":null,"Failed":null}', ["a", "b"]),
        (b'{"Successful":[{"Id":"0"}]}', ["b"]),
        (b'{"Successful":[{"Id":"0"},{"Id":"1"}]}', []),
        (b'{"Successful":[5,{"Id":[]},{"Id":"1"}],"Failed":["x"]}', ["a"]),
        (b'{"Successful":[{"Id":"0"},{"Id":"1"}],"Failed":[{"Id":"0","Code":"X"}]}', ["a"]),
    ],
)
async def test_an_entry_that_the_answer_does_not_mention_has_failed(fake_sqs: FakeSqs, body, failed):
    async with queue_on(fake_sqs, "wire") as (api, queue, _):
        for operation in ("DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
            fake_sqs.faults.add(operation, Garbage(body))
        for failures in (await api.delete(queue, ["a", "b"]), await api.change_visibility(queue, {"a": 0, "b": 0})):
            assert [each.handle for each in failures] == failed


async def test_an_answer_known_by_its_bytes_stands_for_as_many_entries_only(fake_sqs: FakeSqs):
    both, one = b'{"Successful":[{"Id":"0"},{"Id":"1"}]}', b'{"Successful":[{"Id":"0"}]}'
    seen = []
    async with queue_on(fake_sqs, "wire") as (api, queue, _):
        for body, handles in ((both, "ab"), (one, "a"), (both, "ab"), (one, "ab"), (both, "abc"), (both, "ab")):
            fake_sqs.faults.add("DeleteMessageBatch", Garbage(body))
            seen.append("".join(each.handle for each in await api.delete(queue, list(handles))))
    assert seen == ["", "", "", "b", "c", ""]


async def test_a_receive_asks_for_what_botocores_asks_for(fake_sqs: FakeSqs):
    for setting in ("wire", "botocore"):
        async with queue_on(fake_sqs, setting) as (api, queue, _):
            for visibility_timeout in (None, 7):
                fake_sqs.engine.send(queue.url, "so that nobody waits")
                await api.receive(queue, most=3, wait=1, visibility_timeout=visibility_timeout)
            await api.delete(queue, ["a"])
            await api.change_visibility(queue, {"a": 5})
    requests = [(name, each) for name, each in fake_sqs.requests if name != "GetQueueUrl" and "Attributes" not in name]
    wire, boto = requests[: len(requests) // 2], requests[len(requests) // 2 :]
    assert len(wire) == 4
    assert wire == boto


# --- streams


def api_of(kind: str, clients: Any, wires: Any):
    arn, make = (ARN, WireKinesis) if kind == "kinesis" else (TABLE_ARN, WireDynamoStreams)
    return make(clients, wires, stream_arn=arn, region="eu-west-1")


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"Records":{}}', b'{"Records":[],"ChildShards":"x"}'])
async def test_garbage_instead_of_records_is_an_error_and_botocore_goes_on(kind, body):
    good = answer(b'{"Records":[],"NextShardIterator":"n","MillisBehindLatest":0}')
    async with ScriptedServer([answer(body)], [good]) as server, lanes(server.url) as (clients, wires, said):
        api = api_of(kind, clients, wires)
        with pytest.raises(SourceError, match="ProtocolError") as caught:
            await api.read("i", 1)
        assert caught.value.failure.kind is Kind.BACK_OFF
        assert len(said) == 1
        assert (await api.read("i", 1)).next_iterator == "n"
        assert b"botocore" in server.requests[1]
        assert b"botocore" not in server.requests[0]


@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
async def test_requests_are_those_of_botocore(kind):
    bodies: dict[str, list[Any]] = {}
    for setting in ("wire", "botocore"):
        async with (
            ScriptedServer([answer(b'{"ShardIterator":"i","Records":[]}')]) as server,
            lanes(server.url, setting) as (clients, wires, _),
        ):
            api = api_of(kind, clients, wires)
            for position in (TRIM_HORIZON, Seek.at("17"), Seek.after("17"), Seek.at_time(1_700_000_000.98765)):
                await api.iterator("shard", position)
            await api.read('i\u00e9"', 17)
            bodies[setting] = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    assert bodies["wire"] == bodies["botocore"]
    assert len(bodies["wire"]) == 5


@pytest.mark.parametrize(
    "record",
    [
        b"5",
        b"{}",
        b'{"SequenceNumber":5}',
        b'{"SequenceNumber":""}',
        b'{"SequenceNumber":"-1"}',
        b'{"SequenceNumber":"\xc3\xa9"}',
        b'{"SequenceNumber":"\\ud800"}',
        b'"17"',
    ],
)
@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
async def test_records_without_a_number_are_an_error_that_passes(kind, record):
    inner = record if kind == "kinesis" else b'{"dynamodb":%b}' % record
    good = b'{"SequenceNumber":"17"}' if kind == "kinesis" else b'{"dynamodb":{"SequenceNumber":"17"}}'
    async with ScriptedServer([answer(b'{"Records":[%b,%b]}' % (good, inner))]) as server, lanes(server.url) as found:
        with pytest.raises(SourceError, match="sequence number"):
            await api_of(kind, found[0], found[1]).read("i", 2)


async def test_numbers_and_binaries_stay_as_they_came():
    image = b'{"n":{"N":"1.10"},"b":{"B":"AQL/"},"big":{"N":"12345678901234567890123456789012345678"}}'
    record = b'{"eventID":"e","dynamodb":{"SequenceNumber":"1","NewImage":%b,"SizeBytes":9,"ApproximateCreationDateTime":1.7e9}}'
    async with ScriptedServer([answer(b'{"Records":[%b]}' % (record % image))]) as server:
        pages = []
        for setting in ("wire", "botocore"):
            async with lanes(server.url, setting) as (clients, wires, _):
                pages.append(await api_of("dynamodb", clients, wires).read("i", 1))
    assert pages[0] == pages[1]
    (found,) = pages[0].records
    assert found["dynamodb"]["NewImage"]["n"] == {"N": "1.10"}
    assert found["dynamodb"]["NewImage"]["b"] == {"B": "AQL/"}


async def test_the_last_page_of_a_closed_shard_names_its_children():
    children = b'[{"ShardId":"c","ParentShards":["p"]},{"ShardId":"d"}]'
    body = b'{"Records":[],"NextShardIterator":null,"MillisBehindLatest":0,"ChildShards":%b}' % children
    async with ScriptedServer([answer(body)]) as server, lanes(server.url) as (clients, wires, _):
        page = await api_of("kinesis", clients, wires).read("i", 1)
    assert page.next_iterator is None
    assert page.children == (Shard("c", ("p",)), Shard("d"))
