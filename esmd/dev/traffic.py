"""Sends sample records: those of a file, or made-up orders."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Literal

import click

from esmd.dev.events import DevTrafficSent, DevTrafficSkipped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from esmd.dev.sources import DevQueue, DevSources
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

_MADE_UP_PERIOD = 2.0
_MADE_UP_AT_ONCE = 5

Kind = Literal["queue", "stream", "table"]
FORM = '{"queue" or "stream" or "table": NAME, "body": TEXT or JSON, "key": TEXT}'


@dataclass(frozen=True, slots=True)
class Sample:
    """A record to send.

    Attributes:
        kind: of the source.
        source: its name.
        body: a queue's message or a stream's data; for a table the item as JSON.
        key: message group of a FIFO queue, partition key of a stream, `id` of an item.
    """

    kind: Kind
    source: str
    body: str
    key: str


def read_samples(path: Path) -> list[Sample]:
    """Read a file of JSON lines, each of the form `FORM`; `key` may be left out.

    Raises:
        click.ClickException: with file and line, when a line is not such an object.
    """
    samples = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise click.ClickException(f"cannot read the samples: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                samples.append(_sample(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise click.ClickException(
                    f"{path}:{number}: not a sample; write {FORM} on one line ({error!r})"
                ) from error
    return samples


def _sample(entry: dict[str, Any]) -> Sample:
    kinds: list[Kind] = [kind for kind in ("queue", "stream", "table") if kind in entry]
    if len(kinds) != 1:
        raise ValueError("it must name one queue, stream or table")
    [kind] = kinds
    body = entry["body"]
    if kind == "table" and not isinstance(body, dict):
        raise ValueError("an item is an object")
    return Sample(
        kind, str(entry[kind]), body if isinstance(body, str) else json.dumps(body), str(entry.get("key", "default"))
    )


async def send_samples(
    samples: Sequence[Sample], sources: DevSources, clients: LocalStackClients, telemetry: Telemetry
) -> None:
    """Send the samples of a file, each source's in order; say which are for a source that no mapping reads."""
    read = {
        *(("queue", queue.name) for queue in sources.queues),
        *(("stream", name) for name, _ in sources.streams),
        *(("table", name) for name, _ in sources.tables),
    }
    for (kind, name), records in Counter((s.kind, s.source) for s in samples if (s.kind, s.source) not in read).items():
        telemetry.emit(DevTrafficSkipped(kind=kind, source=name, records=records))
    for queue in sources.queues:
        mine = iter([s for s in samples if s.kind == "queue" and s.source == queue.name])
        while chunk := list(islice(mine, 10)):
            await _to_queue(queue, chunk, clients, telemetry)
    for name, region in sources.streams:
        await _to_stream(
            name, region, [s for s in samples if (s.kind, s.source) == ("stream", name)], clients, telemetry
        )
    for name, region in sources.tables:
        await _to_table(name, region, [s for s in samples if (s.kind, s.source) == ("table", name)], clients, telemetry)


async def make_up(sources: DevSources, clients: LocalStackClients, telemetry: Telemetry) -> None:
    """Send made-up orders everywhere, for ever; cancel it to stop."""
    numbers = count(1)
    while True:
        orders = list(islice(numbers, _MADE_UP_AT_ONCE))
        for queue in sources.queues:
            await _to_queue(queue, [_order("queue", queue.name, n) for n in orders], clients, telemetry)
        for name, region in sources.streams:
            await _to_stream(name, region, [_order("stream", name, n) for n in orders], clients, telemetry)
        for name, region in sources.tables:
            await _to_table(name, region, [_order("table", name, n) for n in orders], clients, telemetry)
        await asyncio.sleep(_MADE_UP_PERIOD)


def _order(kind: Kind, source: str, number: int) -> Sample:
    body = {"id": f"order-{number}", "type": "order", "amount": number * 7 % 100}
    return Sample(kind, source, json.dumps(body), f"customer-{number % 3}")


async def _to_queue(
    queue: DevQueue, samples: Sequence[Sample], clients: LocalStackClients, telemetry: Telemetry
) -> None:
    client, _ = await clients.client("sqs", queue.region)
    fifo = queue.name.endswith(".fifo")
    entries = [
        {"Id": str(number), "MessageBody": sample.body, **({"MessageGroupId": sample.key} if fifo else {})}
        for number, sample in enumerate(samples)
    ]
    answer = await client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    if answer.get("Failed"):
        first = answer["Failed"][0]
        raise click.ClickException(f"{queue.name}: a sample was refused: {first.get('Code')}: {first.get('Message')}")
    telemetry.emit(DevTrafficSent(source=queue.name, records=len(entries)))


async def _to_stream(
    name: str, region: str, samples: Sequence[Sample], clients: LocalStackClients, telemetry: Telemetry
) -> None:
    if not samples:
        return
    client, _ = await clients.client("kinesis", region)
    for sample in samples:
        await client.put_record(StreamName=name, Data=sample.body.encode(), PartitionKey=sample.key)
    telemetry.emit(DevTrafficSent(source=name, records=len(samples)))


async def _to_table(
    name: str, region: str, samples: Sequence[Sample], clients: LocalStackClients, telemetry: Telemetry
) -> None:
    if not samples:
        return
    client, _ = await clients.client("dynamodb", region)
    for sample in samples:
        item = {"id": {"S": sample.key}} | {k: _attribute(v) for k, v in json.loads(sample.body).items()}
        await client.put_item(TableName=name, Item=item)
    telemetry.emit(DevTrafficSent(source=name, records=len(samples)))


def _attribute(value: Any) -> dict[str, Any]:
    """A JSON value as a DynamoDB attribute."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float):
        return {"N": json.dumps(value)}
    return {"S": value if isinstance(value, str) else json.dumps(value)}
