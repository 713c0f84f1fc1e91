"""The events of a daemon's processes, where it has several: `esmd run --processes`.

Every line that one of them is the source of has the key `process`: its number, from 0.
"""

from __future__ import annotations

from typing import ClassVar

from esmd.observe.events import Event, Level, event


@event
class ProcessEvent(Event):
    """Base of what the parent says of a process."""

    process: int
    """Its number, from 0; its successor has the same."""


@event
class ProcessStarted(ProcessEvent):
    """A process of the daemon has been started, for the first time or in place of one that died."""

    name: ClassVar[str] = "process.started"
    pid: int
    mappings: int
    """How many mappings it runs: those whose limits leave it a part."""


@event
class ProcessNotStarted(ProcessEvent):
    """A process could not be started, for lack of memory or of processes for instance; the others go on without it."""

    name: ClassVar[str] = "process.not_started"
    level: ClassVar[Level] = "error"
    error_message: str
    retry_in_s: float


@event
class ProcessDied(ProcessEvent):
    """A process ended though nobody had asked it to. What it had under way is delivered again, its shards are read on."""

    name: ClassVar[str] = "process.died"
    level: ClassVar[Level] = "error"
    pid: int
    exit_status: int
    """As `subprocess` gives it: negative is the signal that ended the process."""
    uptime_s: float
    restart_in_s: float | None
    """Until its successor is started; none follows while the daemon drains."""


@event
class ProcessKilled(ProcessEvent):
    """A process did not end when it was told to, and was ended by force."""

    name: ClassVar[str] = "process.killed"
    level: ClassVar[Level] = "error"
    pid: int


@event
class ProcessOutput(ProcessEvent):
    """A line that a process wrote to stderr itself, not through the log: what a crash leaves, or an inline handler prints."""

    name: ClassVar[str] = "process.output"
    level: ClassVar[Level] = "warning"
    pid: int
    message: str
