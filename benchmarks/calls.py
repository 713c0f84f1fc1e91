"""What one frequent call costs a client: its CPU, in blocks of calls that take turns. Ends by itself.

    python -m benchmarks.calls CLIENT[,CLIENT] URL FILE [--blocks N]

| client      | who it is                                                                         | loop             |
|-------------|-----------------------------------------------------------------------------------|------------------|
| floor       | `benchmarks.lean.Blocking`: own signature, blocking socket, the quickest JSON     | none             |
| wire        | the daemon's lean client, as its pollers call it, checks of the answer included   | as for `esmd run`|
| aiobotocore | as it comes                                                                       | asyncio's        |

All make one call after the other, on one connection, and parse each answer: ReceiveMessage of 10, DeleteMessageBatch of 10 and
GetRecords of 100 and of 1,000 records. Several clients in one process take turns, block by block. FILE gets, as JSON, the
microseconds of a call in each block, by client and kind of call.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.fake.spec import ACCOUNT, REGION, queue_name, stream_arn
from benchmarks.floors import RECEIVE, delete_request, iterator_request, loads, read_request
from benchmarks.lean import Blocking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

CALLS = {"receive_us": 60, "delete_us": 60, "read_100_us": 40, "read_1000_us": 10}
"""Calls of each kind in a block."""

MOST_BLOCKS = 60
MESSAGES_NEEDED = MOST_BLOCKS * CALLS["receive_us"] * 10
RECORDS_NEEDED = MOST_BLOCKS * (CALLS["read_100_us"] * 100 + CALLS["read_1000_us"] * 1000)
"""What the fake must hold."""


class Client(Protocol):
    """One who makes the calls."""

    async def receive(self) -> list[Any]:
        """Ten messages."""
        ...

    async def delete(self, messages: list[Any]) -> None:
        """Of one receive."""
        ...

    async def read(self, limit: int) -> int:
        """The next records: how many came."""
        ...


class Floor:
    """The blocking socket. Its calls are coroutines that never wait, so that one loop drives all clients. `open` it."""

    def __init__(self, url: str, shard: str) -> None:
        self._sqs = Blocking(url, "sqs")
        self._kinesis = Blocking(url, "kinesis")
        found = self._kinesis.call("Kinesis_20131202.GetShardIterator", iterator_request(shard))
        self._iterator = loads(found)["ShardIterator"]

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, shard: str) -> AsyncIterator[Floor]:
        yield cls(url, shard)

    async def receive(self) -> list[Any]:
        messages: list[Any] = loads(self._sqs.call("AmazonSQS.ReceiveMessage", RECEIVE))["Messages"]
        return messages

    async def delete(self, messages: list[Any]) -> None:
        loads(self._sqs.call("AmazonSQS.DeleteMessageBatch", delete_request(messages)))

    async def read(self, limit: int) -> int:
        page = loads(self._kinesis.call("Kinesis_20131202.GetRecords", read_request(self._iterator, limit)))
        self._iterator = page["NextShardIterator"]
        return len(page["Records"])


class Wire:
    """The daemon's. `open` it."""

    def __init__(self, sqs: Any, queue: Any, stream: Any, iterator: str) -> None:
        self._sqs = sqs
        self._queue = queue
        self._stream = stream
        self._iterator = iterator

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, shard: str) -> AsyncIterator[Wire]:
        # Imported here: the floor runs where there is no esmd.
        from esmd.pollers.client_choice import ClientChoice  # noqa: PLC0415
        from esmd.pollers.localstack import Connection, LocalStackClients  # noqa: PLC0415
        from esmd.pollers.streams import TRIM_HORIZON  # noqa: PLC0415
        from esmd.pollers.wire_clients import WireClients  # noqa: PLC0415
        from esmd.pollers.wire_sqs import WireSqs  # noqa: PLC0415
        from esmd.pollers.wire_streams import WireKinesis  # noqa: PLC0415

        def connect(_service: str, region: str | None, _url: str | None = None) -> Connection:
            return Connection(endpoint_url=url, region=region, dummy_credentials=True)

        async with (
            LocalStackClients(connect, profile=None, pool=10) as clients,
            WireClients(ClientChoice("wire", say=print), plain=clients.plain, ca_bundle=clients.ca_bundle) as wires,
        ):
            sqs = WireSqs(clients, wires, region=REGION, account_id=ACCOUNT, queue_name=queue_name())
            stream = WireKinesis(clients, wires, stream_arn=stream_arn(), region=REGION)
            yield cls(sqs, await sqs.look_up(), stream, await stream.iterator(shard, TRIM_HORIZON))

    async def receive(self) -> list[Any]:
        return list(await self._sqs.receive(self._queue, most=10, wait=20, visibility_timeout=None))

    async def delete(self, messages: list[Any]) -> None:
        await self._sqs.delete(self._queue, [message["ReceiptHandle"] for message in messages])

    async def read(self, limit: int) -> int:
        page = await self._stream.read(self._iterator, limit)
        self._iterator = page.next_iterator
        return len(page.records)


class Botocore:
    """aiobotocore's, with nothing set. `open` it."""

    def __init__(self, url: str, sqs: Any, kinesis: Any, iterator: str) -> None:
        self._queue = f"{url}/{ACCOUNT}/{queue_name()}"
        self._sqs = sqs
        self._kinesis = kinesis
        self._iterator = iterator

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, shard: str) -> AsyncIterator[Botocore]:
        from aiobotocore.session import get_session  # noqa: PLC0415 - the floor runs where it may be missing

        session: Any = get_session()
        keys = {"region_name": REGION, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
        async with (
            session.create_client("sqs", endpoint_url=url, **keys) as sqs,
            session.create_client("kinesis", endpoint_url=url, **keys) as kinesis,
        ):
            where = {"StreamARN": stream_arn(), "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
            yield cls(url, sqs, kinesis, (await kinesis.get_shard_iterator(**where))["ShardIterator"])

    async def receive(self) -> list[Any]:
        answer = await self._sqs.receive_message(
            QueueUrl=self._queue,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=20,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[Any] = answer["Messages"]
        return messages

    async def delete(self, messages: list[Any]) -> None:
        entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
        await self._sqs.delete_message_batch(QueueUrl=self._queue, Entries=entries)

    async def read(self, limit: int) -> int:
        page = await self._kinesis.get_records(ShardIterator=self._iterator, Limit=limit, StreamARN=stream_arn())
        self._iterator = page["NextShardIterator"]
        return len(page["Records"])


Blocks = dict[str, dict[str, list[float]]]
"""Microseconds of a call in each block, by client and kind of call."""


async def measure(clients: Mapping[str, Client], blocks: int) -> Blocks:
    """Let the clients take turns. The first block of each warms up, and is left out."""
    took: Blocks = {who: {kind: [] for kind in CALLS} for who in clients}
    for number in range(blocks + 1):
        for who, client in clients.items():
            for kind, value in (await _block(client)).items():
                if number:
                    took[who][kind].append(value)
    return took


async def _block(client: Client) -> dict[str, float]:
    received: list[list[Any]] = []

    async def receive() -> None:
        received.append(await client.receive())

    async def delete() -> None:
        await client.delete(received.pop())

    async def read(limit: int) -> None:
        if (came := await client.read(limit)) != limit:
            raise SystemExit(f"{came} records came instead of {limit}")

    kinds: dict[str, Callable[[], Awaitable[None]]] = {
        "receive_us": receive,
        "delete_us": delete,
        "read_100_us": lambda: read(100),
        "read_1000_us": lambda: read(1000),
    }
    took = {}
    for kind, call in kinds.items():
        began = time.process_time()
        for _ in range(CALLS[kind]):
            await call()
        took[kind] = (time.process_time() - began) / CALLS[kind] * 1e6
    return took


CLIENTS = {"floor": Floor, "wire": Wire, "aiobotocore": Botocore}


async def _run(names: list[str], url: str, blocks: int) -> Blocks:
    async with contextlib.AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(CLIENTS[name].open(url, f"shardId-{number:012}"))
            for number, name in enumerate(names)
        }
        return await measure(clients, blocks)


def main() -> None:
    """Measure the clients and write what they took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls")
    parser.add_argument("clients", help=f"one or several of {', '.join(CLIENTS)}, with commas")
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--blocks", type=int, default=16)
    options = parser.parse_args()
    names = options.clients.split(",")
    factory = None
    if "wire" in names:
        from esmd.loop import loop_factory, settle_garbage  # noqa: PLC0415 - the floor runs where there is no esmd

        factory = loop_factory(os.environ)
        settle_garbage()
    elif "floor" in names:  # as the daemon does, or this would be no floor
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=factory) as runner:
        took = runner.run(_run(names, options.url, options.blocks))
    unfinished = options.file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(took))
    unfinished.replace(options.file)


if __name__ == "__main__":
    main()
