"""Mappings made through AWS's API on a real daemon: they run, change, pause, go, and outlive the daemon."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.aws_clients import AWS, NO_AWS, aws, lambda_client
from support.daemon import Daemon, Journal, function
from support.servers import make_queue, sqs_client

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server  # all of them start processes


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def config(ministack: str, port: int, functions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "aws": {"endpoint_url": ministack},
        "api": {"listen": f"127.0.0.1:{port}"},
        "state": {"path": "esmd.db"},
        "functions": functions,
        **more,
    }


def waited(client: Any, uuid: str, state: str) -> dict[str, Any]:
    """Poll Get as everybody does, until the mapping is in a state."""
    deadline = time.monotonic() + 30
    while (found := client.get_event_source_mapping(UUID=uuid))["State"] != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return dict(found)


def gone(client: Any, uuid: str) -> None:
    """Poll Get until the mapping is not found."""
    deadline = time.monotonic() + 30
    while True:
        try:
            client.get_event_source_mapping(UUID=uuid)
        except client.exceptions.ResourceNotFoundException:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def bodies_seen(daemon: Daemon, journal: Journal, wanted: set[str]) -> None:
    def found() -> bool:
        return {body for batch in journal.bodies("fine") for body in batch} == wanted

    await asyncio.to_thread(daemon.wait_until, found, what=f"messages {wanted}")


async def test_the_life_of_a_mapping_and_what_outlives_the_daemon(ministack, tmp_path, journal, port):
    settings = config(ministack, port, {"process": function("fine", journal)})
    url = f"http://127.0.0.1:{port}"
    async with sqs_client(ministack) as sqs:
        queue = await make_queue(sqs, VisibilityTimeout=30)

        async def send(*bodies: str) -> None:
            for body in bodies:
                await sqs.send_message(QueueUrl=queue.url, MessageBody=body)

        with Daemon(tmp_path, settings) as daemon, lambda_client(url) as client:
            await asyncio.to_thread(daemon.wait_for, "daemon.ready")
            made = await asyncio.to_thread(
                client.create_event_source_mapping,
                EventSourceArn=queue.arn,
                FunctionName="process",
                Tags={"team": "a"},
            )
            uuid = made["UUID"]
            assert made["State"] == "Creating"
            await asyncio.to_thread(waited, client, uuid, "Enabled")
            await send("1", "2")
            await bodies_seen(daemon, journal, {"1", "2"})

            changed = await asyncio.to_thread(client.update_event_source_mapping, UUID=uuid, BatchSize=1)
            assert changed["State"] == "Updating"
            assert (await asyncio.to_thread(waited, client, uuid, "Enabled"))["BatchSize"] == 1
            await send("3", "4")
            await bodies_seen(daemon, journal, {"1", "2", "3", "4"})
            assert [len(batch) for batch in journal.bodies("fine")][-2:] == [1, 1]

            await asyncio.to_thread(client.update_event_source_mapping, UUID=uuid, Enabled=False)
            await asyncio.to_thread(waited, client, uuid, "Disabled")
            await send("5")
            received = await sqs.receive_message(QueueUrl=queue.url, VisibilityTimeout=0, WaitTimeSeconds=1)
            assert [each["Body"] for each in received["Messages"]] == ["5"], "nobody else took it"

            await asyncio.to_thread(client.update_event_source_mapping, UUID=uuid, Enabled=True)
            await bodies_seen(daemon, journal, {"1", "2", "3", "4", "5"})
            await asyncio.to_thread(waited, client, uuid, "Enabled")
            daemon.process.terminate()
            assert await asyncio.to_thread(daemon.exit_code) == 0

        with Daemon(tmp_path, settings) as daemon, lambda_client(url) as client:
            await asyncio.to_thread(daemon.wait_for, "daemon.ready")
            kept = await asyncio.to_thread(waited, client, uuid, "Enabled")
            assert (kept["BatchSize"], kept["EventSourceArn"]) == (1, queue.arn)
            tags = await asyncio.to_thread(client.list_tags, Resource=kept["EventSourceMappingArn"])
            assert tags["Tags"] == {"team": "a"}
            await send("6")
            await bodies_seen(daemon, journal, {"1", "2", "3", "4", "5", "6"})
            deleted = await asyncio.to_thread(client.delete_event_source_mapping, UUID=uuid)
            assert deleted["State"] == "Deleting"
            await asyncio.to_thread(gone, client, uuid)
            daemon.process.terminate()
            assert await asyncio.to_thread(daemon.exit_code) == 0
        assert daemon.events("lambda.request_failed") == []


async def test_the_aws_cli_on_a_daemon(ministack, tmp_path, journal, port):
    if not AWS.exists():
        pytest.skip(NO_AWS)
    async with sqs_client(ministack) as sqs:
        queue = await make_queue(sqs, VisibilityTimeout=30)
        short = await make_queue(sqs, VisibilityTimeout=0)
        orders = {"EventSourceArn": short.arn, "FunctionName": "process", "visibility_heartbeat": True}
        functions = {"process": function("fine", journal)}
        with Daemon(tmp_path, config(ministack, port, functions, mappings={"orders": orders})) as daemon:
            await asyncio.to_thread(daemon.wait_for, "daemon.ready")
            url = f"http://127.0.0.1:{port}"
            made = await aws(
                url, "create-event-source-mapping", "--function-name", "process", "--event-source-arn", queue.arn
            )
            await sqs.send_message(QueueUrl=queue.url, MessageBody="1")
            await bodies_seen(daemon, journal, {"1"})
            listed = (await aws(url, "list-event-source-mappings"))["EventSourceMappings"]
            assert {each["EventSourceArn"] for each in listed} == {queue.arn, short.arn}
            [of_file] = [each["UUID"] for each in listed if each["UUID"] != made["UUID"]]
            with pytest.raises(AssertionError, match=r"is written in .*esmd\.yaml"):
                await aws(url, "delete-event-source-mapping", "--uuid", of_file)
            told = await aws(url, "invoke", "--function-name", "process", "--payload", '{"Records": []}', os.devnull)
            assert told["StatusCode"] == 200
            assert "FunctionError" not in told


async def test_a_mapping_that_aws_would_not_take_is_not_taken(ministack, tmp_path, journal, port):
    async with sqs_client(ministack) as sqs:
        short = await make_queue(sqs, VisibilityTimeout=0)
    with Daemon(tmp_path, config(ministack, port, {"process": function("fine", journal)})) as daemon:
        await asyncio.to_thread(daemon.wait_for, "daemon.ready")
        with lambda_client(f"http://127.0.0.1:{port}") as client:
            for arn, text in (
                (short.arn, "Queue visibility timeout: 0 seconds is less than Function timeout: 1 seconds"),
                (f"{short.arn}x", "SQS Error Code: AWS.SimpleQueueService.NonExistentQueue"),
            ):
                with pytest.raises(client.exceptions.InvalidParameterValueException, match=text):
                    await asyncio.to_thread(
                        client.create_event_source_mapping, EventSourceArn=arn, FunctionName="process"
                    )
            listed = await asyncio.to_thread(client.list_event_source_mappings)
            invoked = await asyncio.to_thread(client.invoke, FunctionName="process", Payload=b'{"Records": []}')
            assert "FunctionError" not in invoked, "no mapping is needed to invoke"
    assert listed["EventSourceMappings"] == []
