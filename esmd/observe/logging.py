"""Log lines: typed events and the stdlib logging of libraries and handlers, in one stream.

Our own events go straight through structlog; what libraries and inline handlers log through `logging` is given the same
keys and rendered by the same renderer. Both carry the bound context (mapping, function, batch id, request id).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from esmd.observe.context import context_of, merge_context
from esmd.observe.plain_structlog import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger

    from esmd.observe.events import Event

Format = Literal["auto", "console", "json"]
_KEYS: dict[type[Event], tuple[str, ...]] = {}
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(
    *,
    log_format: Format,
    level: str,
    stream: TextIO | None = None,
    beside: Callable[[Event], Mapping[str, Any]] | None = None,
) -> Lines:
    """Set logging up for the process; returns the sink that turns an event into a line.

    Args:
        log_format: `auto` is `console` on a terminal and `json` elsewhere.
        level: the least level that is written: debug, info, warning or error. Libraries are held at warning or above.
        stream: where lines go, by default stderr.
        beside: members that an event's line has beside its own.
    """
    stream = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=_colours(stream),
            pad_event_to=20,
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    shared: list[Processor] = [
        merge_context,
        structlog.processors.add_log_level,
        _clock_time if console else _timestamp,
    ]
    structlog.configure(
        processors=[*shared, *([] if console else [_leading_keys]), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _capture_stdlib(stream, renderer, [*shared, structlog.stdlib.add_logger_name], LEVELS[level], console=console)
    return Lines(structlog.get_logger(), threshold=LEVELS[level], beside=beside)


class Lines:
    """The sink that turns events into lines; see `configure`."""

    def __init__(
        self, logger: Any, *, threshold: int, beside: Callable[[Event], Mapping[str, Any]] | None = None
    ) -> None:
        self._logger = logger
        self._threshold = threshold
        self._beside = beside

    def takes(self, kind: type[Event]) -> bool:
        """See `Sink`: those of the level, and above."""
        return LEVELS[kind.level] >= self._threshold

    def sink(self, event: Event) -> None:
        """Write a line, if the event's level is high enough."""
        if not self.takes(type(event)):
            return
        context = context_of(getattr(event, "request_id", None))
        # A stream that takes no more (a closed pipe, a full disk) must not end a batch: there is nowhere to say so.
        with contextlib.suppress(OSError):
            more = {} if self._beside is None else self._beside(event)
            self._logger.log(LEVELS[event.level], event.name, **{**context, **fields_of(event), **more})


def fields_of(event: Event) -> dict[str, Any]:
    """The keys of an event's log line, without those that are None; seconds and milliseconds shortened."""
    fields = {}
    for key in _keys(event):
        value = getattr(event, key)
        if value is not None:
            fields[key] = round(value, 3) if isinstance(value, float) else value
    return fields


def _keys(event: Event) -> tuple[str, ...]:
    kind = type(event)
    if kind not in _KEYS:
        _KEYS[kind] = tuple(field.name for field in dataclasses.fields(event))
    return _KEYS[kind]


def _capture_stdlib(
    stream: TextIO, renderer: Processor, pre_chain: list[Processor], level: int, *, console: bool
) -> None:
    """Send the root logger through the same renderer. Libraries' own chatter (below warning) stays out."""
    # The console renderer formats tracebacks itself, and better.
    last: list[Processor] = [] if console else [structlog.processors.format_exc_info, _leading_keys]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=pre_chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, renderer],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    hush_libraries(level)
    logging.captureWarnings(capture=True)


def hush_libraries(level: int) -> None:
    """Hold the libraries that are used here at warning, or at a level above it."""
    for library in ("botocore", "aiobotocore", "aiohttp", "asyncio", "urllib3"):
        logging.getLogger(library).setLevel(max(level, logging.WARNING))


def write_line(number: int, event: str, fields: Mapping[str, Any]) -> None:
    """Write a line that another process of the daemon has made; `number` is its level as in `logging`."""
    known = max((each for each in LEVELS.values() if each <= number), default=logging.DEBUG)
    with contextlib.suppress(OSError):  # as in the sink
        structlog.get_logger().log(known, event, **fields)


def _colours(stream: TextIO) -> bool:
    """NO_COLOR and FORCE_COLOR as their conventions say; else colours on a terminal only."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def _timestamp(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    event_dict["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event_dict


def _clock_time(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """On a terminal the local time of day is enough."""
    event_dict["timestamp"] = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
    return event_dict


def _leading_keys(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Timestamp, level and event first: JSON lines are read by people too."""
    ordered = {key: event_dict.pop(key) for key in ("timestamp", "level", "event") if key in event_dict}
    ordered.update(event_dict)
    return ordered


def _to_json(event_dict: EventDict, **_: Any) -> str:
    # Lone surrogates (undecodable output of a handler) cannot be encoded; escapes can.
    return json.dumps(event_dict, default=str, separators=(",", ":"), ensure_ascii=True)
