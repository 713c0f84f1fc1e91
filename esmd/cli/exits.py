"""Exit codes of the command, one table for code, help and docs."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a process of esmd ends with. The values from 64 on are those of sysexits.h."""

    OK = 0
    FAILED = 1
    """Something went wrong while running, or a search found nothing."""
    USAGE = 2
    UNAVAILABLE = 69
    """The endpoint cannot be reached, and `--fail-fast` was given; or no daemon answers a command that needs one."""
    CUT_SHORT = 75
    """The drain was ended by the grace period: what was still running will be delivered again."""
    CONFIG = 78
    """The configuration, or a pattern, is invalid."""
    INTERRUPTED = 130
    """A second interrupt ended the process at once."""
