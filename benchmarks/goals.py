"""The twenty goals for speed, and what a run says of each: reached, not reached, not measured.

A goal holds what must be and what would be splendid. Its value comes out of the tables of one run; where a scenario did not
run, or there is none, it is not measured. Where a goal can be read in several ways, each has a line, with a letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.results import Table

LEAN_SQS = "floor, lean asyncio x4"
ESMD = "esmd, inline"
WORKER = "esmd, worker"
CLIENT = "esmd's client"
LOCALSTACK = "LocalStack's own mapping"


class Run:
    """The tables of a run, asked by name; every answer is None where something was not measured."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables

    def times(self, scenario: str, row: str, *, to: str | None = None, figure: str | None = None) -> float | None:
        """How many times worse than the first row, or than `to`, a row is."""
        table = self._tables.get(scenario)
        ratio = None if table is None else table.ratio(row, to=to, figure=figure)
        return None if ratio is None else ratio.median

    def value(self, scenario: str, row: str, figure: str) -> float | None:
        """The median of a figure."""
        table = self._tables.get(scenario)
        return None if table is None else table.figure(row, figure)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What must be, and what would be splendid (None: nothing more is asked for)."""

    must: float
    ambitious: float | None
    unit: str
    at_least: bool
    believed: float = 0.0
    """A value below it says something about the measurement only."""

    def keeps(self, value: float, bound: float) -> bool:
        """Whether a value is on the right side of a bound."""
        return value >= bound if self.at_least else value <= bound

    def text(self, value: float) -> str:
        """A value with its unit."""
        if self.unit == "%":
            return f"{value:.0%}"
        return f"{value:.2f} {self.unit}" if value < 10 else f"{value:.0f} {self.unit}"

    def shown(self, bound: float | None) -> str:
        """A bound with its sign."""
        return "" if bound is None else f"{'>=' if self.at_least else '<='} {self.text(bound)}"


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal.

    Attributes:
        number: G1 to G20, with a letter where one goal has several lines.
        text: what is compared.
        bounds: which values reach it.
        value: takes it from a run; None where nothing measures it.
    """

    number: str
    text: str
    bounds: Bounds
    value: Callable[[Run], float | None]

    def verdict(self, run: Run) -> tuple[str, str]:
        """The value as text, and what is to be said of it."""
        value = self.value(run)
        if value is None:
            return "", "not measured"
        bounds = self.bounds
        if value < bounds.believed:
            return bounds.text(value), "doubtful: nobody is quicker than a raw client, so this is noise"
        if bounds.ambitious is not None and bounds.keeps(value, bounds.ambitious):
            return bounds.text(value), "reached, the ambitious one too"
        return bounds.text(value), "reached" if bounds.keeps(value, bounds.must) else "not reached"

    def line(self, run: Run) -> str:
        """Its line of the table."""
        bounds = self.bounds
        cells = (self.number, self.text, bounds.shown(bounds.must), bounds.shown(bounds.ambitious), *self.verdict(run))
        return f"| {' | '.join(cells)} |"


def _at_least(must: float, ambitious: float | None, unit: str) -> Bounds:
    return Bounds(must, ambitious, unit, at_least=True)


def _at_most(must: float, ambitious: float | None, unit: str) -> Bounds:
    return Bounds(must, ambitious, unit, at_least=False)


_LATENCY = Bounds(1.5, 1.15, "x", at_least=False, believed=0.9)


def _times(scenario: str, row: str, to: str | None = None, figure: str | None = None) -> Callable[[Run], float | None]:
    return lambda run: run.times(scenario, row, to=to, figure=figure)


def _of_raw(scenario: str) -> Callable[[Run], float | None]:
    """Median latency, as a multiple of a raw client's."""
    return lambda run: run.times(scenario, ESMD, to="raw blocking long poll", figure="p50_ms")


def _value(scenario: str, row: str, figure: str) -> Callable[[Run], float | None]:
    return lambda run: run.value(scenario, row, figure)


def _nothing(_: Run) -> None:
    """No scenario measures it."""


_CALLS = (
    ("", "ReceiveMessage of 10", "receive_us"),
    ("b", "DeleteMessageBatch of 10", "delete_us"),
    ("c", "GetRecords of 100", "read_100_us"),
    ("d", "GetRecords of 1,000", "read_1000_us"),
)
"""Letter, text and figure of each call."""


def _of_socket(figure: str) -> Callable[[Run], float | None]:
    """CPU of a call, as a multiple of a blocking socket's."""
    return _times("calls", CLIENT, to="floor, blocking socket", figure=figure)


def _of_botocore(figure: str) -> Callable[[Run], float | None]:
    """CPU of aiobotocore's call, as a multiple of ours."""
    return _times("calls", "aiobotocore", to=CLIENT, figure=figure)


_WORKER_FLOOR = "floor, lean asyncio to a worker"
_IDLE = "20 SQS mappings and 20 shards"

GOALS = (
    Goal("G1", "SQS no-op cycle, of the lean floor", _at_least(0.5, 0.8, "%"), _times("sqs-noop", LEAN_SQS)),
    Goal("G2", "the same, against sqs-consumer x1", _at_least(12, 25, "x"), _times("sqs-noop", "sqs-consumer x1")),
    Goal("G2b", "the same, against sqs-consumer x8", _at_least(7, 15, "x"), _times("sqs-noop", "sqs-consumer x8")),
    Goal("G3", "the same, against an aiobotocore loop", _at_least(8, 20, "x"), _times("sqs-noop", "aiobotocore loop")),
    Goal("G4", "at 5 ms, against sqs-consumer x1", _at_least(10, 50, "x"), _times("sqs-5ms", "sqs-consumer x1")),
    Goal("G4b", "at 5 ms, against sqs-consumer x8", _at_least(3, 12, "x"), _times("sqs-5ms", "sqs-consumer x8")),
    Goal("G5", "SQS latency p50, of a raw client's", _LATENCY, _of_raw("latency")),
    Goal("G6", "SQS latency p99", _at_most(5, None, "ms"), _value("latency", ESMD, "p99_ms")),
    Goal("G7", "a message after idling, of a raw client's", _LATENCY, _of_raw("latency-idle")),
    *(
        Goal(f"G8{letter}", f"{call}, of blocking socket and orjson", _at_most(1.6, 1.25, "x"), _of_socket(figure))
        for letter, call, figure in _CALLS
    ),
    *(
        Goal(f"G9{letter}", f"{call}, against aiobotocore", _at_least(must, best, "x"), _of_botocore(figure))
        for (letter, call, figure), (must, best) in zip(_CALLS, ((15, 25), (15, 25), (15, 25), (20, 35)), strict=True)
    ),
    Goal(
        "G10",
        "Kinesis to a worker, batches of 1,000, of the floor",
        _at_least(0.5, 0.8, "%"),
        _times("kinesis", f"{_WORKER_FLOOR}, 1,000", f"{WORKER}, 1,000"),
    ),
    Goal("G10b", "the same, batches of 100", _at_least(0.5, 0.8, "%"), _times("kinesis", _WORKER_FLOOR, WORKER)),
    *(
        Goal(
            f"G11{letter}",
            f"Kinesis, batches of {size}, against async-kinesis, by {name}",
            _at_least(50, 100, "x"),
            _times("kinesis", "async-kinesis, tuned", row, figure),
        )
        for letter, size, name, row, figure in (
            ("", "1,000", "rate", f"{ESMD}, 1,000", "rate"),
            ("b", "1,000", "CPU", f"{ESMD}, 1,000", "us"),
            ("c", "100", "rate", ESMD, "rate"),
            ("d", "100", "CPU", ESMD, "us"),
        )
    ),
    Goal("G11e", "Kinesis, against the KCL", _at_least(3, 6, "x"), _nothing),
    Goal(
        "G11f",
        "Kinesis, batches of 100, against an aiobotocore loop, by CPU",
        _at_least(15, None, "x"),
        _times("kinesis", "aiobotocore loop", ESMD),
    ),
    Goal("G12", "Kinesis latency p50", _at_most(30, 15, "ms"), _value("latency-kinesis", ESMD, "p50_ms")),
    Goal("G13", "worker's parent CPU, of inline", _at_most(1.8, 1.4, "x"), _times("sqs-handlers", "worker")),
    Goal("G14", "Runtime API's, of inline", _at_most(2.2, 1.7, "x"), _times("sqs-handlers", "Runtime API program")),
    Goal("G15", "batch size 1, of batch size 10", _at_most(2.5, 1.5, "x"), _times("sqs-batch-size", "batches of 1")),
    Goal("G16", f"idle: {_IDLE}", _at_most(2, 1, "% of a core"), _value("idle", _IDLE, "cpu_percent")),
    Goal("G17", "memory with 10 mappings", _at_most(70, 60, "MB"), _value("idle", "10 SQS mappings", "memory_mb")),
    Goal("G18", "cold start to first receive", _at_most(1, 0.4, "s"), _value("cold-start", "esmd", "start_s")),
    Goal("G19", "drain, beyond the handlers' time", _at_most(1, 0.1, "s"), _value("drain", "esmd", "drain_s")),
    Goal("G20", "LocalStack's own mapping, by rate", _at_least(20, None, "x"), _times("localstack", LOCALSTACK, ESMD)),
    Goal(
        "G20b",
        "LocalStack's own mapping, by latency p50",
        _at_least(20, None, "x"),
        _times("localstack", LOCALSTACK, ESMD, "p50_ms"),
    ),
)
"""All of them, in order."""


def markdown(run: Run) -> str:
    """The table of goals."""
    head = "| goal | what | must | ambitious | this run | |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(goal.line(run) for goal in GOALS) + "\n"
