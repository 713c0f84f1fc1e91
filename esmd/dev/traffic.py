"""Sends sample messages: those of a file, or made-up orders."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import click

from esmd.dev.events import DevTrafficSent, DevTrafficSkipped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from esmd.dev.queues import DevQueue
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

_MADE_UP_PERIOD = 2.0
_MADE_UP_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """A message to send."""

    queue: str
    body: str
    group: str | None


def read_samples(path: Path) -> list[Sample]:
    """Read a file of JSON lines, each `{"queue": NAME, "body": TEXT or JSON, "group": ID}` (`group` for FIFO queues).

    Raises:
        click.ClickException: the file cannot be read; with file and line, when a line is not such an object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise click.ClickException(f"cannot read the samples in {path}: {reason}") from error
    samples = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            body = entry["body"]
            group = entry.get("group")
            samples.append(
                Sample(
                    str(entry["queue"]),
                    body if isinstance(body, str) else json.dumps(body),
                    None if group is None else str(group),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise click.ClickException(
                f'{path}:{number}: not a sample; write {{"queue": "NAME", "body": ...}} on one line ({error})'
            ) from error
    return samples


async def send_samples(
    samples: Sequence[Sample], queues: Sequence[DevQueue], clients: LocalStackClients, telemetry: Telemetry
) -> None:
    """Send the samples of a file, in order, ten to a call; say which are for a queue that no mapping reads."""
    read = {queue.name for queue in queues}
    for name, messages in Counter(sample.queue for sample in samples if sample.queue not in read).items():
        telemetry.emit(DevTrafficSkipped(queue=name, messages=messages))
    for queue in queues:
        mine = iter([sample for sample in samples if sample.queue == queue.name])
        while chunk := list(islice(mine, 10)):
            await _send(queue, chunk, clients, telemetry)


async def make_up(queues: Sequence[DevQueue], clients: LocalStackClients, telemetry: Telemetry) -> None:
    """Send made-up orders to every queue, for ever; cancel it to stop."""
    numbers = count(1)
    while True:
        for queue in queues:
            fifo = queue.name.endswith(".fifo")
            chunk = [
                Sample(
                    queue.name,
                    json.dumps({"id": n, "type": "order", "amount": n * 7 % 100}),
                    f"customer-{n % 3}" if fifo else None,
                )
                for n in islice(numbers, _MADE_UP_AT_ONCE)
            ]
            await _send(queue, chunk, clients, telemetry)
        await asyncio.sleep(_MADE_UP_PERIOD)


async def _send(queue: DevQueue, samples: Sequence[Sample], clients: LocalStackClients, telemetry: Telemetry) -> None:
    client, _ = await clients.client("sqs", queue.region)
    entries = []
    for number, sample in enumerate(samples):
        entry: dict[str, Any] = {"Id": str(number), "MessageBody": sample.body}
        if queue.name.endswith(".fifo"):
            entry["MessageGroupId"] = sample.group or "default"
        entries.append(entry)
    answer = await client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    if answer.get("Failed"):
        first = answer["Failed"][0]
        raise click.ClickException(f"{queue.name}: a sample was refused: {first.get('Code')}: {first.get('Message')}")
    telemetry.emit(DevTrafficSent(queue=queue.name, messages=len(entries)))
