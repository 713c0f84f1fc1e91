"""Drives `BatchPolicy` through its life under a clock of its own, and reads the tables of docstrings."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.mappings.commands import Command, Discard, Finished, Invoke, Note, Wait
from esmd.mappings.outcomes import FunctionError, Outcome, Success
from esmd.mappings.policy import RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM, BatchPolicy, PolicyOptions
from esmd.mappings.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ERROR = FunctionError("exception", "ValueError", "boom")
OK = Success(b"null")


def record(number: int | str, *, key: str = "k", arrived_at: float = 0.0) -> Record:
    """A record of a stream; `number` is its sequence number."""
    event = json.dumps({"sequenceNumber": str(number)}).encode()
    return Record(str(number), "", key, 1, arrived_at, math.inf, event)


def records(*numbers: int | str, arrived_at: float = 0.0) -> list[Record]:
    return [record(number, arrived_at=arrived_at) for number in numbers]


def options(**changes: Any) -> PolicyOptions:
    """No limits, nothing switched on, no jitter; with `changes`."""
    base: dict[str, Any] = {
        "maximum_retry_attempts": -1,
        "maximum_record_age": -1,
        "bisect": False,
        "report_batch_item_failures": False,
        "retry_backoff_initial": RETRY_BACKOFF_INITIAL,
        "retry_backoff_maximum": RETRY_BACKOFF_MAXIMUM,
        "jitter": lambda: 1.0,
    }
    return PolicyOptions(**(base | changes))


def ids(found: Iterable[Record]) -> list[int]:
    return [int(each.id) for each in found]


def naming(*numbers: object) -> Success:
    """The answer that names these records as failed."""
    return Success(json.dumps({"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}).encode())


def failing_on(*bad: int) -> Callable[[list[int]], Outcome]:
    """A handler that raises when one of these is in its batch."""
    return lambda batch: ERROR if set(bad) & set(batch) else OK


def reporting(*bad: int) -> Callable[[list[int]], Outcome]:
    """A handler that names these when they are in its batch."""
    return lambda batch: naming(*(str(number) for number in batch if number in bad))


@dataclass
class Clock:
    """The monotonic clock and the wall clock, which go together but do not show the same."""

    now: float = 0.0
    ahead: float = 1_000.0

    @property
    def times(self) -> tuple[float, float]:
        return self.now + self.ahead, self.now


@dataclass(frozen=True)
class Step:
    """A command, when it was given, and what came of it."""

    at: float
    command: Command
    outcome: Outcome | None
    notes: tuple[Note, ...]
    position: str | None


@dataclass
class Story:
    """Everything that happened to a batch."""

    steps: list[Step] = field(default_factory=list)

    @property
    def invoked(self) -> list[list[int]]:
        return [ids(step.command.records) for step in self.steps if isinstance(step.command, Invoke)]

    @property
    def discards(self) -> list[Discard]:
        return [step.command for step in self.steps if isinstance(step.command, Discard)]

    @property
    def discarded(self) -> list[tuple[list[int], str, int]]:
        return [(ids(each.records), each.condition, each.approximate_invoke_count) for each in self.discards]

    @property
    def notes(self) -> list[Note]:
        return [note for step in self.steps for note in step.notes]


def run(
    policy: BatchPolicy, handler: Callable[[list[int]], Outcome], *, clock: Clock | None = None, steps: int = 10_000
) -> Story:
    """Carry out the commands until the batch is finished; invocations take no time."""
    clock = clock or Clock()
    story = Story()
    for _ in range(steps):
        at = clock.now
        command = policy.next(*clock.times)
        outcome, notes = None, ()
        match command:
            case Invoke(sent):
                outcome = handler(ids(sent))
                notes = policy.invoked(outcome, *clock.times)
            case Discard():
                policy.discarded()
            case Wait(until):
                assert until > clock.now + clock.ahead, "a wait must lead somewhere"
                clock.now = until - clock.ahead
            case Finished():
                return story
        story.steps.append(Step(at, command, outcome, notes, policy.position))
    raise AssertionError(f"not finished after {steps} steps")


def table(text: str | None, first_column: str) -> list[dict[str, str]]:
    """The rows of the Markdown table whose first column has this name."""
    return [dict(zip(columns(text, first_column), cells(line), strict=True)) for line in lines(text, first_column)[2:]]


def columns(text: str | None, first_column: str) -> list[str]:
    return cells(lines(text, first_column)[0])


def lines(text: str | None, first_column: str) -> list[str]:
    """The table itself, line by line."""
    assert text is not None
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("|") and (found or cells(line)[0] == first_column):
            found.append(line)
        elif found:
            break
    assert len(found) > 2, f"no table that begins with {first_column!r}"
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]
