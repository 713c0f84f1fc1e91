"""Creates what a configuration names and the endpoint lacks: queues, streams, tables, on-failure destinations.

| named                    | made                                                                                      |
|--------------------------|-------------------------------------------------------------------------------------------|
| a queue                  | hides a message six times the function's timeout plus the window, dead-letter queue `-dlq` |
| a Kinesis stream         | two shards                                                                                |
| a table's latest stream  | a table with the text key `id`, its stream with new and old images                        |
| an on-failure queue      | a queue                                                                                   |
| an on-failure topic      | a topic                                                                                   |
| an on-failure bucket     | a bucket                                                                                  |

What exists is left as it is. A table's stream that is named by its own label cannot be made: nobody chooses a label.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from botocore.exceptions import ClientError

from esmd.config.schema import DynamoDbMapping, KinesisMapping, SqsMapping, StreamMapping
from esmd.dev.events import DevQueueCreated, DevSourceCreated
from esmd.pollers.dynamodb import LATEST_LABEL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.config.schema import Config
    from esmd.mappings.destinations import DestinationArn
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

_UNKNOWN_TIMEOUT = 30.0
"""Seconds taken for the timeout of a function that does not say."""

MAX_RECEIVE_COUNT = 3
"""Of the queues made here: few, so that a dead letter is seen soon. AWS recommends five or more."""

SHARDS = 2
"""Of the streams made here."""

_MISSING = frozenset(
    {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException", "NotFound", "404"}
)


@dataclass(frozen=True, slots=True)
class DevQueue:
    """A queue of the configuration, as it stands at the endpoint."""

    name: str
    region: str
    url: str
    dead_letter_url: str | None


@dataclass(frozen=True, slots=True)
class DevSources:
    """Everything that sample traffic can be sent to: queues, and names of streams and tables by region."""

    queues: tuple[DevQueue, ...] = ()
    streams: tuple[tuple[str, str], ...] = ()
    tables: tuple[tuple[str, str], ...] = ()


class Maker:
    """Makes what is missing at one endpoint."""

    def __init__(self, clients: LocalStackClients, telemetry: Telemetry) -> None:
        self._clients = clients
        self._telemetry = telemetry

    async def make_all(self, config: Config) -> DevSources:
        """Make every source and destination of an enabled mapping exist; returns the sources, each once."""
        queues: dict[str, DevQueue] = {}
        streams: dict[tuple[str, str], None] = {}
        tables: dict[tuple[str, str], None] = {}
        for mapping in config.mappings.values():
            if not mapping.enabled:
                continue
            if isinstance(mapping, StreamMapping) and mapping.on_failure is not None:
                await self._destination(mapping.on_failure, mapping.stream.region)
            if isinstance(mapping, SqsMapping) and mapping.event_source_arn not in queues:
                timeout = config.longest_invocation(mapping.function_name) or _UNKNOWN_TIMEOUT
                queues[mapping.event_source_arn] = await self._queue(mapping, timeout)
            elif isinstance(mapping, KinesisMapping):
                await self._stream(mapping.stream.name, mapping.stream.region)
                streams[mapping.stream.name, mapping.stream.region] = None
            elif isinstance(mapping, DynamoDbMapping) and mapping.stream.label == LATEST_LABEL:
                await self._table(mapping.stream.name, mapping.stream.region)
                tables[mapping.stream.name, mapping.stream.region] = None
        return DevSources(tuple(queues.values()), tuple(streams), tuple(tables))

    # --- queues

    async def _queue(self, mapping: SqsMapping, function_timeout: float) -> DevQueue:
        queue = mapping.queue
        client, _ = await self._clients.client("sqs", queue.region)
        url = await _unless_missing(lambda: _url_of(client, queue.name))
        if url is not None:
            return DevQueue(queue.name, queue.region, url, await _dead_letter_url(client, url))
        fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if queue.fifo else {}
        dead_letters = f"{queue.name.removesuffix('.fifo')}-dlq{'.fifo' if queue.fifo else ''}"
        dead_letter_url = (await client.create_queue(QueueName=dead_letters, Attributes=fifo))["QueueUrl"]
        answer = await client.get_queue_attributes(QueueUrl=dead_letter_url, AttributeNames=["QueueArn"])
        visibility = math.ceil(6 * function_timeout) + mapping.maximum_batching_window_in_seconds
        redrive = {"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": MAX_RECEIVE_COUNT}
        attributes = fifo | {"VisibilityTimeout": str(visibility), "RedrivePolicy": json.dumps(redrive)}
        url = (await client.create_queue(QueueName=queue.name, Attributes=attributes))["QueueUrl"]
        self._telemetry.emit(
            DevQueueCreated(
                queue=queue.name,
                visibility_timeout_s=visibility,
                dead_letter_queue=dead_letters,
                max_receive_count=MAX_RECEIVE_COUNT,
            )
        )
        return DevQueue(queue.name, queue.region, url, dead_letter_url)

    # --- streams

    async def _stream(self, name: str, region: str) -> None:
        client, _ = await self._clients.client("kinesis", region)
        if await _unless_missing(lambda: client.describe_stream_summary(StreamName=name)) is not None:
            return
        await client.create_stream(StreamName=name, ShardCount=SHARDS)
        while True:
            found = await client.describe_stream_summary(StreamName=name)
            if found["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                break
            await asyncio.sleep(0.2)
        self._telemetry.emit(DevSourceCreated(kind="stream", source=name))

    async def _table(self, name: str, region: str) -> None:
        client, _ = await self._clients.client("dynamodb", region)
        found = await _unless_missing(lambda: client.describe_table(TableName=name))
        if found is not None:
            if not found["Table"].get("LatestStreamArn"):
                raise click.ClickException(
                    f"the table {name} exists and has no stream: switch it on, or remove the table"
                )
            return
        await client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self._telemetry.emit(DevSourceCreated(kind="table", source=name))

    # --- destinations

    async def _destination(self, arn: DestinationArn, region: str) -> None:
        client, _ = await self._clients.client(arn.service, arn.region or region)
        match arn.service:
            case "sqs":
                if await _unless_missing(lambda: _url_of(client, arn.name)) is not None:
                    return
                await client.create_queue(QueueName=arn.name)
            case "sns":
                if await _unless_missing(lambda: client.get_topic_attributes(TopicArn=str(arn))) is not None:
                    return
                await client.create_topic(Name=arn.name)
            case "s3":
                if await _unless_missing(lambda: client.head_bucket(Bucket=arn.name)) is not None:
                    return
                await client.create_bucket(Bucket=arn.name)
        self._telemetry.emit(DevSourceCreated(kind="destination", source=str(arn)))


async def _unless_missing(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a look-up finds; None if the thing is not there."""
    try:
        return await call()
    except ClientError as error:
        said = error.response["Error"]
        if {str(said.get("Code")), str(said.get("QueryErrorCode"))} & _MISSING:
            return None
        raise


async def _url_of(client: Any, name: str) -> str:
    url: str = (await client.get_queue_url(QueueName=name))["QueueUrl"]
    return url


async def _dead_letter_url(client: Any, url: str) -> str | None:
    """The URL of a queue's dead-letter queue, None without one."""
    answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = answer.get("Attributes", {}).get("RedrivePolicy")
    if not policy:
        return None
    return await _url_of(client, str(json.loads(policy)["deadLetterTargetArn"]).rpartition(":")[2])
