"""Why positions are not moved."""

from __future__ import annotations


class PositionsError(Exception):
    """What was asked for cannot be done; nothing has happened.

    Attributes:
        message: what is wrong, for a person.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
