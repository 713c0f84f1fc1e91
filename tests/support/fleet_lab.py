"""Several processes on one stream, under virtual time: runners that share a book, as if each were in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.mappings.policy import RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM, PolicyOptions
from esmd.pollers.streams import LATEST, TRIM_HORIZON
from esmd.processes.desk import Desk
from esmd.processes.messages import Request
from esmd.state.memory import MemoryStateStore
from esmd.streams.bookreader import BookReader
from esmd.streams.runner import StreamRunner
from esmd.streams.settings import StreamSettings, Surroundings
from esmd.testing.fake_streams import EngineStream
from esmd.testing.stream_engine import StreamEngine
from esmd.trouble import Trouble

from support.functions import function_of
from support.mapping_lab import Collector, ScriptedInvoker
from support.stream_lab import data_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from esmd.observe.events import Event
    from esmd.state.protocol import ShardProgress, StreamIdentity

NAME = "events"


class DeskStore:
    """The store as a child sees it: saves go through the desk."""

    def __init__(self, desk: Desk, process: int) -> None:
        self._desk = desk
        self._process = process

    async def save(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        await self._desk.serve(self._process, Request(0, "save", (mapping, identity, *progress), {}))


@dataclass
class Process:
    """One runner at work."""

    task: asyncio.Task[None]
    runner: StreamRunner
    book: BookReader
    stop: asyncio.Event
    collector: Collector


@dataclass
class FleetLab:
    """The stream, and what the processes did. `delivered` has the data by key, in order; `readers` who had each shard."""

    engine: StreamEngine
    arn: str
    store: Any
    settings: StreamSettings
    duration: float
    count: int
    processes: dict[int, Process] = field(default_factory=dict)
    delivered: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    readers: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    busy: dict[str, int] = field(default_factory=dict)
    said: list[tuple[int, Event]] = field(default_factory=list)
    collector: Collector = field(default_factory=Collector)

    def open(self) -> None:
        """Make the desk, as a parent that starts."""
        readers = {NAME: range(self.count)}
        self.desk = Desk(self.store, readers=readers, wake=self._wake, telemetry=self.collector)
        self.desk.expect(range(self.count))

    def _wake(self, _mapping: str, process: int) -> None:
        if (there := self.processes.get(process)) is not None:
            there.book.changed.set()

    def start(self, number: int) -> None:
        """Start a process, or its successor."""

        async def call(method: str, identity: StreamIdentity, /, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0)
            request = Request(0, f"book.{method}", (NAME, identity, *arguments), options)
            return await self.desk.serve(number, request)

        async def handler(records: list[Mapping[str, Any]]) -> None:
            shard = records[0]["eventID"].partition(":")[0]
            assert self.busy.setdefault(shard, number) == number, f"{shard} has two readers"
            try:
                await asyncio.sleep(self.duration)
                for record in records:
                    self.delivered[record["kinesis"]["partitionKey"]].append(data_of(record))
            finally:
                self.busy.pop(shard, None)

        collector = Collector()
        listen = collector.emit

        def emit(event: Event) -> None:
            listen(event)
            self.said.append((number, event))
            if type(event).__name__ == "ShardStarted":
                self.readers[event.shard].append(number)

        collector.emit = emit  # type: ignore[method-assign]
        stop, book = asyncio.Event(), BookReader(call)
        runner = StreamRunner(
            Surroundings(
                settings=self.settings,
                api=EngineStream(self.engine, self.arn),
                function=function_of(ScriptedInvoker(handler), telemetry=collector),
                record_filter=None,
                destination=None,
                store=DeskStore(self.desk, number),  # type: ignore[arg-type]
                telemetry=collector,
                trouble=Trouble(NAME, collector),
                stop=stop,
                book=book,
                wall=self.engine.now,
            )
        )
        self.processes[number] = Process(asyncio.create_task(runner.run()), runner, book, stop, collector)

    async def kill(self, number: int, *, expected: bool = False) -> None:
        """End a process as a kill would. `expected`: its successor is starting already."""
        process = self.processes.pop(number)
        process.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await process.task
        self.desk.expect([number] if expected else [])
        self.desk.leave(number)

    def pollers(self) -> list[int]:
        """How many shards each process reads."""
        return [process.runner.pollers for _, process in sorted(self.processes.items())]

    def put(self, count: int, *, keys: int = 8) -> None:
        """Write numbered records to every key."""
        for key in (f"key-{n}" for n in range(keys)):
            for _ in range(count):
                self.engine.put(NAME, key, str(self.written[key]).encode())
                self.written[key] += 1

    written: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def assert_all_delivered_in_order(self, *, once: bool = True) -> None:
        """Every record of every key, in the order it was written; `once`, or again after a kill."""
        for key, count in self.written.items():
            found = self.delivered[key] if once else list(dict.fromkeys(self.delivered[key]))
            assert found == [str(n) for n in range(count)], key

    async def end(self) -> None:
        """Drain all."""
        for process in self.processes.values():
            process.stop.set()
        for process in self.processes.values():
            await process.task


@contextlib.asynccontextmanager
async def fleet(
    count: int,
    *,
    shards: int = 4,
    start: str = "TRIM_HORIZON",
    duration: float = 0.0,
    store: Any = None,
    **changes: Any,
) -> AsyncIterator[FleetLab]:
    """So many processes on a stream of so many shards; all are started."""
    engine = StreamEngine()
    arn = engine.create_stream(NAME, shards=shards, retention=86400.0)
    values: dict[str, Any] = {
        "name": NAME,
        "mapping_id": "0",
        "source": "kinesis",
        "stream_arn": arn,
        "region": "us-east-1",
        "function_arn": "arn:aws:lambda:us-east-1:000000000000:function:process",
        "role_arn": "arn:aws:iam::000000000000:role/lambda-role",
        "start": {"TRIM_HORIZON": TRIM_HORIZON, "LATEST": LATEST}[start],
        "batch_size": 5,
        "window": 0,
        "parallelization_factor": 1,
        "policy": PolicyOptions(
            maximum_retry_attempts=-1,
            maximum_record_age=-1,
            bisect=False,
            report_batch_item_failures=False,
            retry_backoff_initial=RETRY_BACKOFF_INITIAL,
            retry_backoff_maximum=RETRY_BACKOFF_MAXIMUM,
        ),
        "tumbling_window": 0,
        "on_destination_failure": "block",
        "payload_as_object": False,
        "read_limit": 1000,
        "idle_interval": 0.2,
        "least_interval": 0.01,
        "full_interval": 0.01,
        "discovery_interval": 60.0,
        "log_payloads": False,
    }
    lab = FleetLab(
        engine=engine,
        arn=arn,
        store=store or MemoryStateStore(),
        settings=StreamSettings(**(values | changes)),
        duration=duration,
        count=count,
    )
    lab.open()
    for number in range(count):
        lab.start(number)
    try:
        yield lab
        await lab.end()
    finally:
        for process in lab.processes.values():
            process.task.cancel()
        await asyncio.gather(*(process.task for process in lab.processes.values()), return_exceptions=True)
