"""What a child says: lines for the log, which the parent writes, and the events by which the parent decides.

| what                                                   | becomes                                                        |
|--------------------------------------------------------|----------------------------------------------------------------|
| `daemon.starting`, `daemon.stopped`                    | nothing: the parent says it of all                             |
| `daemon.ready`                                         | `Tried`                                                        |
| `daemon.draining`, `daemon.cut_short`                  | `Said`: the parent adds up                                     |
| `mapping.stats`, `function.stats`                      | `Said`: the parent adds up                                     |
| `mapping.advice`                                       | `Said`: one process saying it is enough                        |
| any other event, at the log level or above             | `Line`                                                         |
| a record of Python's logging, at the log level or above | `Line`                                                        |
| anything below the log level                           | nothing                                                        |
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from esmd.observe import daemon_events as say
from esmd.observe.context import context_of, merge_context
from esmd.observe.events import FunctionStats
from esmd.observe.logging import LEVELS, fields_of, hush_libraries
from esmd.observe.mapping_events import MappingAdvice, MappingStats
from esmd.processes.messages import Line, Said, Tried

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esmd.observe.events import Event
    from esmd.processes.messages import Message

_ACTED_ON = (say.DaemonReady, say.DaemonDraining, say.DaemonCutShort, MappingStats, FunctionStats, MappingAdvice)
"""Told whatever their level."""


class Reporter:
    """The sink of a child's events.

    Args:
        tell: sends a message to the parent.
        level: the least level of lines.
        unavailable: says which mappings cannot run, and whether their function is why.
    """

    def __init__(
        self, tell: Callable[[Message], None], *, level: str, unavailable: Callable[[], Mapping[str, bool]]
    ) -> None:
        self._tell = tell
        self._level = LEVELS[level]
        self._unavailable = unavailable

    def takes(self, kind: type[Event]) -> bool:
        """See `Sink`: what the parent acts on, and what makes a line."""
        return issubclass(kind, _ACTED_ON) or LEVELS[kind.level] >= self._level

    def sink(self, event: Event) -> None:
        """Take one event."""
        match event:
            case say.DaemonStarting() | say.DaemonStopped():
                pass
            case say.DaemonReady():
                self._tell(Tried(self._unavailable()))
            case say.DaemonDraining() | say.DaemonCutShort() | MappingStats() | FunctionStats() | MappingAdvice():
                self._tell(Said(event))
            case _:
                if (number := LEVELS[event.level]) >= self._level:
                    fields = {**context_of(getattr(event, "request_id", None)), **fields_of(event)}
                    self._tell(Line(number, event.name, merge_context(None, "", fields)))

    def capture_stdlib(self) -> None:
        """Send what libraries and inline handlers log the same way. Inside the running loop."""
        root = logging.getLogger()
        for old in list(root.handlers):
            root.removeHandler(old)
        root.addHandler(_Records(self._tell, asyncio.get_running_loop()))
        root.setLevel(self._level)
        hush_libraries(self._level)
        logging.captureWarnings(capture=True)


class _Records(logging.Handler):
    """Turns records into lines, also those of handlers on threads: only the loop's own may tell the parent."""

    def __init__(self, tell: Callable[[Message], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._tell = tell
        self._loop = loop
        self._thread = threading.get_ident()
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name}
            merge_context(None, "", fields)
            if record.exc_info:
                fields["exception"] = self._formatter.formatException(record.exc_info)
            if record.stack_info:
                fields["stack"] = record.stack_info
            line = Line(record.levelno, record.getMessage(), fields)
            if threading.get_ident() == self._thread:
                self._tell(line)
            else:
                self._loop.call_soon_threadsafe(self._tell, line)
        except Exception:  # noqa: BLE001 - what a handler logs must not break it; logging says how
            self.handleError(record)
