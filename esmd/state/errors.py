"""What can go wrong with kept progress, each error with a sentence on what to do about it.

| error                    | meaning                                           | what a caller does                        |
|--------------------------|---------------------------------------------------|-------------------------------------------|
| `StateError`             | disk full, locked, read-only, damaged, closed     | says so, waits, repeats; nothing is saved |
| `StateInUseError`        | another process owns the file; only at opening    | ends                                      |
| `PositionMovedBackError` | a save would undo progress                        | ends the shard: a defect of ours          |
| `OtherStreamError`       | a save for a stream that has been replaced since  | ends the shard: its stream is gone        |
| `LeaseLostError`         | a save for a shard that another process may read  | starts its mapping anew                   |
"""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StateError(Exception):
    """Progress could not be read or saved.

    Attributes:
        message: what happened, for a person.
        hint: a sentence on what to do about it.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message}. {hint}")
        self.message = message
        self.hint = hint


class StateInUseError(StateError):
    """Another process owns the state file.

    Attributes:
        pid: its process id; None where it has not had the time to write it down.
    """

    def __init__(self, message: str, *, hint: str, pid: int | None) -> None:
        super().__init__(message, hint=hint)
        self.pid = pid


class PositionMovedBackError(StateError):
    """A save would have moved a shard's position backwards. Nothing of it was saved."""


class OtherStreamError(StateError):
    """A save or forget for another identity than the one that the mapping has begun. Nothing of it was done."""


class LeaseLostError(StateError):
    """A save for a shard that is not, or no more, this process's to read. Nothing of it was saved."""


_FULL = ("the disk is full: the state file {path} cannot be written", "Make room on it.")
_READ_ONLY = (
    "the state file {path} cannot be written",
    "Give this user the right to write the file and its folder, or choose another state file.",
)
_LOCKED = (
    "the state file {path} is locked by another program",
    "Close what holds it, such as an sqlite3 shell with an open transaction or a backup.",
)
_DAMAGED = (
    "the state file {path} is damaged",
    "Restore it from a backup, or move it away: mappings then begin at their starting position again.",
)
_FOREIGN = ("{path} is not a state file of esmd", "Name another state file; this one is left as it is.")

_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _FOREIGN,
}

_OF_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: _READ_ONLY,
}


def explain(error: sqlite3.Error | OSError, path: Path) -> StateError:
    """The error of SQLite or of the operating system, as what it means for the state file at `path`."""
    if isinstance(error, OSError):
        known = _OF_SYSTEM.get(error.errno or 0)
        detail = os.strerror(error.errno) if error.errno else str(error)
    else:
        # The low byte is the kind; the rest of an extended code says where it struck.
        known = _OF_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        detail = str(error)
    message, hint = known or ("the state file {path} cannot be used", "See that its folder exists and is healthy.")
    return StateError(f"{message.format(path=path)} ({detail})", hint=hint)


def foreign(path: Path) -> StateError:
    """The error for a file that is an SQLite database, but some other program's."""
    return StateError(_FOREIGN[0].format(path=path), hint=_FOREIGN[1])


def damaged(what: str, detail: str) -> StateError:
    """The error for something in the state file, `what`, that makes no sense."""
    return StateError(f"the state file is damaged: {what} cannot be read ({detail})", hint=_DAMAGED[1])


def closed() -> StateError:
    """The error of every call after `close`."""
    return StateError("the state store is closed", hint="Progress is neither read nor saved any more.")
