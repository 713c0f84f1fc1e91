"""`Invoke`: waited for, in the background, or not at all [specification F.1].

| `X-Amz-Invocation-Type`      | what happens                                                              | answer |
|------------------------------|---------------------------------------------------------------------------|--------|
| `RequestResponse`, left out  | invoked now, or refused where no place is free                            | 200    |
| `Event`                      | invoked in the background when a place is free; how it ends is said in the log | 202 |
| `DryRun`                     | nothing                                                                   | 204    |

An `Event` that fails is not tried again: AWS would, twice. What waits or runs is bounded, and is ended with the daemon.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Literal

from esmd.api.lambda_api.errors import Answer, LambdaError, constraint, invalid
from esmd.invoke.payloads import payload_of
from esmd.invoke.protocol import MAX_REQUEST_BYTES
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.observe.context import request_context
from esmd.observe.lambda_api_events import BackgroundFailed, BackgroundInvoked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.function import Function
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry

Failed = Literal["function_error", "throttled", "unreachable", "rejected", "cancelled"]

MAX_EVENT_BYTES = 1_048_576
"""Largest payload in the background."""

MAX_BACKGROUND = 100
"""Most invocations in the background that wait or run."""

_PATIENCE = 6 * 3600.0
"""Seconds that one of them waits for a place: as long as AWS keeps it."""


class Background:
    """The invocations of type `Event`.

    Args:
        telemetry: where their ends are said.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, function: Function, event: bytes, request_id: str) -> None:
        """Invoke when there is a place.

        Raises:
            LambdaError: too many wait or run already.
        """
        if len(self._tasks) >= MAX_BACKGROUND:
            raise _throttled("FunctionInvocationRateLimitExceeded")
        task = asyncio.create_task(self._run(function, event, request_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what waits or runs."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, function: Function, event: bytes, request_id: str) -> None:
        with request_context(request_id, function=function.name):
            outcome: Outcome = Throttled()
            try:
                if await function.take_place(_PATIENCE):
                    outcome = await function.invoke_in_place(event, request_id=request_id)
            except asyncio.CancelledError:
                self._failed(function, request_id, "cancelled", "the daemon stopped")
                raise
            match outcome:
                case Success():
                    self._telemetry.emit(BackgroundInvoked(function=function.name, request_id=request_id))
                case FunctionError():
                    self._failed(function, request_id, "function_error", f"{outcome.error_type}: {outcome.message}")
                case Throttled():
                    self._failed(function, request_id, "throttled", outcome.reason)
                case Unreachable():
                    self._failed(function, request_id, "unreachable", outcome.message)
                case Rejected():
                    self._failed(function, request_id, "rejected", outcome.message)

    def _failed(self, function: Function, request_id: str, outcome: Failed, message: str) -> None:
        self._telemetry.emit(
            BackgroundFailed(function=function.name, request_id=request_id, outcome=outcome, message=message)
        )


def invocation_type(headers: Mapping[str, str]) -> str:
    """The kind of invocation that is asked for.

    Raises:
        LambdaError: there is no such kind, or something is asked for that is not there.
    """
    kind = headers.get("X-Amz-Invocation-Type", "") or "RequestResponse"
    if kind not in ("RequestResponse", "Event", "DryRun"):
        rule = "Member must satisfy enum value set: [Event, RequestResponse, DryRun]"
        raise constraint(f"'{kind[:100]}'", "invocationType", rule)
    if headers.get("X-Amz-Client-Context"):
        raise invalid("ClientContext is not supported by esmd.")
    return kind


def event_of(body: bytes, *, kind: str) -> bytes:
    """The event that a payload is: JSON text; no payload is an empty object.

    Raises:
        LambdaError: it is not JSON, or too large.
    """
    most = MAX_EVENT_BYTES if kind == "Event" else MAX_REQUEST_BYTES
    if len(body) > most:
        raise too_large(most)
    if not body:
        return b"{}"
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"Could not parse request body into json: {error}"
        raise LambdaError("InvalidRequestContentException", message) from None
    return body


def too_large(most: int) -> LambdaError:
    """A payload above the limit."""
    message = f"Request must be smaller than {most} bytes for the InvokeFunction operation"
    return LambdaError("RequestTooLargeException", message)


def answer_of(outcome: Outcome, request_id: str) -> Answer:
    """What the client gets of an invocation that was waited for.

    Raises:
        LambdaError: nothing was run.
    """
    match outcome:
        case Success() | FunctionError():
            headers = {"X-Amz-Executed-Version": outcome.executed_version}
            if isinstance(outcome, FunctionError):
                headers["X-Amz-Function-Error"] = "Unhandled"
            return Answer(200, payload_of(outcome, request_id) or b"", headers)
        case Throttled():
            raise _throttled(outcome.reason)
        case Unreachable():
            raise LambdaError("ServiceException", f"The function could not be reached: {outcome.message}")
        case Rejected():
            raise LambdaError("RequestTooLargeException", outcome.message)


def _throttled(reason: str) -> LambdaError:
    return LambdaError("TooManyRequestsException", "Rate Exceeded.", Reason=reason)
