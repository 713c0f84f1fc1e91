"""What Lambda would return as the payload of an invocation [specification F.1]."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable

if TYPE_CHECKING:
    from esmd.mappings.outcomes import Outcome


def payload_of(outcome: Outcome, request_id: str) -> bytes | None:
    """The answer, or Lambda's error object; None where nothing was run."""
    match outcome:
        case Success():
            return outcome.payload
        case FunctionError():
            error: dict[str, object] = {"errorMessage": outcome.message, "errorType": outcome.error_type}
            if outcome.kind in {"exception", "init"}:
                error["requestId"] = "" if outcome.kind == "init" else request_id
                error["stackTrace"] = list(outcome.stack)
            return json.dumps(error).encode()
        case Throttled() | Unreachable() | Rejected():
            return None
        case _:
            assert_never(outcome)
