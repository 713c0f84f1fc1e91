"""Watches the dead-letter queues of `esmd dev`: only their counts are read, nothing is received."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from esmd.dev.events import DevDeadLetters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.dev.sources import DevQueue
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

_PERIOD = 1.0


async def watch(queues: Sequence[DevQueue], clients: LocalStackClients, telemetry: Telemetry) -> None:
    """Say whenever a dead-letter queue holds more than before; for ever, cancel it to stop."""
    known: dict[str, int] = {}
    while True:
        for queue in queues:
            if queue.dead_letter_url is not None:
                count = await _count(queue, queue.dead_letter_url, clients)
                if count > known.get(queue.dead_letter_url, 0):
                    name = queue.dead_letter_url.rpartition("/")[2]
                    telemetry.emit(DevDeadLetters(queue=name, messages=count))
                known[queue.dead_letter_url] = count
        await asyncio.sleep(_PERIOD)


async def _count(queue: DevQueue, url: str, clients: LocalStackClients) -> int:
    """Messages in the queue; 0 when it cannot be asked just now (the mapping says so by itself)."""
    client, _ = await clients.client("sqs", queue.region)
    try:
        answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    except (BotoCoreError, ClientError):
        return 0
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])
