"""The fake SQS, MiniStack and LocalStack answer alike wherever the daemon depends on the answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from support.servers import Queue, make_queue, sqs_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from types_aiobotocore_sqs import SQSClient

    from esmd.testing.fake_sqs import FakeSqs


@pytest.fixture(
    params=[
        "fake",
        pytest.param("ministack", marks=pytest.mark.server),
        pytest.param("localstack", marks=pytest.mark.server),
    ]
)
def endpoint_url(request: pytest.FixtureRequest) -> str:
    if request.param == "fake":
        server: FakeSqs = request.getfixturevalue("fake_sqs")
        return server.endpoint_url
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def client(endpoint_url: str) -> AsyncIterator[SQSClient]:
    async with sqs_client(endpoint_url) as client:
        yield client


async def receive(client: SQSClient, queue: Queue, *, limit: int = 10, **options: Any) -> list[dict[str, Any]]:
    """Receive with all attributes; waits for up to 5 s unless told otherwise."""
    request = {"WaitTimeSeconds": 5, "MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
    answer = await client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=limit, **request | options)
    return answer.get("Messages", [])


async def counts(client: SQSClient, queue: Queue) -> tuple[int, int, int]:
    """Return how many messages are visible, in flight and delayed."""
    answer = await client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
    suffixes = ("", "NotVisible", "Delayed")
    return tuple(int(answer["Attributes"][f"ApproximateNumberOfMessages{suffix}"]) for suffix in suffixes)


async def send_all(client: SQSClient, queue: Queue, bodies: list[str], **common: str) -> None:
    for body in bodies:
        await client.send_message(QueueUrl=queue.url, MessageBody=body, **common)


async def test_a_message_arrives_as_it_was_sent(client: SQSClient):
    queue = await make_queue(client)
    body = '{"text": "café \U0001f600 \\u0041", "n": 1.10}'
    sent = await client.send_message(QueueUrl=queue.url, MessageBody=body)
    (message,) = await receive(client, queue)
    assert message["Body"] == body
    assert message["MessageId"] == sent["MessageId"]
    assert (
        message["MD5OfBody"]
        == sent["MD5OfMessageBody"]
        == hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    )
    assert message["ReceiptHandle"]
    assert "MessageAttributes" not in message
    assert "MD5OfMessageAttributes" not in message


async def test_system_attributes_are_text(client: SQSClient):
    queue = await make_queue(client)
    await client.send_message(QueueUrl=queue.url, MessageBody="x")
    (message,) = await receive(client, queue)
    attributes = message["Attributes"]
    assert attributes["ApproximateReceiveCount"] == "1"
    assert int(attributes["SentTimestamp"]) <= int(attributes["ApproximateFirstReceiveTimestamp"])
    assert len(attributes["SentTimestamp"]) == len("1545082649183")
    assert attributes["SenderId"]


async def test_message_attributes_and_their_digest(client: SQSClient):
    queue = await make_queue(client)
    attributes = {
        "Author": {"DataType": "String", "StringValue": "Zoë"},
        "Blob": {"DataType": "Binary.raw", "BinaryValue": b"\x00\x01\xff"},
        "Count": {"DataType": "Number.int", "StringValue": "42"},
    }
    sent = await client.send_message(QueueUrl=queue.url, MessageBody="x", MessageAttributes=attributes)
    (message,) = await receive(client, queue)
    assert message["MessageAttributes"] == attributes
    # Worked out by hand from the rule in SQS's developer guide.
    digest = hashlib.md5(usedforsecurity=False)
    for name, kind, transport, value in (
        (b"Author", b"String", b"\x01", "Zoë".encode()),
        (b"Blob", b"Binary.raw", b"\x02", b"\x00\x01\xff"),
        (b"Count", b"Number.int", b"\x01", b"42"),
    ):
        for part in (name, kind):
            digest.update(len(part).to_bytes(4, "big") + part)
        digest.update(transport + len(value).to_bytes(4, "big") + value)
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"] == digest.hexdigest()


async def test_only_the_named_message_attributes_come(client: SQSClient):
    queue = await make_queue(client)
    attributes = {name: {"DataType": "String", "StringValue": name} for name in ("a.x", "a.y", "b")}
    await client.send_message(QueueUrl=queue.url, MessageBody="x", MessageAttributes=attributes)
    (message,) = await receive(client, queue, MessageAttributeNames=["a.*"], MessageSystemAttributeNames=[])
    assert set(message["MessageAttributes"]) == {"a.x", "a.y"}
    assert "Attributes" not in message


async def test_a_batch_is_received_and_deleted(client: SQSClient):
    queue = await make_queue(client)
    entries = [{"Id": f"e{n}", "MessageBody": f"body {n}"} for n in range(10)]
    sent = await client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == [entry["Id"] for entry in entries]
    messages: list[dict[str, Any]] = []
    while len(messages) < 10:
        messages += await receive(client, queue)
    assert {message["Body"] for message in messages} == {entry["MessageBody"] for entry in entries}
    assert await counts(client, queue) == (0, 10, 0)
    deletes = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
    answer = await client.delete_message_batch(QueueUrl=queue.url, Entries=deletes)
    assert len(answer["Successful"]) == 10
    assert not answer.get("Failed")
    assert await counts(client, queue) == (0, 0, 0)


async def test_a_message_comes_again_after_its_visibility_timeout(client: SQSClient):
    queue = await make_queue(client, VisibilityTimeout=1)
    await client.send_message(QueueUrl=queue.url, MessageBody="x")
    (first,) = await receive(client, queue)
    assert await receive(client, queue, WaitTimeSeconds=0) == []
    (second,) = await receive(client, queue)
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    name = "ApproximateFirstReceiveTimestamp"
    assert second["Attributes"][name] == first["Attributes"][name]


async def test_the_receive_can_set_the_visibility(client: SQSClient):
    queue = await make_queue(client, VisibilityTimeout=600)
    await client.send_message(QueueUrl=queue.url, MessageBody="x")
    assert len(await receive(client, queue, VisibilityTimeout=1)) == 1
    assert len(await receive(client, queue)) == 1


async def test_visibility_zero_gives_a_message_back(client: SQSClient):
    queue = await make_queue(client, VisibilityTimeout=600)
    await client.send_message(QueueUrl=queue.url, MessageBody="x")
    (message,) = await receive(client, queue)
    entries = [{"Id": "0", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}]
    answer = await client.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["0"]
    (again,) = await receive(client, queue)
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


async def test_a_newest_handle_deletes_though_its_time_has_run_out(client: SQSClient):
    queue = await make_queue(client, VisibilityTimeout=600)
    await client.send_message(QueueUrl=queue.url, MessageBody="x")
    (message,) = await receive(client, queue)
    handle = message["ReceiptHandle"]
    await client.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=handle, VisibilityTimeout=0)
    await client.delete_message(QueueUrl=queue.url, ReceiptHandle=handle)
    assert await counts(client, queue) == (0, 0, 0)


async def test_a_delay_holds_a_message_back(client: SQSClient):
    queue = await make_queue(client)
    await client.send_message(QueueUrl=queue.url, MessageBody="x", DelaySeconds=1)
    assert await counts(client, queue) == (0, 0, 1)
    assert len(await receive(client, queue)) == 1


async def test_a_long_poll_is_woken_by_a_send(client: SQSClient):
    queue = await make_queue(client)
    poll = asyncio.create_task(receive(client, queue, WaitTimeSeconds=20))
    await client.send_message(QueueUrl=queue.url, MessageBody="x")
    async with asyncio.timeout(10):
        assert [message["Body"] for message in await poll] == ["x"]


async def test_redrive_after_max_receive_count(client: SQSClient):
    dead_letters = await make_queue(client, "dead")
    queue = await make_queue(client, dead_letters=dead_letters, max_receives=2, VisibilityTimeout=0)
    sent = await client.send_message(QueueUrl=queue.url, MessageBody="x")
    for count in ("1", "2"):
        (message,) = await receive(client, queue)
        assert message["Attributes"]["ApproximateReceiveCount"] == count
    assert await receive(client, queue, WaitTimeSeconds=0) == []
    (dead,) = await receive(client, dead_letters)
    assert dead["MessageId"] == sent["MessageId"]
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == queue.arn
    assert dead["Attributes"]["ApproximateReceiveCount"] == "3"


async def test_a_fifo_group_is_locked_while_a_message_is_in_flight(client: SQSClient):
    queue = await make_queue(client, fifo=True, ContentBasedDeduplication="true", VisibilityTimeout=600)
    await send_all(client, queue, ["a1", "a2", "a3"], MessageGroupId="a")
    await send_all(client, queue, ["b1"], MessageGroupId="b")
    (first,) = await receive(client, queue, limit=1)
    assert first["Body"] == "a1"
    assert [message["Body"] for message in await receive(client, queue)] == ["b1"]
    assert await receive(client, queue, WaitTimeSeconds=0) == []
    await client.delete_message(QueueUrl=queue.url, ReceiptHandle=first["ReceiptHandle"])
    assert [message["Body"] for message in await receive(client, queue)] == ["a2", "a3"]


async def test_a_released_fifo_message_comes_before_its_successors(client: SQSClient):
    queue = await make_queue(client, fifo=True, ContentBasedDeduplication="true", VisibilityTimeout=600)
    await send_all(client, queue, ["1", "2", "3"], MessageGroupId="g")
    messages = await receive(client, queue, limit=2)
    for message in reversed(messages):
        await client.change_message_visibility(
            QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
    again = await receive(client, queue)
    assert [message["Body"] for message in again] == ["1", "2", "3"]
    assert [message["Attributes"]["ApproximateReceiveCount"] for message in again] == ["2", "2", "1"]


async def test_fifo_attributes_and_deduplication(client: SQSClient):
    queue = await make_queue(client, fifo=True)
    send = {"QueueUrl": queue.url, "MessageGroupId": "g"}
    first = await client.send_message(MessageBody="one", MessageDeduplicationId="d1", **send)
    repeated = await client.send_message(MessageBody="two", MessageDeduplicationId="d1", **send)
    other = await client.send_message(MessageBody="three", MessageDeduplicationId="d2", **send)
    assert repeated["MessageId"] == first["MessageId"]
    assert int(first["SequenceNumber"]) < int(other["SequenceNumber"])
    messages = await receive(client, queue)
    assert [message["Body"] for message in messages] == ["one", "three"]
    attributes = messages[0]["Attributes"]
    assert attributes["MessageGroupId"] == "g"
    assert attributes["MessageDeduplicationId"] == "d1"
    assert attributes["SequenceNumber"] == first["SequenceNumber"]


async def test_a_missing_queue_is_named_as_old_clients_know_it(client: SQSClient):
    queue = await make_queue(client)
    url = queue.url + "-missing"
    for call in (
        client.receive_message(QueueUrl=url),
        client.get_queue_url(QueueName="missing"),
        client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]),
        client.delete_message_batch(QueueUrl=url, Entries=[{"Id": "0", "ReceiptHandle": "x"}]),
    ):
        with pytest.raises(ClientError) as caught:
            await call
        assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


async def test_one_bad_entry_leaves_the_rest_of_a_batch_alone(client: SQSClient):
    queue = await make_queue(client)
    await client.send_message(QueueUrl=queue.url, MessageBody="x")
    (message,) = await receive(client, queue)
    entries = [
        {"Id": "bad", "ReceiptHandle": "no-such-handle"},
        {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
    ]
    answer = await client.delete_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]
    # SenderFault is not compared: LocalStack says False to every failure, AWS documents True for this one.


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            [{"Id": str(n), "ReceiptHandle": "x"} for n in range(11)],
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ([{"Id": "0", "ReceiptHandle": "x"}] * 2, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
    ],
    ids=["empty", "eleven", "repeated"],
)
async def test_a_batch_refused_as_a_whole(client: SQSClient, entries: list[dict[str, str]], code: str):
    queue = await make_queue(client)
    with pytest.raises(ClientError) as caught:
        await client.delete_message_batch(QueueUrl=queue.url, Entries=entries)
    assert caught.value.response["Error"]["Code"] == code


async def test_queue_attributes_are_told_and_changed(client: SQSClient):
    dead_letters = await make_queue(client, "dead")
    queue = await make_queue(client, dead_letters=dead_letters, max_receives=3, VisibilityTimeout=7)
    await client.set_queue_attributes(QueueUrl=queue.url, Attributes={"ReceiveMessageWaitTimeSeconds": "2"})
    answer = await client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
    attributes = answer["Attributes"]
    assert attributes["VisibilityTimeout"] == "7"
    assert attributes["ReceiveMessageWaitTimeSeconds"] == "2"
    policy = json.loads(attributes["RedrivePolicy"])
    assert policy["deadLetterTargetArn"] == dead_letters.arn
    assert int(policy["maxReceiveCount"]) == 3
    assert (await client.get_queue_url(QueueName=queue.name))["QueueUrl"].endswith(f"/{queue.name}")
    assert (await client.list_queues(QueueNamePrefix=queue.name))["QueueUrls"] == [queue.url]


async def test_purge_empties_a_queue(client: SQSClient):
    queue = await make_queue(client)
    await send_all(client, queue, ["a", "b"])
    await client.purge_queue(QueueUrl=queue.url)
    assert await counts(client, queue) == (0, 0, 0)
