"""What became of an invocation: the small values that the rules decide on.

| outcome         | meaning                                                                | on AWS                         |
|-----------------|------------------------------------------------------------------------|--------------------------------|
| `Success`       | the handler returned; `payload` is its answer as JSON text              | 200                            |
| `FunctionError` | it raised, timed out, exited, could not start, or answered rubbish      | 200 + `X-Amz-Function-Error`   |
| `Throttled`     | no free concurrency; nothing was run                                    | 429                            |
| `Unreachable`   | the function could not be reached; it may or may not have run           | 5xx, connection lost           |
| `Rejected`      | the request itself is impossible (event larger than 6 MB)               | 413                            |
"""

from __future__ import annotations

from typing import Literal

from esmd.mappings.values import dataclass

LATEST = "$LATEST"
"""The version of whatever has no versions."""


@dataclass(frozen=True, slots=True)
class Success:
    """The handler returned.

    Attributes:
        payload: the answer as JSON text, byte for byte as the runtime produced it; may be empty or invalid
            where a runtime is foreign.
    """

    payload: bytes
    executed_version: str = LATEST


@dataclass(frozen=True, slots=True)
class FunctionError:
    """The handler failed.

    Attributes:
        kind: what the daemon saw: `exception` (it raised, or its answer cannot be sent), `timeout` (killed at
            its deadline), `exit` (its process ended), `init` (it could not be loaded).
        error_type: as Lambda spells it: exception class, `Sandbox.Timedout`, `Runtime.ExitError`,
            `Runtime.ImportModuleError`, `Runtime.HandlerNotFound`, `Runtime.MarshalError`,
            `Function.ResponseSizeTooLarge`.
        message: `errorMessage` of Lambda's error object.
        stack: `stackTrace`, a line each.
    """

    kind: Literal["exception", "timeout", "exit", "init"]
    error_type: str
    message: str
    stack: tuple[str, ...] = ()
    executed_version: str = LATEST


@dataclass(frozen=True, slots=True)
class Throttled:
    """The function runs as often as it may; nothing was started. `reason` is Lambda's `Reason` text."""

    reason: str = "ReservedFunctionConcurrentInvocationLimitExceeded"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The function could not be reached, or the connection broke: retry, it is not the handler's failure."""

    message: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The invocation can never work as it is, for example an event above Lambda's payload limit."""

    error_type: str
    message: str


Outcome = Success | FunctionError | Throttled | Unreachable | Rejected


def version_of(outcome: Outcome) -> str | None:
    """The version that ran, where there is more than one: not `$LATEST`. None if nothing ran, too."""
    if isinstance(outcome, Success | FunctionError) and outcome.executed_version != LATEST:
        return outcome.executed_version
    return None
