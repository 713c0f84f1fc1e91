"""What went wrong lately, and what was logged about it: a telemetry sink with a bounded memory.

| event                                                                  | what is kept                                      |
|------------------------------------------------------------------------|---------------------------------------------------|
| `batch.failed`, `batch.partial`, `batch.discarded`                     | a failure, and the mapping's last error           |
| `mapping.unavailable`, `destination.failed`, `shard.lost`              | the same                                          |
| `function.init_failed`, `internal.error`                               | a failure                                         |
| `handler.output`, lines of Python's logging                            | lines of their invocation, until it has succeeded |
| `handler.timeout`, `handler.crashed`, `environment.killed`             | the same                                          |
| `batch.retrying`, batches of messages that were received before        | a number                                          |
| batches of streams                                                     | the age of their last record, per shard           |
| any other                                                              | nothing                                           |
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.observe import events as say
from esmd.observe import mapping_events as seen
from esmd.observe import stream_events as streams
from esmd.observe.daemon_events import InternalError
from esmd.observe.logging import fields_of
from esmd.status.model import Failure, LastError, Line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esmd.observe.events import Event

FAILURES = 100
"""How many are kept."""

LINES = 40
"""How many of one invocation are kept, the latest."""

REQUESTS = 500
"""Of how many invocations under way lines are kept: those that have logged last."""

LONGEST = 2_000
"""Characters of a text that are kept."""


@dataclass(slots=True, eq=False)
class _Kept:
    at: float
    event: Event
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES))


class History:
    """Remembers failures. Belongs to the event loop.

    Args:
        wall: epoch seconds.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._failures: deque[_Kept] = deque()
        self._by_request: dict[str, _Kept] = {}
        self._lines: OrderedDict[str, deque[Line]] = OrderedDict()
        self._errors: dict[str, LastError] = {}
        self._ages: dict[str, dict[str, float]] = {}
        self.retries: Counter[str] = Counter()
        """Invocations that were not the first of their records, by mapping."""
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            seen.BatchSucceeded: self._batch,
            seen.BatchFailed: self._batch_failed,
            seen.BatchPartial: self._batch_failed,
            seen.MappingUnavailable: self._failed,
            streams.BatchDiscarded: self._failed,
            streams.DestinationFailed: self._failed,
            streams.ShardLost: self._failed,
            streams.BatchRetrying: self._retrying,
            streams.ShardFinished: self._shard_finished,
            say.FunctionInitFailed: self._failed,
            InternalError: self._failed,
            say.HandlerOutput: self._output,
            say.HandlerTimeout: self._told,
            say.HandlerCrashed: self._told,
            say.EnvironmentKilled: self._told,
        }

    def takes(self, kind: type[Event]) -> bool:
        """See `Sink`."""
        return kind in self._handlers

    def sink(self, event: Event) -> None:
        """Take one event."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def logged(self, request_id: str, logger: str, message: str) -> None:
        """Take a line that a handler logged inside an invocation, through Python's logging."""
        self._keep(request_id, logger, message)

    # --- what is asked

    def failures(self) -> tuple[Failure, ...]:
        """The latest first."""
        return tuple(_failure(kept) for kept in reversed(self._failures))

    def last_error(self, mapping: str) -> LastError | None:
        """The last thing that went wrong in a mapping; None if nothing has."""
        return self._errors.get(mapping)

    def iterator_age(self, mapping: str, shard: str) -> float | None:
        """Milliseconds: the age of the last record of a shard's last batch, when it was sent."""
        return self._ages.get(mapping, {}).get(shard)

    def forget_all_but(self, mappings: Iterable[str]) -> None:
        """Nobody will ask about other mappings any more."""
        names = set(mappings)
        for known in (self._errors, self._ages, self.retries):
            for name in known.keys() - names:
                del known[name]

    # --- what is taken

    def _batch(self, event: seen.BatchEvent) -> None:
        if self._lines:
            self._lines.pop(event.request_id, None)
        self._count(event)

    def _batch_failed(self, event: seen.BatchFailed | seen.BatchPartial) -> None:
        self._count(event)
        self._failed(event)

    def _count(self, event: seen.BatchEvent) -> None:
        if event.shard is None:
            if event.attempt > 1:
                self.retries[event.mapping] += 1
        elif event.iterator_age_ms is not None:
            self._ages.setdefault(event.mapping, {})[event.shard] = event.iterator_age_ms

    def _retrying(self, event: streams.BatchRetrying) -> None:
        self.retries[event.mapping] += 1

    def _shard_finished(self, event: streams.ShardFinished) -> None:
        self._ages.get(event.mapping, {}).pop(event.shard, None)

    def _failed(self, event: Event) -> None:
        kept = _Kept(self._wall(), event)
        request_id = getattr(event, "request_id", None)
        if request_id is not None:
            kept.lines.extend(self._lines.pop(request_id, ()))
            self._by_request[request_id] = kept
        elif isinstance(event, say.FunctionInitFailed):
            kept.lines.extend(self._lines.pop(_loading(event.function), ()))
        self._failures.append(kept)
        if len(self._failures) > FAILURES:
            gone = getattr(self._failures.popleft().event, "request_id", None)
            if gone is not None:
                self._by_request.pop(gone, None)
        mapping = getattr(event, "mapping", None)
        if mapping is not None:
            kind, message = _error_of(event)
            self._errors[mapping] = LastError(error_type=kind, error_message=message, at=kept.at)

    def _output(self, event: say.HandlerOutput) -> None:
        self._keep(event.request_id or _loading(event.function), event.stream, event.message)

    def _told(self, event: Event) -> None:
        fields = fields_of(event)
        request_id = fields.pop("request_id", None) or _loading(fields["function"])
        self._keep(request_id, event.name, " ".join(f"{key}={value}" for key, value in fields.items()))

    def _keep(self, request_id: str, stream: str, message: str) -> None:
        line = Line(at=self._wall(), stream=stream, message=message[:LONGEST])
        kept = self._by_request.get(request_id)
        if kept is not None:  # what comes through a pipe may come after the outcome
            kept.lines.append(line)
            return
        lines = self._lines.get(request_id)
        if lines is None:
            lines = self._lines[request_id] = deque(maxlen=LINES)
            if len(self._lines) > REQUESTS:
                self._lines.popitem(last=False)
        lines.append(line)


def _loading(function: str) -> str:
    """Where the lines of a function are kept that belong to no invocation: no request id looks like this."""
    return f"loading {function}"


def _error_of(event: Event) -> tuple[str, str]:
    """What the last error says of an event that has no error of its own, too."""
    match event:
        case seen.BatchPartial():
            return "BatchItemFailures", f"{event.failed} of {event.records} records were named as failed"
        case streams.BatchDiscarded():
            where = f"sent to {event.destination}" if event.destination else "dropped"
            return event.condition, f"{event.records} records were given up and {where}"
        case streams.ShardLost():
            return "ShardLost", f"{event.shard} vanished before it was read to its end"
        case _:
            fields = fields_of(event)
            return str(fields["error_type"]), str(fields["error_message"])[:LONGEST]


def _failure(kept: _Kept) -> Failure:
    fields = {key: _short(value) for key, value in fields_of(kept.event).items()}
    return Failure(
        at=kept.at,
        event=kept.event.name,
        level=kept.event.level,
        mapping=fields.get("mapping"),
        function=fields.get("function"),
        fields=fields,
        lines=tuple(kept.lines),
    )


def _short(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value
