"""Lambda's words for what can go wrong with an invocation [specification F.1], the same for every kind of invoker."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from esmd.invoke import runtime
from esmd.invoke.error_objects import read_error
from esmd.invoke.protocol import MAX_REQUEST_BYTES
from esmd.mappings.events import is_longer_than
from esmd.mappings.outcomes import FunctionError, Outcome, Rejected, Success, Unreachable

if TYPE_CHECKING:
    from esmd.invoke.process import Cause
    from esmd.invoke.protocol import FunctionSpec
    from esmd.mappings.events import Event


def request_too_large(event: bytes | Event) -> Rejected | None:
    """The refusal of an event above the limit; None for one that may be sent."""
    if not is_longer_than(event, MAX_REQUEST_BYTES):
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


def out_of_memory(request_id: str, *, kind: Literal["exit", "init"] = "exit") -> FunctionError:
    """The handler's processes held more memory than the function may have."""
    return FunctionError(kind, "Runtime.OutOfMemory", f"RequestId: {request_id} Error: {exit_text(-signal.SIGKILL)}")


def ended(request_id: str, *, cause: Cause, status: int, seconds: float) -> FunctionError:
    """What an invocation comes to whose process has ended.

    Args:
        request_id: of the invocation.
        cause: why it ended.
        status: its exit status.
        seconds: the function's timeout.
    """
    if cause == "timeout":
        return timed_out(request_id, seconds)
    return out_of_memory(request_id) if cause == "memory" else exited(request_id, status)


def not_loaded(request_id: str, *, cause: Cause, status: int, what: str, seconds: float) -> FunctionError:
    """What loading comes to whose process has ended without a word.

    Args:
        request_id: of the invocation that waits for it; empty if none does.
        cause: why it ended.
        status: its exit status.
        what: the handler, or the program.
        seconds: how long it was given.
    """
    if cause == "init":
        message = f"RequestId: {request_id} Error: Loading {what} timed out after {seconds:.2f} seconds"
        return FunctionError("init", "Sandbox.Timedout", message)
    if cause == "memory":
        return out_of_memory(request_id, kind="init")
    return exited(request_id, status, kind="init")


def readdressed(error: FunctionError, sender: str, receiver: str) -> FunctionError:
    """A failure of one invocation as that of another: its text may begin with the request id."""
    before = f"RequestId: {sender} "
    if sender == receiver or not error.message.startswith(before):
        return error
    return replace(error, message=f"RequestId: {receiver} {error.message.removeprefix(before)}")


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
    """An error object of the Python runtime as an outcome. A handler may write to its worker's channel: it is foreign too."""
    return replace(read_error(body), kind=kind)
