"""What can go wrong with kept progress, each error with a sentence on what to do about it.

| error                  | meaning                                                          | what a caller does                         |
|------------------------|------------------------------------------------------------------|--------------------------------------------|
| `StateError`           | the store could not do it: disk full, locked, read-only, damaged | says so, waits, repeats; nothing was saved |
| `StateInUseError`      | another process owns the file                                    | ends; only at opening                      |
| `PositionMovedBackError` | a save would undo progress                                     | ends the shard: this is a defect of ours   |
| `OtherStreamError`     | a save for a stream that has been replaced since                 | ends the shard: its stream is gone         |
"""

from __future__ import annotations


class StateError(Exception):
    """Progress could not be read or saved.

    Attributes:
        message: what happened, for a person.
        hint: what to do about it, for a person.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message}: {hint}")
        self.message = message
        self.hint = hint


class StateInUseError(StateError):
    """Another process owns the state file.

    Attributes:
        pid: its process id; None where it had no time yet to write it down.
    """

    def __init__(self, message: str, *, hint: str, pid: int | None) -> None:
        super().__init__(message, hint=hint)
        self.pid = pid


class PositionMovedBackError(StateError):
    """A save would have moved a shard's position backwards. Nothing of it was saved."""


class OtherStreamError(StateError):
    """A save or forget for another identity than the one that the mapping has begun. Nothing of it was done."""
