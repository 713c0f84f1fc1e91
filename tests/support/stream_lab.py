"""A whole stream mapping in memory, under virtual time: engine, runner, store, and a handler that tests script."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from esmd.mappings.destinations import parse_destination
from esmd.mappings.filters import compile_filters
from esmd.mappings.policy import RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM, PolicyOptions
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.streams import LATEST, TRIM_HORIZON, Seek
from esmd.state.memory import MemoryStateStore
from esmd.streams.runner import StreamRunner
from esmd.streams.settings import StreamSettings, Surroundings
from esmd.testing.fake_streams import EngineStream
from esmd.testing.stream_engine import StreamEngine
from esmd.trouble import Trouble

from support.functions import function_of
from support.mapping_lab import Collector, ScriptedInvoker, invoker_kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from esmd.destinations.base import FailureMessage
    from esmd.observe.events import Event

START = {"TRIM_HORIZON": TRIM_HORIZON, "LATEST": LATEST}


class MemoryDestination:
    """Takes failure records; `failing` is how many more it refuses."""

    def __init__(self) -> None:
        self.arn = parse_destination("arn:aws:sqs:us-east-1:000000000000:failures")
        self.taken: list[FailureMessage] = []
        self.failing = 0

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(message.body) for message in self.taken]

    async def check(self) -> None:
        return None

    async def send(self, message: FailureMessage) -> None:
        if self.failing:
            self.failing -= 1
            raise SourceError(Failure(Kind.BACK_OFF, "ServiceUnavailable", "try later"))
        self.taken.append(message)


@dataclass
class StreamLab:
    """One running mapping. `said` is every event it emitted, over all its lives."""

    engine: StreamEngine
    name: str
    store: MemoryStateStore
    invoker: ScriptedInvoker
    destination: MemoryDestination
    settings: StreamSettings
    filters: Sequence[str]
    with_destination: bool
    said: list[Event]
    collector: Collector

    def start(self) -> None:
        """Start a runner, as a process that begins would."""
        self.stop = asyncio.Event()
        self.runner = StreamRunner(
            Surroundings(
                settings=self.settings,
                api=EngineStream(self.engine, self.settings.stream_arn),
                function=function_of(self.invoker, telemetry=self.collector),
                record_filter=compile_filters(self.filters, source=self.settings.source) if self.filters else None,
                destination=self.destination if self.with_destination else None,
                store=self.store,
                telemetry=self.collector,
                trouble=Trouble(self.settings.name, self.collector),
                stop=self.stop,
                wall=self.engine.now,
            )
        )
        self.task = asyncio.create_task(self.runner.run())

    async def drain(self) -> None:
        self.stop.set()
        await self.task

    async def kill(self) -> None:
        """End it as a kill would: nothing gets to finish."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    def put(self, *bodies: str, key: str = "k") -> None:
        for body in bodies:
            self.engine.put(self.name, key, body.encode())

    def heard(self, kind: type) -> list[Any]:
        return [event for event in self.said if isinstance(event, kind)]

    @property
    def batches(self) -> list[list[str]]:
        """The data of the records of each invocation."""
        return [[data_of(record) for record in records] for records in self.invoker.events]

    @property
    def delivered(self) -> list[str]:
        return [body for batch in self.batches for body in batch]


def data_of(record: dict[str, Any]) -> str:
    return base64.b64decode(record["kinesis"]["data"]).decode()


def stream_settings(
    arn: str,
    *,
    kind: str = "kinesis",
    start: str | Seek = "TRIM_HORIZON",
    retries: int = -1,
    age: float = -1,
    bisect: bool = False,
    report: bool = False,
    backoff: tuple[float, float] = (RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM),
    **changes: Any,
) -> StreamSettings:
    """Settings of a mapping of the stream; `changes` by the names of their fields."""
    values: dict[str, Any] = {
        "name": "events",
        "mapping_id": str(uuid5(NAMESPACE_URL, "events")),
        "source": kind,
        "stream_arn": arn,
        "region": "us-east-1",
        "function_arn": "arn:aws:lambda:us-east-1:000000000000:function:process",
        "role_arn": "arn:aws:iam::000000000000:role/lambda-role",
        "start": START[start] if isinstance(start, str) else start,
        "batch_size": 100,
        "window": 0,
        "parallelization_factor": 1,
        "policy": PolicyOptions(
            maximum_retry_attempts=retries,
            maximum_record_age=age,
            bisect=bisect,
            report_batch_item_failures=report,
            retry_backoff_initial=backoff[0],
            retry_backoff_maximum=backoff[1],
        ),
        "tumbling_window": 0,
        "on_destination_failure": "block",
        "payload_as_object": False,
        "read_limit": 1000,
        "idle_interval": 1.0,
        "least_interval": 0.2,
        "full_interval": 0.2,
        "discovery_interval": 60.0,
        "log_payloads": False,
    }
    return StreamSettings(**(values | changes))


@contextlib.asynccontextmanager
async def stream_mapping(
    handler: Any = lambda records: None,
    *,
    kind: str = "kinesis",
    shards: int = 1,
    engine: StreamEngine | None = None,
    filters: Sequence[str] = (),
    destination: bool = False,
    duration: float = 0.0,
    limit: int = 1000,
    start: str | Seek = "TRIM_HORIZON",
    retries: int = -1,
    age: float = -1,
    bisect: bool = False,
    report: bool = False,
    backoff: tuple[float, float] = (RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM),
    retention: float = 86400.0,
    started: bool = True,
    create: bool = True,
    whole_events: bool = False,
    **changes: Any,
) -> AsyncIterator[StreamLab]:
    engine = engine or StreamEngine()
    if not create:
        arn = engine.arn("events")
    elif kind == "kinesis":
        arn = engine.create_stream("events", shards=shards, retention=retention)
    else:
        arn = engine.create_table("events", shards=shards)
    chosen = stream_settings(
        arn,
        kind=kind,
        start=start,
        retries=retries,
        age=age,
        bisect=bisect,
        report=report,
        backoff=backoff,
        **changes,
    )
    collector = Collector()
    lab = StreamLab(
        engine=engine,
        name="events",
        store=MemoryStateStore(),
        invoker=invoker_kind()(handler, limit=limit, duration=duration, whole_events=whole_events),
        destination=MemoryDestination(),
        settings=chosen,
        filters=filters,
        with_destination=destination,
        said=collector.said,
        collector=collector,
    )
    if started:
        lab.start()
    try:
        yield lab
        if hasattr(lab, "task") and not lab.task.done():
            await lab.drain()
    finally:
        if hasattr(lab, "task"):
            await lab.kill()
