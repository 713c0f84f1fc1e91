"""On-failure destinations against a real server: what is sent arrives, and what is missing is said to be."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from esmd.destinations.base import FailureMessage
from esmd.destinations.factory import make_destination
from esmd.mappings.destinations import parse_destination
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.localstack import Connection, LocalStackClients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from esmd.destinations.base import Destination

REGION = "us-east-1"
ACCOUNT = "000000000000"

RECORD = {
    "requestContext": {"requestId": "1", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 2},
    "version": "1.0",
    "KinesisBatchInfo": {"shardId": "shardId-000000000001", "batchSize": 500, "streamArn": "arn:ä<&>\"'"},
}
MESSAGE = FailureMessage(
    body=json.dumps(RECORD),
    s3_key="aws/lambda/6f1d/shardId-000000000001/2026/01/31/2026-01-31T23.59.58-0b8f",
    s3_body=json.dumps({**RECORD, "payload": json.dumps({"Records": [{"data": "é" * 300_000}]})}, ensure_ascii=False),
)


@pytest.fixture
async def clients(ministack: str) -> AsyncIterator[LocalStackClients]:
    def connect(service: str, region: str | None) -> Connection:
        return Connection(endpoint_url=ministack, region=region, dummy_credentials=True)

    async with LocalStackClients(connect, profile=None, pool=10) as clients:
        yield clients


async def client(clients: LocalStackClients, service: str) -> Any:
    made, _ = await clients.client(service, REGION)
    return made


def destination(clients: LocalStackClients, arn: str) -> Destination:
    return make_destination(parse_destination(arn), clients, region=REGION)


def new_name() -> str:
    return f"failed-{uuid.uuid4().hex[:12]}"


async def received(clients: LocalStackClients, queue_url: str) -> list[str]:
    sqs = await client(clients, "sqs")
    answer = await sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=5, MaxNumberOfMessages=10)
    return [message["Body"] for message in answer.get("Messages", [])]


async def make_queue(clients: LocalStackClients, name: str) -> tuple[str, str]:
    """Make a queue; return its URL and ARN."""
    sqs = await client(clients, "sqs")
    url = (await sqs.create_queue(QueueName=name))["QueueUrl"]
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


async def test_a_queue_gets_the_record_unchanged(clients: LocalStackClients):
    url, arn = await make_queue(clients, new_name())
    target = destination(clients, arn)
    await target.check()
    await target.send(MESSAGE)
    assert await received(clients, url) == [MESSAGE.body]


async def test_a_topic_hands_the_record_on_inside_its_envelope(clients: LocalStackClients):
    sns = await client(clients, "sns")
    topic = (await sns.create_topic(Name=new_name()))["TopicArn"]
    url, queue = await make_queue(clients, new_name())
    await sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    target = destination(clients, topic)
    await target.check()
    await target.send(MESSAGE)
    (body,) = await received(clients, url)
    envelope = json.loads(body)
    assert envelope["Type"] == "Notification"
    assert envelope["TopicArn"] == topic
    assert envelope["Message"] == MESSAGE.body


async def test_a_bucket_gets_the_record_with_its_payload_under_its_key(clients: LocalStackClients):
    s3 = await client(clients, "s3")
    bucket = new_name()
    await s3.create_bucket(Bucket=bucket)
    target = destination(clients, f"arn:aws:s3:::{bucket}")
    await target.check()
    await target.send(MESSAGE)
    answer = await s3.get_object(Bucket=bucket, Key=MESSAGE.s3_key)
    async with answer["Body"] as body:
        assert (await body.read()).decode() == MESSAGE.s3_body
    assert answer["ContentType"] == "application/json"


async def test_many_records_at_once_all_arrive(clients: LocalStackClients):
    url, arn = await make_queue(clients, new_name())
    target = destination(clients, arn)
    bodies = {f'{{"n":{n}}}' for n in range(10)}
    async with asyncio.TaskGroup() as tasks:
        for body in bodies:
            tasks.create_task(target.send(FailureMessage(body=body, s3_key="k", s3_body="{}")))
    arrived: set[str] = set()
    while len(arrived) < len(bodies):
        more = await received(clients, url)
        assert more, "nothing arrives any more"
        arrived |= set(more)
    assert arrived == bodies


@pytest.mark.parametrize(
    ("arn", "missing"),
    [
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}:nowhere", "the queue does not exist"),
        (f"arn:aws:sns:{REGION}:{ACCOUNT}:nowhere", "the topic does not exist"),
        ("arn:aws:s3:::nowhere", "the bucket does not exist"),
    ],
    ids=["sqs", "sns", "s3"],
)
@pytest.mark.parametrize("what", ["check", "send"])
async def test_a_missing_target_asks_for_somebody_to_make_it(
    clients: LocalStackClients, arn: str, missing: str, what: str
):
    target = destination(clients, arn)
    with pytest.raises(SourceError, match=f"on-failure destination {arn}: {missing}") as caught:
        await (target.check() if what == "check" else target.send(MESSAGE))
    assert caught.value.failure.kind is Kind.RECONFIGURE


async def test_a_queue_that_is_made_again_gets_records_again(clients: LocalStackClients):
    sqs = await client(clients, "sqs")
    name = new_name()
    url, arn = await make_queue(clients, name)
    target = destination(clients, arn)
    await target.send(MESSAGE)
    await sqs.delete_queue(QueueUrl=url)
    with pytest.raises(SourceError, match="does not exist"):
        await target.send(MESSAGE)
    url, _ = await make_queue(clients, name)
    await target.send(MESSAGE)
    assert await received(clients, url) == [MESSAGE.body]


@pytest.mark.parametrize("service", ["sqs", "sns"])
def test_a_fifo_target_is_refused_before_anything_is_called(service: str):
    with pytest.raises(ValueError, match=r"a FIFO (queue|topic) cannot be an on-failure destination"):
        parse_destination(f"arn:aws:{service}:{REGION}:{ACCOUNT}:failed.fifo")


async def test_a_server_that_is_gone_is_worth_another_try(unused_tcp_port: int):
    def connect(service: str, region: str | None) -> Connection:
        url = f"http://127.0.0.1:{unused_tcp_port}"
        return Connection(endpoint_url=url, region=region, dummy_credentials=True)

    async with LocalStackClients(connect, profile=None, pool=1) as clients:
        for arn in (f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "arn:aws:s3:::bucket"):
            target = destination(clients, arn)
            for call in (target.check, lambda target=target: target.send(MESSAGE)):
                with pytest.raises(SourceError) as caught:
                    await call()
                assert caught.value.failure.kind is Kind.BACK_OFF
