"""The daemon as a process, on real servers: what AWS recorded of SQS mappings must be so here.

One daemon runs every scenario of a server at once, each on a queue of its own, so that the waits for visibility
timeouts overlap. Timeouts of the waits are generous; nothing asserts how fast something was.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.servers import make_queue, sqs_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import Queue

pytestmark = pytest.mark.server  # the servers are asked for inside a fixture, where collection cannot see them

VISIBILITY = 2
REPORT = {"function_response_types": ["ReportBatchItemFailures"]}
ORDER = '{"type":  "order",  "n": 1.50}'
ATTRIBUTES = {
    "Author": {"StringValue": "Zoë", "DataType": "String"},
    "Count": {"StringValue": "5", "DataType": "Number"},
    "Blob": {"BinaryValue": b"\x01\x02", "DataType": "Binary"},
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "redelivered": {"handler": "fails_first", "visibility": 4, "send": ["again"]},
    "redriven": {"handler": "always_fails", "send": ["poison"]},
    "partial": {"handler": "names_failures", "mapping": REPORT, "send": ["good 1", "bad", "good 2"]},
    "rubbish": {"handler": "rubbish", "mapping": REPORT, "send": ["x"]},
    "hangs": {"handler": "hangs", "send": ["x"]},
    "exits": {"handler": "exits", "send": ["x"]},
    "fifo": {"handler": "fifo", "fifo": True, "mapping": REPORT, "send": ["1", "2", "3", "4"]},
    "window": {
        "handler": "fine",
        "mapping": {"batch_size": 100, "maximum_batching_window_in_seconds": 3},
        "send": [f"m{n}" for n in range(8)],
    },
    "filtered": {
        "handler": "fine",
        "mapping": {"filter_criteria": {"filters": [{"pattern": {"body": {"type": ["order"]}}}]}},
        "send": [ORDER, '{"type":"gift"}', "not json at all"],
    },
    "attributes": {"handler": "fine_async", "send": ["bare"]},
    "unloadable": {"handler": "no_such_handler", "send": ["x"]},
}


@dataclass
class Stage:
    """Every scenario's queues, and the daemon that works on them."""

    url: str
    daemon: Daemon
    queues: dict[str, Queue]
    dead: dict[str, Queue]
    journals: dict[str, Journal]
    sent: dict[str, list[str]]
    """Message ids, in the order of sending."""

    def ask(self, operation: str, queue: Queue, **arguments: Any) -> Any:
        async def call() -> Any:
            async with sqs_client(self.url) as client:
                return await getattr(client, operation)(QueueUrl=queue.url, **arguments)

        return asyncio.run(call())

    def left(self, queue: Queue) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.ask("get_queue_attributes", queue, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def dead_letter_ids(self, scenario: str, expected: int) -> list[str]:
        found: list[str] = []

        def look() -> bool:
            answer = self.ask("receive_message", self.dead[scenario], MaxNumberOfMessages=10)
            found.extend(message["MessageId"] for message in answer.get("Messages", []))
            return len(found) >= expected

        self.daemon.wait_until(look, what=f"{expected} dead letters of {scenario}", within=60)
        return found

    def drained(self, scenario: str) -> None:
        self.daemon.wait_until(lambda: self.left(self.queues[scenario]) == 0, what=f"{scenario} to be empty", within=60)


@pytest.fixture(scope="module", params=["ministack", "localstack"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    url = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    queues: dict[str, Queue] = {}
    dead: dict[str, Queue] = {}

    async def make() -> None:
        async with sqs_client(url) as client:
            for name, scenario in SCENARIOS.items():
                fifo = scenario.get("fifo", False)
                dead[name] = await make_queue(client, f"{name}-dead", fifo=fifo)
                queues[name] = await make_queue(
                    client,
                    name,
                    fifo=fifo,
                    dead_letters=dead[name],
                    max_receives=2,
                    VisibilityTimeout=scenario.get("visibility", VISIBILITY),
                )

    sent: dict[str, list[str]] = {}

    async def send() -> None:
        async with sqs_client(url) as client:
            for name, scenario in SCENARIOS.items():
                groups = ["a", "b"] if scenario.get("fifo") else [None]
                sent[name] = [
                    (
                        await client.send_message(
                            QueueUrl=queues[name].url,
                            MessageBody=body,
                            **({"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{body}"} if group else {}),
                        )
                    )["MessageId"]
                    for group in groups
                    for body in scenario["send"]
                ]
            answer = await client.send_message(
                QueueUrl=queues["attributes"].url, MessageBody="späte Post", MessageAttributes=ATTRIBUTES
            )
            sent["attributes"].append(answer["MessageId"])

    asyncio.run(make())
    journals = {name: Journal(folder / f"{name}.jsonl") for name in SCENARIOS}
    config = {
        "version": 1,
        "aws": {"endpoint_url": url, "region": "us-east-1"},
        "functions": {n: function(s["handler"], journals[n]) for n, s in SCENARIOS.items()},
        "mappings": {
            n: {"event_source_arn": queues[n].arn, "function_name": n, **s.get("mapping", {})}
            for n, s in SCENARIOS.items()
        },
    }
    with Daemon(folder, config) as daemon:
        daemon.wait_for("daemon.ready")
        asyncio.run(send())
        yield Stage(url, daemon, queues, dead, journals, sent)


def attempts(entries: list[dict[str, Any]]) -> list[str]:
    return [r["attributes"]["ApproximateReceiveCount"] for entry in entries for r in entry["records"]]


def test_a_failed_message_is_delivered_again_after_its_visibility_timeout(stage: Stage) -> None:
    [message] = stage.sent["redelivered"]
    stage.daemon.wait_until(lambda: len(stage.journals["redelivered"].entries()) >= 2, what="two deliveries")
    first, second = stage.journals["redelivered"].entries()
    assert attempts([first, second]) == ["1", "2"]
    assert {r["messageId"] for r in (*first["records"], *second["records"])} == {message}
    assert first["records"][0]["receiptHandle"] != second["records"][0]["receiptHandle"]
    assert second["at"] - first["at"] >= SCENARIOS["redelivered"]["visibility"] - 0.5
    stage.drained("redelivered")


def test_after_max_receive_count_the_message_is_in_the_dead_letter_queue_under_its_own_id(stage: Stage) -> None:
    [message] = stage.sent["redriven"]
    assert stage.dead_letter_ids("redriven", 1) == [message]
    assert attempts(stage.journals["redriven"].entries()) == ["1", "2"]
    events = stage.daemon.events("batch.failed", mapping="redriven")
    assert [e["next"] for e in events] == ["visibility_timeout", "dead_letter_queue"]
    assert {e["error_message"] for e in events} == {"no attempt ever succeeds"}
    assert events[0]["ids"] == [message]


def test_a_partial_failure_deletes_the_rest_of_its_batch(stage: Stage) -> None:
    ids = stage.sent["partial"]
    assert stage.dead_letter_ids("partial", 1) == [ids[1]]
    stage.drained("partial")
    delivered = [body for batch in stage.journals["partial"].bodies("names_failures") for body in batch]
    assert sorted(delivered) == ["bad", "bad", "good 1", "good 2"]


def test_an_answer_that_is_rubbish_fails_the_whole_batch(stage: Stage) -> None:
    [message] = stage.sent["rubbish"]
    assert stage.dead_letter_ids("rubbish", 1) == [message]
    event = stage.daemon.events("batch.failed", mapping="rubbish")[0]
    assert event["error_type"] == "InvalidBatchResponse"
    assert event["error_message"] == "batchItemFailures[0] has no itemIdentifier"


def test_a_handler_that_hangs_is_killed_at_its_timeout(stage: Stage) -> None:
    [message] = stage.sent["hangs"]
    assert stage.dead_letter_ids("hangs", 1) == [message]
    event = stage.daemon.events("batch.failed", mapping="hangs")[0]
    assert event["error_type"] == "Sandbox.Timedout"
    assert event["error_message"].endswith("Error: Task timed out after 1.00 seconds")
    assert len(stage.daemon.events("handler.timeout", function="hangs")) == 2


def test_a_handler_that_exits_is_replaced(stage: Stage) -> None:
    [message] = stage.sent["exits"]
    assert stage.dead_letter_ids("exits", 1) == [message]
    crashes = stage.daemon.events("handler.crashed", function="exits")
    assert [crash["exit_status"] for crash in crashes] == [3, 3]
    assert stage.daemon.events("batch.failed", mapping="exits")[0]["error_type"] == "Runtime.ExitError"


def test_a_function_that_does_not_load_is_said_and_its_messages_are_not_touched(stage: Stage) -> None:
    event = stage.daemon.wait_for("mapping.unavailable", mapping="unloadable")
    assert event["error_type"] == "Runtime.HandlerNotFound"
    assert "no_such_handler" in event["error_message"]
    attributes = stage.ask(
        "get_queue_attributes", stage.queues["unloadable"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "1"


def test_fifo_keeps_the_order_of_each_group_under_failures(stage: Stage) -> None:
    stage.drained("fifo")
    orders = defaultdict(list)
    for entry in stage.journals["fifo"].entries():
        for record in entry["records"]:
            orders[record["attributes"]["MessageGroupId"]].append(record["body"])
    for order in orders.values():
        assert [body for n, body in enumerate(order) if body not in order[:n]] == ["1", "2", "3", "4"]
        assert order[-3:] == ["2", "3", "4"]
    assert set(orders) == {"a", "b"}


def test_a_window_gathers_messages_that_arrive_one_by_one(stage: Stage) -> None:
    sent = SCENARIOS["window"]["send"]
    stage.drained("window")
    batches = stage.journals["window"].bodies("fine")
    assert sorted(body for batch in batches for body in batch) == sent
    assert len(batches) < len(sent) / 2
    record = stage.journals["window"].entries()[0]["records"][0]
    assert record["md5OfMessageAttributes"] is None


def test_messages_that_match_no_filter_are_deleted(stage: Stage) -> None:
    stage.drained("filtered")
    assert stage.journals["filtered"].bodies("fine") == [[ORDER]]

    def filtered() -> int:
        return sum(event["records"] for event in stage.daemon.events("record.filtered", mapping="filtered"))

    stage.daemon.wait_until(filtered, what="the event")
    assert filtered() == 2


def test_the_event_is_as_lambda_sends_it(stage: Stage) -> None:
    message = stage.sent["attributes"][-1]
    stage.drained("attributes")
    records = {r["body"]: r for entry in stage.journals["attributes"].entries() for r in entry["records"]}
    full, bare = records["späte Post"], records["bare"]
    assert full["messageId"] == message
    assert full["messageAttributes"]["Blob"] == {
        "binaryValue": "AQI=",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "Binary",
    }
    assert full["messageAttributes"]["Author"]["stringValue"] == "Zoë"
    assert len(full["md5OfMessageAttributes"]) == 32
    assert "md5OfMessageAttributes" not in bare
    assert (bare["eventSource"], bare["awsRegion"]) == ("aws:sqs", "us-east-1")
    assert bare["eventSourceARN"] == stage.queues["attributes"].arn
    assert set(bare["attributes"]) >= {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    }
    assert all(isinstance(value, str) for value in bare["attributes"].values())


def test_a_failed_batch_says_what_a_person_needs(stage: Stage) -> None:
    event = stage.daemon.wait_for("batch.failed", mapping="redriven")
    assert event["function"] == "redriven"
    assert {"batch_id", "request_id", "attempt", "duration_ms", "retry_in_s"} <= set(event)


def test_every_line_of_the_log_is_json(stage: Stage) -> None:
    assert stage.daemon.garbage == []
    assert stage.daemon.events("internal.error") == []
