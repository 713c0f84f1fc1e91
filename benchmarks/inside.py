"""The daemon's own cost: everything but the AWS client, in this process, against answers that are already parsed.

    python -m benchmarks.inside sqs            microseconds of CPU per message
    python -m benchmarks.inside kinesis --batch-size 1000

The answers come from a stand-in for aiobotocore's clients, which hands out what such a client returns. What is measured is
from there to the handler and back: event, batch, invocation, rules, deletes or checkpoints, metrics.
`benchmarks.hotspots` shows where it goes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.configuration import Setup
from benchmarks.fake.spec import FakeSpec
from benchmarks.tally import VARIABLE, Tally
from esmd.assembly import Assembly, RunOptions
from esmd.config.loader import load
from esmd.daemon import DaemonOptions
from esmd.loop import loop_factory
from esmd.observe import logging
from esmd.observe.statistics import Statistics
from esmd.observe.telemetry import Broadcast
from esmd.shutdown import Shutdown
from esmd.state.sqlite import SqliteStateStore

_PATIENCE = 60.0
"""Seconds."""


class _Clients:
    """Stands for `LocalStackClients`."""

    ca_bundle = None

    def __init__(self, total: int, rendered: list[dict[str, Any]]) -> None:
        self._client = _Client(total, rendered)

    async def client(self, service: str, region: str | None, **_: Any) -> tuple[_Client, Any]:  # noqa: ARG002
        return self._client, argparse.Namespace(endpoint_url="http://127.0.0.1:1")

    def plain(self, service: str, region: str | None) -> None:
        """Everything is asked of the stand-in for aiobotocore."""

    def close_first(self, _: Any) -> None:
        """There is nothing to close."""


class _Client:
    """Stands for a client of aiobotocore, of SQS and of Kinesis at once."""

    meta = argparse.Namespace(service_model=argparse.Namespace(service_name="any"), endpoint_url="http://127.0.0.1:1")

    def __init__(self, total: int, rendered: list[dict[str, Any]]) -> None:
        self._total = total
        self._rendered = rendered
        self._numbered = "SequenceNumber" if "SequenceNumber" in rendered[0] else "ReceiptHandle"
        self._next = 0
        self.left = total
        self.own = 0.0
        """CPU seconds that the stand-in itself took: not the daemon's."""

    async def get_queue_url(self, **_: Any) -> dict[str, Any]:
        return {"QueueUrl": "http://127.0.0.1:1/000000000000/q0000"}

    async def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"VisibilityTimeout": "300"}}

    async def receive_message(self, **request: Any) -> dict[str, Any]:
        await asyncio.sleep(0)  # an answer never comes in the same turn of the loop
        if (messages := self._take(request["MaxNumberOfMessages"])) is None:
            await asyncio.sleep(request["WaitTimeSeconds"])
        return {"Messages": messages or []}

    async def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}

    async def describe_stream_summary(self, **_: Any) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1.7e9}}

    async def list_shards(self, **_: Any) -> dict[str, Any]:
        return {"Shards": [{"ShardId": "shardId-000000000000"}]}

    async def get_shard_iterator(self, **_: Any) -> dict[str, Any]:
        return {"ShardIterator": "first"}

    async def get_records(self, **request: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        records = self._take(request["Limit"]) or []
        return {"Records": records, "NextShardIterator": "next", "MillisBehindLatest": 1 if self.left else 0}

    def _take(self, most: int) -> list[dict[str, Any]] | None:
        """The next messages or records, each with its own number, as if they had just been parsed."""
        began = time.thread_time()
        most = min(most, self.left)
        patterns, first = self._rendered, self._next
        taken = [
            {**patterns[number % len(patterns)], self._numbered: f"49{number:042}"}
            for number in range(first, first + most)
        ]
        self._next += most
        self.left -= most
        self.own += time.thread_time() - began
        return taken or None


def rendered(kind: str, count: int) -> list[dict[str, Any]]:
    """`count` messages or records as a client returns them."""
    with tempfile.TemporaryDirectory() as name:
        FakeSpec(body=1000 if kind == "sqs" else 100).write(Path(name))
        line = (Path(name) / ("messages" if kind == "sqs" else "records")).read_text().splitlines()[0]
    line = line.replace("\x02", "0000").replace("\x03", "0001").replace("\x05", "1700000000000")
    return [json.loads(line.replace("\x01", f"{number:012}")) for number in range(count)]


async def measure(setup: Setup, total: int) -> float:
    """CPU seconds per message, from the first fifth on."""

    with tempfile.TemporaryDirectory() as name, (Path(name) / "log").open("w") as log:
        folder = Path(name)
        environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "HOME": name}
        os.environ[VARIABLE] = str(folder / "tally")
        tally = Tally(folder / "tally")
        loaded = load([setup.write(folder, tally=folder / "tally")], environ=environ)
        if loaded.config is None:
            raise SystemExit("\n".join(map(str, loaded.diagnostics)))
        statistics = Statistics()
        clients: Any = _Clients(total, rendered(setup.kind, 1_000))
        shutdown = Shutdown()
        store = await SqliteStateStore.open(folder / "state.db")
        assembly = Assembly(
            loaded.config,
            options=RunOptions(
                daemon=DaemonOptions(grace=10, exit_when_idle=None, fail_fast=True, stats_period=60),
                only=frozenset(),
                longest_poll=1,
                log_payloads=False,
            ),
            clients=clients,
            environ=environ,
            store=store,
            telemetry=Broadcast(logging.configure(log_format="json", level="info", stream=log), statistics),
            statistics=statistics,
            shutdown=shutdown,
        )
        mappings = assembly.mappings()
        await mappings.begin()
        running = asyncio.create_task(assembly.daemon(mappings).run())
        await _until(tally, total // 5, running, folder / "log")
        client, _ = await clients.client("", None)
        began, before = time.process_time() - client.own, tally.total
        if before == total:
            raise SystemExit(f"{total} are too few: they were done before their measure began")
        await _until(tally, total, running, folder / "log")
        cost: float = (time.process_time() - client.own - began) / (tally.total - before)
        shutdown.request("done")
        await running
        await store.close()
        tally.close()
    return cost


async def _until(tally: Tally, count: int, running: asyncio.Task[Any], log: Path) -> None:
    """Wait until so many are done; the daemon must not end, or stand still, before that."""
    deadline = time.monotonic() + _PATIENCE
    while tally.total < count:
        if running.done() or time.monotonic() > deadline:
            raise SystemExit(f"the daemon got no further than {tally.total} of {count}:\n{_end_of(log)}")
        await asyncio.sleep(0.005)


def _end_of(log: Path) -> str:
    return log.read_text()[-3000:]


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inside", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=("sqs", "kinesis"))
    parser.add_argument("--total", type=int, default=200_000, help="messages or records")
    parser.add_argument("--batch-size", type=int, help="by default 10 (sqs) or 100 (kinesis)")
    options = parser.parse_args()
    batch_size = options.batch_size or (10 if options.kind == "sqs" else 100)
    setup = Setup(kind=options.kind, batch_size=batch_size, client="botocore")
    with asyncio.Runner(loop_factory=loop_factory(os.environ)) as runner:
        cost = runner.run(measure(setup, options.total)) * 1e6
    print(f"{options.kind}, batches of {batch_size}: {cost:.2f} us a message, {cost * batch_size:.0f} us a batch")


if __name__ == "__main__":
    main()
