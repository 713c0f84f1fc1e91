"""The queue engine by its rules, on a clock of its own and on a virtual loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from esmd.testing.queues import QueueEngine
from esmd.testing.sqs_errors import SqsError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> QueueEngine:
    return QueueEngine(clock=clock, epoch=1_700_000_000.0)


def policy(engine: QueueEngine, target: str, most: int) -> dict[str, object]:
    return {"deadLetterTargetArn": engine.queue_arn(target), "maxReceiveCount": most}


def places(engine: QueueEngine, queue: str) -> tuple[int, int, int]:
    counts = engine.counts(queue)
    return counts.visible, counts.inflight, counts.delayed


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


def test_the_table_of_places(engine: QueueEngine, clock: Clock):
    engine.create_queue("q", {"VisibilityTimeout": 30})
    assert places(engine, "q") == (0, 0, 0)
    engine.send("q", "late", delay=5)
    assert places(engine, "q") == (0, 0, 1)
    engine.send("q", "now")
    assert places(engine, "q") == (1, 0, 1)
    (now,) = engine.receive_now("q", limit=10)
    assert places(engine, "q") == (0, 1, 1)
    clock.now += 5
    assert places(engine, "q") == (1, 1, 0)
    engine.change_visibility("q", now["ReceiptHandle"], 60)
    clock.now += 59
    assert places(engine, "q") == (1, 1, 0)
    clock.now += 1
    assert places(engine, "q") == (2, 0, 0)
    engine.delete("q", now["ReceiptHandle"])
    assert places(engine, "q") == (1, 0, 0)
    engine.purge("q")
    assert places(engine, "q") == (0, 0, 0)


def test_times_are_epoch_milliseconds_of_the_injected_clock(engine: QueueEngine, clock: Clock):
    engine.create_queue("q", {"VisibilityTimeout": 1})
    engine.send("q", "x")
    clock.now += 2.5
    engine.receive_now("q")
    clock.now += 1
    (message,) = engine.receive_now("q")
    assert message["Attributes"] == {
        "SenderId": "000000000000",
        "SentTimestamp": "1700001000000",
        "ApproximateReceiveCount": "2",
        "ApproximateFirstReceiveTimestamp": "1700001002500",
    }


def test_a_handle_replaced_by_a_newer_receive_deletes_nothing(engine: QueueEngine, clock: Clock):
    engine.create_queue("q", {"VisibilityTimeout": 1})
    engine.send("q", "x")
    (old,) = engine.receive_now("q")
    clock.now += 1
    (new,) = engine.receive_now("q")
    engine.delete("q", old["ReceiptHandle"])
    assert places(engine, "q") == (0, 1, 0)
    engine.delete("q", new["ReceiptHandle"])
    engine.delete("q", new["ReceiptHandle"])
    assert engine.counts("q").deleted == 1
    assert places(engine, "q") == (0, 0, 0)


def test_the_visibility_of_a_message_that_is_not_in_flight_cannot_change(engine: QueueEngine, clock: Clock):
    engine.create_queue("q", {"VisibilityTimeout": 1})
    engine.send("q", "x")
    (message,) = engine.receive_now("q")
    clock.now += 1
    with pytest.raises(SqsError, match="MessageNotInflight"):
        engine.change_visibility("q", message["ReceiptHandle"], 10)


@pytest.mark.parametrize("queue", ["other", "q"])
def test_a_handle_of_another_queue_or_none_at_all_is_invalid(engine: QueueEngine, queue: str):
    engine.create_queue("q")
    engine.create_queue("other")
    engine.send("q", "x")
    (message,) = engine.receive_now("q")
    handle = message["ReceiptHandle"] if queue == "other" else "rubbish"
    with pytest.raises(SqsError, match="ReceiptHandleIsInvalid"):
        engine.delete(queue, handle)


def test_an_expired_fifo_handle_is_refused(engine: QueueEngine, clock: Clock):
    engine.create_queue("q.fifo", {"FifoQueue": True, "VisibilityTimeout": 1, "ContentBasedDeduplication": True})
    engine.send("q.fifo", "x", group="g")
    (message,) = engine.receive_now("q.fifo")
    clock.now += 1
    with pytest.raises(SqsError, match="expired"):
        engine.delete("q.fifo", message["ReceiptHandle"])
    with pytest.raises(SqsError, match="expired"):
        engine.change_visibility("q.fifo", message["ReceiptHandle"], 10)


def test_redrive_keeps_id_count_and_time_and_counts_anew_for_the_next_limit(engine: QueueEngine, clock: Clock):
    engine.create_queue("last")
    engine.create_queue("dead", {"VisibilityTimeout": 0, "RedrivePolicy": policy(engine, "last", 1)})
    engine.create_queue("q", {"VisibilityTimeout": 0, "RedrivePolicy": policy(engine, "dead", 2)})
    sent = engine.send("q", "x")
    clock.now += 1
    assert len(engine.receive_now("q")) == len(engine.receive_now("q")) == 1
    assert engine.receive_now("q") == []
    assert engine.counts("q").redriven == 1
    (dead,) = engine.receive_now("dead")
    assert dead["MessageId"] == sent["MessageId"]
    assert dead["Attributes"]["ApproximateReceiveCount"] == "3"
    assert dead["Attributes"]["SentTimestamp"] == "1700001000000"
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == engine.queue_arn("q")
    assert engine.receive_now("dead") == []
    (last,) = engine.receive_now("last")
    assert last["Attributes"]["DeadLetterQueueSourceArn"] == engine.queue_arn("dead")


def test_without_its_dead_letter_queue_a_message_stays(engine: QueueEngine):
    engine.create_queue("dead")
    engine.create_queue("q", {"VisibilityTimeout": 0, "RedrivePolicy": policy(engine, "dead", 1)})
    engine.delete_queue("dead")
    engine.send("q", "x")
    assert [len(engine.receive_now("q")) for _ in range(3)] == [1, 1, 1]


def test_an_overdue_fifo_message_leaves_and_its_group_goes_on(engine: QueueEngine):
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "0"}
    engine.create_queue("dead.fifo", fifo)
    engine.create_queue("q.fifo", {**fifo, "RedrivePolicy": json.dumps(policy(engine, "dead.fifo", 1))})
    engine.send("q.fifo", "1", group="g")
    engine.send("q.fifo", "2", group="g")
    assert bodies(engine.receive_now("q.fifo", limit=1)) == ["1"]
    assert bodies(engine.receive_now("q.fifo", limit=10)) == ["2"]
    assert engine.receive_now("q.fifo") == []
    assert bodies(engine.receive_now("dead.fifo", limit=10)) == ["1", "2"]


def test_deduplication_lasts_five_minutes_also_after_the_delete(engine: QueueEngine, clock: Clock):
    engine.create_queue("q.fifo", {"FifoQueue": True})
    first = engine.send("q.fifo", "x", group="g", deduplication="d")
    (message,) = engine.receive_now("q.fifo")
    engine.delete("q.fifo", message["ReceiptHandle"])
    clock.now += 299
    again = engine.send("q.fifo", "x", group="g", deduplication="d")
    assert again["MessageId"] == first["MessageId"]
    assert places(engine, "q.fifo") == (0, 0, 0)
    clock.now += 1
    later = engine.send("q.fifo", "x", group="g", deduplication="d")
    assert later["MessageId"] != first["MessageId"]
    assert places(engine, "q.fifo") == (1, 0, 0)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"body": ""}, "MissingParameter"),
        ({"body": "\x00"}, "InvalidMessageContents"),
        ({"body": "\ufffe"}, "InvalidMessageContents"),
        ({"body": "x" * 1_048_577}, "Message must be shorter"),
        ({"body": "x", "delay": 901}, "Value 901 for parameter DelaySeconds"),
        ({"body": "x", "deduplication": "d"}, "MessageDeduplicationId is invalid"),
        ({"body": "x", "attributes": {"a": {"DataType": "Text", "StringValue": "y"}}}, "DataType is invalid"),
        ({"body": "x", "attributes": {"a": {"DataType": "String"}}}, "non-empty"),
        ({"body": "x", "attributes": {"a": {"DataType": "Number", "StringValue": "y"}}}, "number"),
        ({"body": "x", "attributes": {"a": {"DataType": "Binary", "BinaryValue": "*"}}}, "not base64"),
        ({"body": "x", "queue": "q.fifo"}, "MessageGroupId"),
        ({"body": "x", "queue": "q.fifo", "group": "g"}, "ContentBasedDeduplication"),
        ({"body": "x", "queue": "q.fifo", "group": "g", "deduplication": "d", "delay": 1}, "queue type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_send_refuses(engine: QueueEngine, request_: dict[str, Any], error: str):
    engine.create_queue("q")
    engine.create_queue("q.fifo", {"FifoQueue": True})
    with pytest.raises(SqsError, match=error):
        engine.send(**{"queue": "q", **request_})
    assert places(engine, "q") == places(engine, "q.fifo") == (0, 0, 0)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 11}, {"visibility": -1}, {"visibility": 43_201}])
def test_what_a_receive_refuses(engine: QueueEngine, options: dict[str, int]):
    engine.create_queue("q")
    with pytest.raises(SqsError, match="InvalidParameterValue"):
        engine.receive_now("q", **options)


@pytest.mark.parametrize(
    ("name", "attributes", "error"),
    [
        ("q", {"VisibilityTimeout": "43201"}, "VisibilityTimeout"),
        ("q", {"VisibilityTimeout": "soon"}, "VisibilityTimeout"),
        ("q", {"Colour": "red"}, "Unknown Attribute Colour"),
        ("q", {"ContentBasedDeduplication": "true"}, "Unknown Attribute"),
        ("q", {"FifoQueue": "true"}, "ends with .fifo"),
        ("q.fifo", {}, "ends with .fifo"),
        ("q!", {}, "alphanumeric"),
        ("q" * 81, {}, "80 in length"),
        ("q", {"RedrivePolicy": "{"}, "JSON map"),
        ("q", {"RedrivePolicy": {"deadLetterTargetArn": "a:none", "maxReceiveCount": 1}}, "does not exist"),
        ("q", {"RedrivePolicy": {"deadLetterTargetArn": "a:d.fifo", "maxReceiveCount": 1}}, "same type"),
        ("q", {"RedrivePolicy": {"deadLetterTargetArn": "a:d.fifo", "maxReceiveCount": 0}}, "maxReceiveCount"),
        ("taken", {"VisibilityTimeout": 1}, "QueueNameExists"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)
def test_what_a_creation_refuses(engine: QueueEngine, name: str, attributes: dict[str, object], error: str):
    engine.create_queue("d.fifo", {"FifoQueue": True})
    engine.create_queue("taken")
    with pytest.raises(SqsError, match=error):
        engine.create_queue(name, attributes)


def test_the_same_creation_again_is_the_same_queue(engine: QueueEngine):
    url = engine.create_queue("q", {"VisibilityTimeout": "7"})
    assert engine.create_queue("q", {"VisibilityTimeout": 7}) == engine.create_queue("q") == url


@pytest.mark.looptime
async def test_a_long_poll_ends_empty_after_its_time():
    engine = QueueEngine()
    engine.create_queue("q", {"ReceiveMessageWaitTimeSeconds": 3})
    loop = asyncio.get_running_loop()
    assert await engine.receive("q") == []
    assert loop.time() == 3
    assert await engine.receive("q", wait=20) == []
    assert loop.time() == 23
    assert await engine.receive("q", wait=0) == []
    assert loop.time() == 23


@pytest.mark.looptime
async def test_what_wakes_a_long_poll():
    engine = QueueEngine()
    engine.create_queue("q", {"VisibilityTimeout": 12 * 3600})
    loop = asyncio.get_running_loop()

    async def woken(after: float) -> dict[str, Any]:
        start = loop.time()
        (message,) = await engine.receive("q", wait=20)
        assert loop.time() - start == after
        return message

    loop.call_later(4, engine.send, "q", "sent")
    message = await woken(after=4)
    loop.call_later(2, engine.change_visibility, "q", message["ReceiptHandle"], 0)
    message = await woken(after=2)
    engine.change_visibility("q", message["ReceiptHandle"], 6)
    message = await woken(after=6)
    engine.delete("q", message["ReceiptHandle"])
    engine.send("q", "delayed", delay=9)
    message = await woken(after=9)
    await asyncio.sleep(12 * 3600 - 1)
    message = await woken(after=1)
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"


@pytest.mark.looptime
async def test_a_long_poll_follows_a_visibility_that_changes_meanwhile():
    engine = QueueEngine()
    engine.create_queue("q")
    engine.send("q", "x")
    (message,) = engine.receive_now("q", visibility=5)
    poll = asyncio.create_task(engine.receive("q", wait=20))
    await asyncio.sleep(4)
    engine.change_visibility("q", message["ReceiptHandle"], 7)
    await poll
    assert asyncio.get_running_loop().time() == 11


@pytest.mark.looptime
async def test_a_redriven_message_wakes_a_poll_of_the_dead_letter_queue():
    engine = QueueEngine()
    engine.create_queue("dead")
    engine.create_queue("q", {"VisibilityTimeout": 1, "RedrivePolicy": policy(engine, "dead", 1)})
    engine.send("q", "x")
    dead = asyncio.create_task(engine.receive("dead", wait=20))
    assert len(engine.receive_now("q")) == 1
    assert await engine.receive("q", wait=10) == []
    assert dead.done()
    assert bodies(await dead) == ["x"]


@pytest.mark.looptime
async def test_a_deleted_fifo_message_wakes_a_poll_for_its_group():
    engine = QueueEngine()
    engine.create_queue("q.fifo", {"FifoQueue": True, "ContentBasedDeduplication": True})
    engine.send("q.fifo", "1", group="g")
    engine.send("q.fifo", "2", group="g")
    (first,) = engine.receive_now("q.fifo")
    asyncio.get_running_loop().call_later(3, engine.delete, "q.fifo", first["ReceiptHandle"])
    assert bodies(await engine.receive("q.fifo", wait=20)) == ["2"]
    assert asyncio.get_running_loop().time() == 3


@pytest.mark.looptime
async def test_polls_are_served_in_the_order_they_came():
    engine = QueueEngine()
    engine.create_queue("q")
    polls = [asyncio.create_task(engine.receive("q", wait=20)) for _ in range(3)]
    await asyncio.sleep(1)
    for body in "abc":
        engine.send("q", body)
    assert [bodies(await poll) for poll in polls] == [["a"], ["b"], ["c"]]


@pytest.mark.looptime
@pytest.mark.parametrize("swallows", [True, False])
async def test_a_cancelled_long_poll_swallows_the_next_message_as_real_servers_do(swallows: bool):
    engine = QueueEngine(dead_poll_swallows=swallows)
    engine.create_queue("q", {"VisibilityTimeout": 30})
    poll = asyncio.create_task(engine.receive("q", wait=20))
    await asyncio.sleep(1)
    poll.cancel()
    await asyncio.wait([poll])
    engine.send("q", "x")
    assert places(engine, "q") == ((0, 1, 0) if swallows else (1, 0, 0))


@pytest.mark.looptime
async def test_deleting_a_queue_ends_its_polls():
    engine = QueueEngine()
    engine.create_queue("q")
    poll = asyncio.create_task(engine.receive("q", wait=20))
    await asyncio.sleep(1)
    engine.delete_queue("q")
    assert await poll == []
    with pytest.raises(SqsError, match="QueueDoesNotExist"):
        engine.send("q", "x")


def test_void_timers_do_not_pile_up(engine: QueueEngine):
    engine.create_queue("q", {"VisibilityTimeout": 43_200})
    for _ in range(5_000):
        engine.send("q", "x")
        (message,) = engine.receive_now("q")
        engine.delete("q", message["ReceiptHandle"])
    assert len(engine._queues["q"].backlog._hidden) < 1_000
