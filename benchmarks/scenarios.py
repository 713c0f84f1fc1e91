"""The scenarios: who is measured against what, and what is compared. The first row of each is what the others are compared with.

A row's ratio says how many times worse than the first row it is: more CPU, fewer messages, later. Below 1 it is better.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from benchmarks import localstack, moments
from benchmarks.calls import MESSAGES_NEEDED, RECORDS_NEEDED
from benchmarks.configuration import Setup
from benchmarks.fake.spec import FakeSpec
from benchmarks.subjects import caller, daemon, floor, loop, sqs_consumer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.moments import Figures
    from benchmarks.subjects import Subject

_PLENTY = 4_000_000
"""Messages that nobody gets through in a window."""

QUEUE = FakeSpec(messages=_PLENTY)
SLOW_QUEUE = FakeSpec(messages=_PLENTY, latency=0.005)
SHARD = FakeSpec(shards=1, records=50_000_000, body=100)
CALLED = FakeSpec(messages=MESSAGES_NEEDED, shards=2, records=RECORDS_NEEDED, data=100)
PACED = FakeSpec(messages=100_000, rate=100, start_after=0.5, stamped=True)
PACED_SHARD = FakeSpec(shards=1, records=100_000, rate=100, start_after=0.5, stamped=True)

_PAGES = ("--batch-size", "1000")


@dataclass(frozen=True, slots=True)
class Row:
    """One who is measured in a scenario, and against what."""

    subject: Subject
    spec: FakeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A table.

    Attributes:
        name: for `--only`.
        title: what the table shows.
        rows: the first is the one that the others are compared with.
        measure: runs one row once.
        compared: the figures whose ratios are shown; the first is the one that matters most.
        rounds: at most; what takes long is not repeated as often.
        missing: why it cannot run; empty if it can.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    measure: Callable[[Subject, FakeSpec], Figures] = moments.throughput
    compared: tuple[str, ...] = ("us",)
    rounds: int = 99
    missing: str = ""
    shown: tuple[str, ...] = field(default=("us", "all_us", "rate", "server"))


def _rows(spec: FakeSpec, *subjects: Subject) -> tuple[Row, ...]:
    return tuple(Row(subject, spec) for subject in subjects)


def _kinesis(name: str, spec: FakeSpec, **more: int | Literal["worker"]) -> Row:
    setup = Setup(kind="kinesis", **{"batch_size": 100, **more})  # type: ignore[arg-type]
    return Row(daemon(name, setup), spec)


@functools.cache
def _run_options() -> str:
    """What `esmd run` says of itself."""
    return subprocess.run(
        [sys.executable, "-m", "esmd", "run", "--help"], capture_output=True, text=True, check=False
    ).stdout


def _sqs_scenarios() -> list[Scenario]:
    plain = Setup()
    return [
        Scenario(
            name="sqs-noop",
            title="SQS, no-op handler, batches of 10 x 1 KB, no round trip",
            rows=_rows(
                QUEUE,
                daemon("esmd, inline", plain),
                floor("floor, blocking socket", "sqs-bare"),
                floor("floor, lean asyncio x4", "sqs-lean"),
                loop("aiobotocore loop", "aiobotocore-sqs"),
                loop("boto3 loop", "boto3-sqs"),
                sqs_consumer(1),
                sqs_consumer(8),
                daemon("esmd, maximum_concurrency 1", Setup(concurrency=1)),
                daemon("esmd, maximum_concurrency 8", Setup(concurrency=8)),
            ),
        ),
        Scenario(
            name="sqs-5ms",
            title="SQS, every answer held back 5 ms, one mapping, nothing tuned: messages a second",
            rows=_rows(
                SLOW_QUEUE,
                daemon("esmd, inline", plain),
                sqs_consumer(1),
                sqs_consumer(8),
                loop("aiobotocore loop x1", "aiobotocore-sqs"),
                loop("aiobotocore loop x8", "aiobotocore-sqs", "--pollers", "8"),
                floor("floor, lean asyncio x32", "sqs-lean", "--pollers", "32"),
            ),
            compared=("rate",),
        ),
        Scenario(
            name="sqs-filters",
            title="SQS with a filter on the body",
            rows=(
                Row(daemon("esmd, no filter", plain), QUEUE),
                Row(daemon("esmd, all match", Setup(filtered=True)), QUEUE),
                Row(daemon("esmd, half match", Setup(filtered=True)), FakeSpec(messages=_PLENTY, matching=0.5)),
            ),
        ),
        Scenario(
            name="sqs-fifo",
            title="FIFO queue with 1,000 groups",
            rows=(
                Row(daemon("esmd, standard", plain), QUEUE),
                Row(daemon("esmd, FIFO", Setup(fifo=True)), FakeSpec(messages=_PLENTY, groups=1000)),
            ),
        ),
        Scenario(
            name="sqs-handlers",
            title="SQS by form of handler: CPU of the daemon's own process (us), and with its handlers' (all)",
            rows=_rows(
                QUEUE,
                daemon("inline", plain),
                daemon("worker", Setup(handler="worker")),
                daemon("Runtime API program", Setup(handler="runtime")),
            ),
            # The first environments start within seconds of each other, and each takes more CPU than thousands of messages.
            measure=functools.partial(moments.throughput, settling=4.0),
        ),
        Scenario(
            name="sqs-lanes",
            title="SQS by client",
            rows=_rows(QUEUE, daemon("wire", Setup(client="wire")), daemon("botocore", Setup(client="botocore"))),
        ),
        Scenario(
            name="sqs-loops",
            title="SQS by event loop",
            rows=_rows(
                QUEUE,
                daemon("uvloop", plain, loop="uvloop"),
                daemon("asyncio", plain, loop="asyncio"),
            ),
        ),
        Scenario(
            name="sqs-batch-size",
            title="SQS by batch size",
            rows=_rows(QUEUE, daemon("batches of 10", plain), daemon("batches of 1", Setup(batch_size=1))),
        ),
        Scenario(
            name="sqs-mappings",
            title="SQS by number of mappings: cost per message",
            rows=tuple(
                Row(
                    daemon(f"{count} mapping{'s' * (count > 1)}", Setup(mappings=count)),
                    FakeSpec(queues=count, messages=_PLENTY // count),
                )
                for count in (1, 10, 100, 500, 1000)
            ),
            # Each mapping opens connections of its own, and starts with few pollers.
            measure=functools.partial(moments.throughput, settling=4.0),
        ),
        Scenario(
            name="sqs-processes",
            title="SQS on two free cores: messages a second",
            rows=_rows(QUEUE, daemon("two processes", plain, processes=2), daemon("one process", plain)),
            compared=("rate",),
            missing="" if "--processes" in _run_options() else "`esmd run` has no --processes yet",
        ),
    ]


def _calls() -> Scenario:
    each = ("receive_us", "delete_us", "read_100_us", "read_1000_us")
    return Scenario(
        name="calls",
        title="CPU of one call, one after the other: 10 messages of 1 KB, records of 100 B",
        rows=_rows(
            CALLED,
            caller("esmd's client", "wire"),
            caller("floor, blocking socket", "floor"),
            caller("aiobotocore", "aiobotocore", blocks=4),
            caller("esmd's client, asyncio's loop", "wire", loop="asyncio"),
        ),
        measure=moments.calls,
        compared=each,
        shown=each,
    )


def _stream_scenarios() -> list[Scenario]:
    return [
        Scenario(
            name="kinesis",
            title="Kinesis, one shard, records of 100 B, no-op handler; batches of 100 where the row does not say 1,000",
            rows=(
                _kinesis("esmd, inline", SHARD),
                _kinesis("esmd, worker", SHARD, handler="worker"),
                _kinesis("esmd, inline, 1,000", SHARD, batch_size=1000),
                _kinesis("esmd, worker, 1,000", SHARD, batch_size=1000, handler="worker"),
                *_rows(
                    SHARD,
                    floor("floor, blocking socket", "kinesis-bare"),
                    floor("floor, lean asyncio", "kinesis-lean"),
                    floor("floor, lean asyncio to a worker", "kinesis-worker"),
                    floor("floor, blocking socket, 1,000", "kinesis-bare", *_PAGES),
                    floor("floor, lean asyncio, 1,000", "kinesis-lean", *_PAGES),
                    floor("floor, lean asyncio to a worker, 1,000", "kinesis-worker", *_PAGES),
                    loop("aiobotocore loop", "aiobotocore-kinesis"),
                    loop("async-kinesis, tuned", "async-kinesis"),
                ),
            ),
            compared=("us", "rate"),
        ),
        Scenario(
            name="kinesis-shapes",
            title="Kinesis by shape",
            rows=(
                _kinesis("100 B, batches of 100", SHARD),
                _kinesis("100 B, batches of 1,000", SHARD, batch_size=1000),
                _kinesis("1 KB, batches of 100", FakeSpec(shards=1, records=50_000_000)),
                _kinesis("1 KB, batches of 1,000", FakeSpec(shards=1, records=50_000_000), batch_size=1000),
            ),
        ),
        Scenario(
            name="kinesis-shards",
            title="Kinesis by number of shards: cost per record, from the first to the last",
            rows=tuple(
                _kinesis(
                    f"{count} shard{'s' * (count > 1)}", FakeSpec(shards=count, records=100_000 // count, body=100)
                )
                for count in (1, 16, 200, 1000)
            ),
            measure=moments.whole,
        ),
        Scenario(
            name="dynamodb",
            title="DynamoDB Streams, new images of 1 KB, batches of 100",
            rows=(
                Row(daemon("inline", Setup(kind="dynamodb", batch_size=100)), FakeSpec(shards=1, records=50_000_000)),
                Row(
                    daemon("worker", Setup(kind="dynamodb", batch_size=100, handler="worker")),
                    FakeSpec(shards=1, records=50_000_000),
                ),
            ),
        ),
    ]


def _moments(*, long: bool) -> list[Scenario]:
    timed = daemon("esmd, inline", Setup(handler="timed"))
    quiet = 60.0 if long else 10.0
    busy_idle = FakeSpec(queues=20, shards=20)
    return [
        Scenario(
            name="latency",
            title="SQS latency at 100 messages a second",
            rows=_rows(
                PACED,
                timed,
                floor("raw blocking long poll", "raw-latency"),
                loop("aiobotocore loop", "aiobotocore-sqs"),
                sqs_consumer(1, latencies=True),
            ),
            measure=moments.latency,
            compared=("p50_ms",),
            shown=("p50_ms", "p99_ms"),
        ),
        Scenario(
            name="latency-kinesis",
            title="Kinesis latency at 100 records a second",
            rows=_rows(PACED_SHARD, daemon("esmd, inline", Setup(kind="kinesis", batch_size=100, handler="timed"))),
            measure=moments.latency,
            compared=("p50_ms",),
            shown=("p50_ms", "p99_ms"),
        ),
        Scenario(
            name="latency-idle",
            title=f"SQS, a lone message after {quiet:.0f} s without any",
            rows=_rows(FakeSpec(stamped=True), timed, floor("raw blocking long poll", "raw-latency")),
            measure=functools.partial(moments.after_idle, seconds=quiet),
            compared=("p50_ms",),
            shown=("p50_ms",),
            rounds=1,
        ),
        Scenario(
            name="idle",
            title="Idle: percent of a core, memory of the main process",
            rows=(
                Row(daemon("20 SQS mappings and 20 shards", Setup(mappings=20, more=1)), busy_idle),
                Row(daemon("10 SQS mappings", Setup(mappings=10)), FakeSpec(queues=10)),
                Row(daemon("500 SQS mappings", Setup(mappings=500)), FakeSpec(queues=500)),
            ),
            measure=moments.idle,
            compared=("cpu_percent",),
            shown=("cpu_percent", "memory_mb"),
            rounds=1,
        ),
        Scenario(
            name="cold-start",
            title="From the start of the process to its first receive",
            rows=_rows(FakeSpec(messages=10), daemon("esmd", Setup())),
            measure=moments.cold_start,
            compared=("start_s",),
            shown=("start_s",),
        ),
        Scenario(
            name="drain",
            title="TERM with 100 messages in flight, handlers of a second: time beyond it",
            rows=_rows(FakeSpec(messages=1000), daemon("esmd", Setup(handler="slow", batch_size=1, pollers=10))),
            measure=moments.drain,
            compared=("drain_s",),
            shown=("drain_s",),
            rounds=1,
        ),
    ]


def _against_localstack() -> Scenario:
    return Scenario(
        name="localstack",
        title="SQS on a real LocalStack: a backlog, and the latency of 5 messages a second",
        rows=_rows(FakeSpec(), daemon("esmd, inline", Setup(handler="timed")), localstack.own_mapping()),
        measure=localstack.measure,
        compared=("rate", "p50_ms"),
        shown=("rate", "p50_ms", "p99_ms"),
        missing=localstack.missing(),
        rounds=3,
    )


def scenarios(*, long: bool = False) -> list[Scenario]:
    """All of them. `long`: with pauses as the goals have them."""
    return [*_sqs_scenarios(), *_stream_scenarios(), _calls(), *_moments(long=long), _against_localstack()]
