"""Creates the queues that a configuration names and the endpoint lacks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from esmd.dev.events import DevQueueCreated

if TYPE_CHECKING:
    from esmd.config.schema import Config, SqsMapping
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

MAX_RECEIVE_COUNT = 3
"""Of the queues made here: few, so that a dead letter is seen soon. AWS recommends five or more."""


@dataclass(frozen=True, slots=True)
class DevQueue:
    """A queue of the configuration, as it stands at the endpoint."""

    name: str
    region: str
    url: str
    dead_letter_url: str | None


async def create_missing(config: Config, clients: LocalStackClients, telemetry: Telemetry) -> list[DevQueue]:
    """Make every queue of an enabled mapping exist; returns them all, each once.

    A queue made here hides a message six times the function's timeout plus the batching window, as AWS recommends, and
    has a dead-letter queue `<name>-dlq`. Queues that exist are left as they are.
    """
    queues: dict[str, DevQueue] = {}
    for mapping in config.mappings.values():
        if mapping.enabled and mapping.event_source_arn not in queues:
            client, _ = await clients.client("sqs", mapping.queue.region)
            timeout = config.functions[mapping.function_name].timeout
            queues[mapping.event_source_arn] = await _ensure(client, mapping, timeout, telemetry)
    return list(queues.values())


async def _ensure(client: Any, mapping: SqsMapping, function_timeout: float, telemetry: Telemetry) -> DevQueue:
    queue = mapping.queue
    try:
        url = (await client.get_queue_url(QueueName=queue.name))["QueueUrl"]
    except ClientError as error:
        if "NonExistentQueue" not in str(error.response["Error"]) and "QueueDoesNotExist" not in str(error.response):
            raise
    else:
        return DevQueue(queue.name, queue.region, url, await _dead_letter_url(client, url))
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if queue.fifo else {}
    dead_letters = f"{queue.name.removesuffix('.fifo')}-dlq{'.fifo' if queue.fifo else ''}"
    dead_letter_url = (await client.create_queue(QueueName=dead_letters, Attributes=fifo))["QueueUrl"]
    answer = await client.get_queue_attributes(QueueUrl=dead_letter_url, AttributeNames=["QueueArn"])
    visibility = math.ceil(6 * function_timeout) + mapping.maximum_batching_window_in_seconds
    redrive = {"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": MAX_RECEIVE_COUNT}
    url = (
        await client.create_queue(
            QueueName=queue.name,
            Attributes=fifo | {"VisibilityTimeout": str(visibility), "RedrivePolicy": json.dumps(redrive)},
        )
    )["QueueUrl"]
    telemetry.emit(
        DevQueueCreated(
            queue=queue.name,
            visibility_timeout_s=visibility,
            dead_letter_queue=dead_letters,
            max_receive_count=MAX_RECEIVE_COUNT,
        )
    )
    return DevQueue(queue.name, queue.region, url, dead_letter_url)


async def _dead_letter_url(client: Any, url: str) -> str | None:
    """The URL of a queue's dead-letter queue, None without one."""
    answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = answer.get("Attributes", {}).get("RedrivePolicy")
    if not policy:
        return None
    name = str(json.loads(policy)["deadLetterTargetArn"]).rpartition(":")[2]
    found: str = (await client.get_queue_url(QueueName=name))["QueueUrl"]
    return found
