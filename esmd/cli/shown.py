"""What `esmd invoke` says of an outcome in a few words for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from esmd.mappings import outcomes
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable

if TYPE_CHECKING:
    from esmd.mappings.outcomes import Outcome


def title_of(outcome: Outcome, *, limit: int) -> str:
    """What it is, and why if nothing else says so. `limit` is the function's concurrency."""
    match outcome:
        case Success():
            return "success"
        case FunctionError():
            return f"function error ({outcome.error_type})"
        case Throttled():
            stopped = "; reserved_concurrency 0 stops the function" if limit == 0 else ""
            return f"throttled ({outcome.reason}{stopped})"
        case Unreachable():
            return f"unreachable ({outcome.message})"
        case Rejected():
            return f"rejected ({outcome.error_type}: {outcome.message})"
        case _:
            assert_never(outcome)


def version_of(outcome: Outcome) -> str:
    """`, version NAME` where it was another one than `$LATEST`; else nothing."""
    version = outcomes.version_of(outcome)
    return "" if version is None else f", version {version}"
