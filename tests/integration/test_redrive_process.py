"""`esmd replay --dlq`: dead letters go back to their queue as they were, or to a function, and only then leave."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from support.replays import Shop
from support.servers import Queue
from support.stream_world import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Shop:
    shop = Shop(tmp_path, world)
    shop.configure("arn:aws:kinesis:us-east-1:000000000000:stream/unused", enabled=False)
    shop.write_settings()
    return shop


def make_queue(world: World, prefix: str, *, dead_letters: Queue | None = None, fifo: bool = False) -> Queue:
    attributes: dict[str, str] = {"FifoQueue": "true"} if fifo else {}
    if dead_letters is not None:
        policy = {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": "1"}
        attributes["RedrivePolicy"] = json.dumps(policy)
    name = f"{prefix}-{uuid.uuid4().hex[:12]}{'.fifo' if fifo else ''}"
    sqs = world.client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return Queue(name, url, arn)


def received(world: World, queue: Queue) -> list[dict[str, Any]]:
    """Everything in a queue, taken out."""
    sqs = world.client("sqs")
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
    ).get("Messages"):
        found += messages
        for message in messages:
            sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_letters_go_back_to_the_queue_that_names_theirs_with_body_and_attributes(world: World, shop: Shop):
    dead = make_queue(world, "dead")
    queue = make_queue(world, "orders", dead_letters=dead)
    attributes = {
        "text": {"DataType": "String.kind", "StringValue": "größe"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "number": {"DataType": "Number", "StringValue": "1.10"},
    }
    sqs = world.client("sqs")
    sqs.send_message(QueueUrl=dead.url, MessageBody='{"n": 1}', MessageAttributes=attributes)
    sqs.send_message(QueueUrl=dead.url, MessageBody="no JSON")
    dry = shop.esmd("replay", "--dlq", dead.name, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.endswith("esmd replay: 2 planned, 0 failed, 0 expired, 0 kept\n")
    assert received(world, queue) == []
    picked = shop.esmd("replay", "--dlq", dead.name, "--filter", '{"body": {"n": [1]}}')
    assert picked.stdout.endswith("esmd replay: 1 replayed, 0 failed, 0 expired, 1 kept\n"), picked.stderr
    [message] = received(world, queue)
    assert (message["Body"], message["MessageAttributes"]) == ('{"n": 1}', attributes)
    assert shop.left(dead) == ["no JSON"]
    assert shop.esmd("replay", "--dlq", dead.arn).returncode == 0
    assert [message["Body"] for message in received(world, queue)] == ["no JSON"]
    assert shop.left(dead) == []


def test_without_a_source_queue_somebody_has_to_say_where_to(world: World, shop: Shop):
    dead, other = make_queue(world, "dead"), make_queue(world, "other")
    world.client("sqs").send_message(QueueUrl=dead.url, MessageBody="1")
    refused = shop.esmd("replay", "--dlq", dead.name)
    assert refused.returncode == 2
    assert "say where to with --to" in refused.stderr
    assert shop.esmd("replay", "--dlq", dead.name, "--to", other.url).returncode == 0
    assert [message["Body"] for message in received(world, other)] == ["1"]
    missing = shop.esmd("replay", "--dlq", "no-such-queue")
    assert (missing.returncode, missing.stderr) == (1, "Error: there is no queue no-such-queue\n")


def test_letters_of_a_fifo_queue_keep_group_and_order(world: World, shop: Shop):
    dead = make_queue(world, "dead", fifo=True)
    queue = make_queue(world, "orders", dead_letters=dead, fifo=True)
    sqs = world.client("sqs")
    for n in range(3):
        for group in "ab":
            sqs.send_message(
                QueueUrl=dead.url, MessageBody=f"{n}", MessageGroupId=group, MessageDeduplicationId=f"{group}{n}"
            )
    young = shop.esmd("replay", "--dlq", dead.name)
    assert (young.returncode, received(world, queue)) == (0, []), young.stdout + young.stderr
    assert "may still take it for a duplicate" in young.stdout
    assert "one of its group" in young.stdout
    done = shop.esmd("replay", "--dlq", dead.name, "--new-deduplication-ids")
    assert done.returncode == 0, done.stdout + done.stderr
    messages = received(world, queue)
    by_group = {
        group: [each["Body"] for each in messages if each["Attributes"]["MessageGroupId"] == group] for group in "ab"
    }
    assert by_group == {"a": ["0", "1", "2"], "b": ["0", "1", "2"]}
    assert shop.left(dead) == []


def test_letters_are_handled_by_a_function_and_those_it_names_stay(world: World, shop: Shop):
    dead = make_queue(world, "dead")
    queue = make_queue(world, "orders", dead_letters=dead)
    sqs = world.client("sqs")
    for n in range(3):
        sqs.send_message(QueueUrl=dead.url, MessageBody=json.dumps({"n": n, "poison": n == 1}))
    shop.settings["mappings"]["jobs"] = {
        "event_source_arn": queue.arn,
        "function_name": "names",
        "function_response_types": ["ReportBatchItemFailures"],
    }
    shop.write_settings()
    failed = shop.esmd("replay", "--dlq", dead.name, "--function", "names")
    assert failed.returncode == 1, failed.stderr
    assert failed.stdout.endswith("esmd replay: 2 replayed, 1 failed, 0 expired, 0 kept\n")
    assert {record["eventSourceARN"] for event in shop.events("names") for record in event["Records"]} == {queue.arn}
    assert shop.left(dead) == ['{"n": 1, "poison": true}']
    shop.mend()
    assert shop.esmd("replay", "--dlq", dead.name, "--function", "names").returncode == 0
    assert shop.left(dead) == []
