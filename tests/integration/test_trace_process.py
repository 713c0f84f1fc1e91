"""What became of a record, asked of a real daemon and of its log: they tell the same."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.servers import make_queue, sqs_client
from support.stream_world import stream_config, stream_mapping

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server

ONCE_AGAIN = [
    "records.received",
    "batch.records",
    "batch.failed",
    "records.received",
    "batch.succeeded",
    "records.deleted",
]


def queue_with_one(url: str) -> tuple[str, str]:
    """The ARN of a queue whose messages come again after a second, and the id of the one in it."""

    async def fill() -> tuple[str, str]:
        async with sqs_client(url) as client:
            queue = await make_queue(client, "orders", VisibilityTimeout="1")
            sent = await client.send_message(QueueUrl=queue.url, MessageBody="one")
            return queue.arn, sent["MessageId"]

    return asyncio.run(fill())


def names(life: dict[str, Any]) -> list[str]:
    return [line["event"] for line in life["events"]]


def traced(daemon: Daemon, wanted: str, *arguments: str) -> dict[str, Any]:
    done = daemon.esmd("trace", wanted, *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_daemon_and_its_log_tell_what_became_of_a_record(world, ministack, tmp_path: Path, processes):
    journal = Journal(tmp_path / "journal.jsonl")
    arn, message = queue_with_one(ministack)
    stream = world.make_stream("clicks")
    [number] = world.put(stream, {"n": 1})
    failures = world.make_queue("failures").arn
    functions = {"orders": function("fails_first", journal), "clicks": function("always_fails", journal)}
    mappings = {
        "orders": {"event_source_arn": arn, "function_name": "orders"},
        "clicks": stream_mapping(
            stream.arn,
            "clicks",
            maximum_retry_attempts=0,
            destination_config={"on_failure": {"destination": failures}},
        ),
    }
    config = stream_config(tmp_path, functions, mappings)
    with Daemon(tmp_path, config, "--processes", str(processes), environ=world.environ) as daemon:
        daemon.wait_for("batch.discarded", mapping="clicks")
        daemon.wait_for("checkpoint.committed", mapping="clicks")
        daemon.wait_for("records.deleted", mapping="orders")

        # a message that fails once
        life = traced(daemon, message)
        assert (names(life), life["state"]) == (ONCE_AGAIN, "deleted")
        failed, succeeded = life["events"][2], life["events"][4]
        assert (failed["attempt"], succeeded["attempt"]) == (1, 2)
        assert failed["error_message"] == "the first attempt always fails"

        # the invocation that failed, by its request id
        invocation = traced(daemon, failed["request_id"])
        assert names(invocation) == ["batch.records", "batch.failed"]
        assert invocation["events"][0]["ids"] == [message]

        # a record that was given up to a destination
        given_up = traced(daemon, number)
        assert given_up["state"] == f"given up, its failure record is in {failures}"
        assert names(given_up)[-2:] == ["batch.discarded", "checkpoint.committed"]

        shown = daemon.esmd("trace", message)
        assert "attempt 1, RuntimeError: the first attempt always fails" in shown.stdout
        unknown = daemon.esmd("trace", "no-such-message")
        assert unknown.returncode == 1
        assert "nothing is known of 'no-such-message'" in unknown.stderr
        assert "the daemon remembers all of its life" in unknown.stderr

        # the log tells the same
        log = tmp_path / "esmd.log"
        log.write_text("".join(json.dumps(line) + "\n" for line in daemon.log))
        for wanted, told in ((message, life), (number, given_up)):
            logged = traced(daemon, wanted, str(log))
            assert (names(logged), logged["state"]) == (names(told), told["state"])
