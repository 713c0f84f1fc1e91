"""Lambda's words for what can go wrong with an invocation [specification F.1], the same for every kind of invoker."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Literal

from esmd.invoke import runtime
from esmd.invoke.protocol import MAX_REQUEST_BYTES
from esmd.mappings.outcomes import FunctionError, Outcome, Rejected, Success, Unreachable

if TYPE_CHECKING:
    from esmd.invoke.protocol import FunctionSpec


def request_too_large(event: bytes) -> Rejected | None:
    """The refusal of an event above the limit; None for one that may be sent."""
    if len(event) <= MAX_REQUEST_BYTES:
        return None
    message = f"Request must be smaller than {MAX_REQUEST_BYTES} bytes for the InvokeFunction operation"
    return Rejected("RequestTooLargeException", message)


def timed_out(request_id: str, seconds: float) -> FunctionError:
    """The handler was still running at its deadline."""
    message = f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
    return FunctionError("timeout", "Sandbox.Timedout", message)


def exited(request_id: str, status: int, *, kind: Literal["exit", "init"] = "exit") -> FunctionError:
    """The handler's process ended. `status` as `subprocess` gives it: negative is a signal."""
    return FunctionError(kind, "Runtime.ExitError", f"RequestId: {request_id} Error: {exit_text(status)}")


def exit_text(status: int) -> str:
    """How Lambda describes the end of a process."""
    if status == 0:
        return "Runtime exited without providing a reason"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    name = (signal.strsignal(-status) or f"signal {-status}").partition(":")[0]
    return f"Runtime exited with error: signal: {name.lower()}"


def closing(spec: FunctionSpec) -> Unreachable:
    """The invoker is closing, or was closed, before the handler could answer."""
    return Unreachable(f"Function {spec.name} is shutting down.")


def outcome_of(kind: int, body: bytes) -> Outcome:
    """What a reply of the Python runtime to an invocation means."""
    return Success(body) if kind == runtime.ANSWER else error_of(body, kind="exception")


def error_of(body: bytes, *, kind: Literal["exception", "init"]) -> FunctionError:
    """An error object of the Python runtime as an outcome."""
    error = json.loads(body)
    return FunctionError(kind, error["errorType"], error["errorMessage"], tuple(error["stackTrace"]))
