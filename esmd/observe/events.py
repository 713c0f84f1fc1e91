"""Every event of the daemon, typed: this module is the catalogue that the docs are generated from.

A component emits an event; `esmd.observe.telemetry` turns it into a log line and counts. The class attribute `name`
is the log line's stable name, `level` its log level, the fields its keys; fields that are None are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"


# --- functions and their environments


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionEvent(Event):
    """Base of what a function's invoker says."""

    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionInit(FunctionEvent):
    """An execution environment has loaded the handler and is ready."""

    name: ClassVar[str] = "function.init"
    level: ClassVar[Level] = "debug"
    pid: int | None
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOutput(FunctionEvent):
    """A line that the handler wrote to stdout or stderr, or logged."""

    name: ClassVar[str] = "handler.output"
    request_id: str | None
    stream: Literal["stdout", "stderr"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerTimeout(FunctionEvent):
    """An invocation reached the function's timeout and was ended: a worker's process was killed, an inline task cancelled."""

    name: ClassVar[str] = "handler.timeout"
    level: ClassVar[Level] = "warning"
    request_id: str
    timeout_s: float
    pid: int | None
    still_running: Literal[True] | None = None
    """An inline handler cannot be killed: this one runs on, and keeps its place until it returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerCrashed(FunctionEvent):
    """The handler's process ended by itself: during an invocation, while it was loading, or idle."""

    name: ClassVar[str] = "handler.crashed"
    level: ClassVar[Level] = "warning"
    request_id: str | None
    pid: int | None
    exit_status: int
    """As `subprocess` gives it: negative is the signal that ended the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionThrottled(FunctionEvent):
    """An invocation was refused because the function already runs as often as it may."""

    name: ClassVar[str] = "function.throttled"
    level: ClassVar[Level] = "debug"
    request_id: str
    limit: int
