"""Every event of the daemon, typed: this module is the catalogue that the docs are generated from.

A component emits an event; `esmd.observe.telemetry` turns it into a log line and counts. The class attribute `name`
is the log line's stable name, `level` its log level, the fields its keys; fields that are None are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

E = TypeVar("E")

Level = Literal["debug", "info", "warning", "error"]

IDS_SHOWN = 10
"""Most ids that one line of the log names; the counts beside them are complete."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
def event(kind: type[E]) -> type[E]:
    """Make a class an event: a dataclass of keywords that is compared, hashed and shown as its base says.

    A start makes a hundred of them, and would wait for each method that one had of its own to be compiled. They are frozen in
    the eyes of the type checker only, as in `esmd.mappings.values`.
    """
    return dataclass(slots=True, kw_only=True, eq=False, repr=False)(kind)


@event
class Event:
    """Base of all events."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and type(other) is type(self) and other._values() == self._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values().values()))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._values().items())
        return f"{type(self).__name__}({values})"


# --- functions and their environments


@event
class FunctionEvent(Event):
    """Base of what a function's invoker says."""

    function: str


@event
class EnvironmentStarted(FunctionEvent):
    """A process for an execution environment has been started; it has loaded nothing yet."""

    name: ClassVar[str] = "environment.started"
    level: ClassVar[Level] = "debug"
    pid: int
    initialization_type: Literal["on-demand", "provisioned-concurrency"]
    environments: int
    """How many the function has now."""


@event
class FunctionInit(FunctionEvent):
    """An execution environment has loaded the handler and is ready."""

    name: ClassVar[str] = "function.init"
    level: ClassVar[Level] = "debug"
    pid: int | None
    duration_ms: float
    after_failures: int | None = None
    """How many attempts in a row had failed before this one."""


@event
class FunctionInitFailed(FunctionEvent):
    """A handler could not be loaded. Said once for the same reason in a row; attempts go on, further and further apart."""

    name: ClassVar[str] = "function.init_failed"
    level: ClassVar[Level] = "error"
    error_type: str
    error_message: str
    retry_in_s: float


@event
class FunctionReloaded(FunctionEvent):
    """Files of the handler changed: new environments load them, those that are busy finish with what they have."""

    name: ClassVar[str] = "function.reloaded"
    files: tuple[str, ...]
    environments: int
    """How many of the former kind are replaced."""


@event
class EnvironmentStopped(FunctionEvent):
    """An execution environment was asked to leave, and left."""

    name: ClassVar[str] = "environment.stopped"
    level: ClassVar[Level] = "debug"
    pid: int
    reason: Literal["idle", "reloaded", "shutdown"]
    invocations: int
    age_s: float


@event
class EnvironmentKilled(FunctionEvent):
    """An execution environment was ended by force, with every process that it had started."""

    name: ClassVar[str] = "environment.killed"
    level: ClassVar[Level] = "warning"
    pid: int
    reason: Literal["timeout", "memory", "init", "cancelled", "shutdown", "protocol"]
    """`init`: it did not load, or not in time. `cancelled`: its invocation was. `protocol`: what it sent made no sense."""
    request_id: str | None
    memory_mb: int | None = None
    """Resident memory that was found, where that is the reason; rounded up, thus above the limit."""


@event
class EnvironmentIntruder(FunctionEvent):
    """A process that is not the environment's tried to speak to its Runtime API, and was refused. Said once for each."""

    name: ClassVar[str] = "environment.intruder"
    level: ClassVar[Level] = "warning"
    pid: int
    """Of the environment."""
    client_port: int
    """Of the connection, on 127.0.0.1."""
    uid: int | None
    """The user that the connection belongs to."""


@event
class HandlerOutput(FunctionEvent):
    """A line that the handler wrote to stdout or stderr, or logged."""

    name: ClassVar[str] = "handler.output"
    request_id: str | None
    stream: Literal["stdout", "stderr"]
    message: str


@event
class HandlerTimeout(FunctionEvent):
    """An invocation reached the function's timeout and was ended: process killed, inline task cancelled, connection cut."""

    name: ClassVar[str] = "handler.timeout"
    level: ClassVar[Level] = "warning"
    request_id: str
    timeout_s: float
    pid: int | None
    still_running: Literal[True] | None = None
    """An inline handler cannot be killed: this one runs on, and keeps its place until it returns."""


@event
class HandlerCrashed(FunctionEvent):
    """The handler's process ended by itself: during an invocation, while it was loading, or idle."""

    name: ClassVar[str] = "handler.crashed"
    level: ClassVar[Level] = "warning"
    request_id: str | None
    pid: int | None
    exit_status: int
    """As `subprocess` gives it: negative is the signal that ended the process."""


@event
class FunctionThrottled(FunctionEvent):
    """An invocation was refused because the function already runs as often as it may, here or where it lives."""

    name: ClassVar[str] = "function.throttled"
    level: ClassVar[Level] = "debug"
    request_id: str
    limit: int
    reason: str
    """As Lambda spells it."""


@event
class FunctionStats(FunctionEvent):
    """What a function did in the last period, over all its mappings; said only if it did anything."""

    name: ClassVar[str] = "function.stats"
    period_s: float
    invocations: int
    errors: int
    """Invocations that raised, timed out, exited or could not be loaded."""
    throttles: int
    duration_avg_ms: float | None
    duration_max_ms: float | None
    concurrency_max: int
    """Most places taken at once."""
    limit: int
