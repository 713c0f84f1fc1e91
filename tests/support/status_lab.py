"""A daemon to look at that does not run: a control side of values, runners of numbers, and a snapshot full of trouble."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from esmd.api import metrics, page, status_routes
from esmd.control.protocol import Entry
from esmd.daemon import About
from esmd.pollers.sqs import Depth
from esmd.status.model import (
    Backlog,
    BlockedStatus,
    DaemonStatus,
    Failure,
    FunctionStatus,
    LastError,
    Line,
    MappingStatus,
    Pace,
    Rates,
    ShardStatus,
    Snapshot,
    Totals,
)
from esmd.status.source import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_700_000_000.0
HOSTILE = "<script>alert('x')</script>\"&"


def entry(name: str, *, source: str = "sqs", function: str = "process", **changes: Any) -> Entry:
    arn = f"arn:aws:{source}:us-east-1:000000000000:{name}"
    values: dict[str, Any] = {
        "name": name,
        "uuid": uuid5(NAMESPACE_URL, name),
        "mapping": SimpleNamespace(source=source, event_source_arn=arn, function_name=function),
        "origin": "file",
        "file": None,
        "state": "Enabled",
        "paused": False,
        "trouble": None,
        "last_modified": NOW,
        "last_result": "OK",
        "function_arn": f"arn:aws:lambda:us-east-1:000000000000:function:{function}",
        "tags": {},
    }
    return Entry(**values | changes)


@dataclass
class FakeQueueRunner:
    """A runner of an SQS mapping. `depth` is what the queue says; None hangs."""

    depth: Depth | Exception | None = None
    in_flight: int = 2
    pollers: int = 1
    concurrency: int = 5
    asked: int = 0

    async def backlog(self) -> Depth | None:
        self.asked += 1
        if self.depth is None:
            await asyncio.Event().wait()
        if isinstance(self.depth, Exception):
            raise self.depth
        return self.depth


@dataclass
class SlowQueueRunner:
    """A runner of an SQS mapping whose queue answers after so many seconds."""

    seconds: float
    in_flight: int = 0
    pollers: int = 1
    concurrency: int = 1

    async def backlog(self) -> Depth | None:
        await asyncio.sleep(self.seconds)
        return Depth(visible=1, not_visible=0, delayed=0)


@dataclass
class FakeStreamRunner:
    shards: list[Any] = field(default_factory=list)
    in_flight: int = 1
    pollers: int = 1
    concurrency: int = 1


@dataclass
class FakeControl:
    """As much of `Control` as a status looks at."""

    mappings: list[Entry]
    runners: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, Any] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        return list(self.mappings)

    def runner(self, name: str) -> Any:
        return self.runners.get(name)


def process(*, endpoint: str = "http://127.0.0.1:4566", draining: bool = False) -> Process:
    about = About(files=("esmd.yaml",), endpoint=endpoint, region="us-east-1")
    return Process(about=about, started_at=NOW - 3_725, draining=lambda: draining)


@dataclass(frozen=True)
class FixedStatus:
    """A source of one snapshot."""

    value: Snapshot
    reasons: dict[str, str] = field(default_factory=dict)
    strict_reasons: dict[str, str] = field(default_factory=dict)

    def unready(self, *, strict: bool) -> dict[str, str]:
        return self.reasons | (self.strict_reasons if strict else {})

    async def snapshot(self) -> Snapshot:
        return self.value


@asynccontextmanager
async def api(*, status=None, token=None):
    config = SimpleNamespace(api=SimpleNamespace(token=token))
    parts = SimpleNamespace(status=status or FixedStatus(snapshot()), config=config)
    app = web.Application()
    for module in (status_routes, metrics, page):
        app.add_routes(module.routes(parts))
    async with TestClient(TestServer(app)) as client:
        yield client


def _mapping(name: str, **changes: Any) -> MappingStatus:
    values: dict[str, Any] = {
        "name": name,
        "uuid": str(uuid5(NAMESPACE_URL, name)),
        "source": "sqs",
        "source_arn": f"arn:aws:sqs:us-east-1:000000000000:{name}",
        "function": "process",
        "origin": "file",
        "file": "esmd.yaml",
        "state": "Enabled",
        "paused": False,
        "reason": None,
        "last_result": "OK",
        "last_error": None,
        "in_flight": 3,
        "pollers": 2,
        "concurrency": 5,
        "totals": Totals(
            received=120_345, filtered=45, invoked=120_400, failed=112, deleted=120_188, batches=12_050, retries=9
        ),
        "pace": Pace(
            last_10_s=Rates(received=153.2, invoked=151.0, failed=0.4, deleted=150.6),
            last_60_s=Rates(received=140.0, invoked=140.1, failed=0.2, deleted=139.9),
            invoked=tuple(100 + (37 * n) % 83 for n in range(60)),
            failed=tuple(int(n % 17 == 0) * 3 for n in range(60)),
        ),
        "backlog": Backlog(visible=1_532, not_visible=30, delayed=4),
        "shards": (),
        "iterator_age_ms": None,
    }
    return MappingStatus(**values | changes)


def _shard(number: int, **changes: Any) -> ShardStatus:
    values: dict[str, Any] = {
        "shard": f"shardId-{number:012}",
        "position": f"AFTER 4961234567890{number}",
        "outstanding": 0,
        "in_flight": 0,
        "caught_up": True,
        "millis_behind_latest": 0,
        "iterator_age_ms": 84.0,
        "blocked": None,
    }
    return ShardStatus(**values | changes)


BLOCKED = BlockedStatus(
    error_type="ValueError",
    error_message="order 17 has no <customer>",
    attempts=7,
    records=4,
    first_sequence_number="49612345678901",
    last_sequence_number="49612345678904",
    since=NOW - 400,
    expires_at=NOW + 86_000,
    retry_at=NOW + 12.5,
)


def snapshot(*, hostile: bool = False) -> Snapshot:
    """Something of everything; `hostile` puts HTML wherever somebody else chooses the text."""
    evil = HOSTILE if hostile else ""
    idle = Pace(last_10_s=Rates(), last_60_s=Rates(), invoked=(0,) * 60, failed=(0,) * 60)
    mappings = (
        _mapping("orders" + evil),
        _mapping(
            "payments" + evil,
            source="kinesis",
            source_arn="arn:aws:kinesis:us-east-1:000000000000:stream/payments",
            function="charge" + evil,
            backlog=None,
            totals=Totals(received=9_120, invoked=9_300, failed=180, discarded=4, dropped=1, batches=930, retries=6),
            pace=Pace(
                last_10_s=Rates(received=12.0, invoked=13.0, failed=1.5),
                last_60_s=Rates(received=11.0, invoked=12.1, failed=1.1),
                invoked=tuple((n * 7) % 19 for n in range(60)),
                failed=tuple((n * 5) % 4 for n in range(60)),
            ),
            shards=(
                _shard(0, millis_behind_latest=90_000, iterator_age_ms=91_200.0, caught_up=False, in_flight=1)
                if not hostile
                else _shard(0, shard="shard" + evil),
                _shard(1, blocked=replace(BLOCKED, error_message=evil or BLOCKED.error_message), outstanding=40),
                _shard(2),
            ),
            iterator_age_ms=91_200.0,
            last_result="PROBLEM: Function call failed",
            last_error=LastError(error_type="ValueError", error_message="boom" + evil, at=NOW - 3),
        ),
        _mapping(
            "reports",
            state="Enabled",
            reason="AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist." + evil,
            in_flight=0,
            pollers=0,
            concurrency=0,
            totals=Totals(),
            pace=idle,
            backlog=Backlog(reason="the queue has not been found"),
            last_error=LastError(error_type="NonExistentQueue", error_message="no queue", at=NOW - 60),
        ),
        _mapping("archive", state="Disabled", paused=True, in_flight=0, pollers=0, totals=Totals(), pace=idle),
    )
    functions = (
        _function("process", limit=5, busy=3, environments=4),
        _function("charge" + evil, limit=10, busy=1, environments=2, errors=18),
    )
    failures = (
        Failure(
            at=NOW - 3,
            event="batch.failed",
            level="warning",
            mapping="payments" + evil,
            function="charge" + evil,
            fields={
                "mapping": "payments",
                "shard": "shardId-000000000001",
                "request_id": "c0ffee00-0000-4000-8000-000000000001",
                "records": 4,
                "attempt": 7,
                "error_type": "ValueError",
                "error_message": "order 17 has no <customer>" + evil,
                "next": "retry",
            },
            lines=(
                Line(at=NOW - 3.2, stream="stdout", message="charging order 16" + evil),
                Line(at=NOW - 3.1, stream="stderr", message="Traceback (most recent call last):"),
                Line(at=NOW - 3.1, stream="stderr", message="  ValueError: order 17 has no <customer>"),
            ),
        ),
        Failure(
            at=NOW - 60,
            event="mapping.unavailable",
            level="error",
            mapping="reports",
            function=None,
            fields={
                "mapping": "reports",
                "error_type": "NonExistentQueue",
                "error_message": "The specified queue does not exist.",
                "failures": 4,
                "retry_in_s": 4.0,
            },
            lines=(),
        ),
    )
    daemon = DaemonStatus(
        version="0.1.0",
        pid=4321,
        started_at=NOW - 93_725,
        uptime_s=93_725.0,
        files=("esmd.yaml" + evil,),
        endpoint="http://127.0.0.1:4566",
        region="us-east-1",
        processes=1,
        missing=(),
        draining=False,
    )
    return Snapshot(at=NOW, daemon=daemon, mappings=mappings, functions=functions, failures=failures)


def _function(name: str, **changes: Any) -> FunctionStatus:
    values: dict[str, Any] = {
        "name": name,
        "limit": 1,
        "busy": 0,
        "environments": None,
        "invocations": 12_050,
        "errors": 3,
        "throttles": 1,
        "duration_sum_ms": 361_500.0,
        "duration_max_ms": 912.0,
        "concurrency_max": 5,
    }
    return FunctionStatus(**values | changes)


@contextmanager
def serving(folder: Path, *answers: Snapshot) -> Iterator[str]:
    """The path of a Unix socket on which a thread answers with one snapshot after the other, the last again and again."""
    path = str(folder / "esmd.sock")
    left = list(answers)
    stop, ready = threading.Event(), threading.Event()

    class Each:
        async def snapshot(self) -> Snapshot:
            return left.pop(0) if len(left) > 1 else left[0]

    async def serve() -> None:
        app = web.Application()
        app.add_routes(status_routes.routes(SimpleNamespace(status=Each())))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, path).start()
        ready.set()
        await asyncio.to_thread(stop.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield path
    finally:
        stop.set()
        thread.join(10)
