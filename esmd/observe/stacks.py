"""Where an error came from, for the events of defects."""

from __future__ import annotations

import traceback


def stack_of(error: BaseException) -> tuple[str, ...]:
    """The lines of its traceback, with those of its causes."""
    return tuple(line.rstrip() for line in traceback.format_exception(error))
