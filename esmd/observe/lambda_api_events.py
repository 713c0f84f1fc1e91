"""The events of AWS's Lambda API as the daemon serves it."""

from __future__ import annotations

from typing import ClassVar, Literal

from esmd.observe.events import Event, Level, event


@event
class BackgroundInvoked(Event):
    """An invocation of type `Event`, whose answer nobody waits for, has succeeded."""

    name: ClassVar[str] = "lambda.invoked"
    function: str
    request_id: str


@event
class BackgroundFailed(Event):
    """An invocation of type `Event` did not succeed. It is not tried again."""

    name: ClassVar[str] = "lambda.invocation_failed"
    level: ClassVar[Level] = "warning"
    function: str
    request_id: str
    outcome: Literal["function_error", "throttled", "unreachable", "rejected", "cancelled"]
    """`cancelled`: the daemon stopped."""
    message: str


@event
class RequestFailed(Event):
    """A request was answered with `ServiceException` because of a defect of esmd; please report it."""

    name: ClassVar[str] = "lambda.request_failed"
    level: ClassVar[Level] = "error"
    operation: str
    request_id: str
    error_type: str
    error_message: str
    stack: tuple[str, ...]
