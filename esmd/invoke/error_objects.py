"""Reads Lambda's error objects, whoever sends them, and the ways in which emulators tell of a failure.

Lambda marks the answer of a failed function with a header. Its emulators do not always:

| answer without that mark                                                              | what it is          |
|---------------------------------------------------------------------------------------|---------------------|
| an object with `errorType` and `errorMessage`, and no key but those of an error object | the function's error |
| an object with an `errorMessage` that ends in `Task timed out after N seconds`, likewise | a timeout          |
| the text `Task timed out after N seconds`                                             | a timeout           |
| nothing at all, though a runtime answers at least `null`                              | the function's end  |
| anything else                                                                         | no error            |

The first two are read wherever they come from. The others are told by the Runtime Interface Emulator and `sam local` only.

Whoever wrote an object is foreign code: its members may be missing, of any type, nested or long without an end. What is
read of them is always text that UTF-8 can hold, and never more than a log or a failure record can bear.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from esmd.invoke.runtime import MAX_MESSAGE_CHARACTERS
from esmd.mappings.outcomes import LATEST, FunctionError

Kind = Literal["exception", "timeout", "exit", "init"]

MAX_TEXT_CHARACTERS = 1000
"""How much of a body that is no error object is quoted."""

MAX_STACK_LINES = 200
MAX_STACK_LINE_CHARACTERS = 1000
"""How much of a stack is kept: a runaway recursion must not flood the log or a failure record."""

_KEYS = frozenset({"errorMessage", "errorType", "stackTrace", "requestId", "cause", "trace"})
"""What the runtimes put into an error object: `trace` is Node's stack, `cause` Java's and .NET's."""

_TIMED_OUT = re.compile(r"Task timed out after [0-9.]+ seconds$")

_KINDS: dict[str, Kind] = {
    "Sandbox.Timedout": "timeout",
    "Extension.Crash": "exit",
    "Runtime.ExitError": "exit",
    "Runtime.OutOfMemory": "exit",
    "Runtime.BadFunctionCode": "init",
    "Runtime.HandlerNotFound": "init",
    "Runtime.ImportModuleError": "init",
    "Runtime.InvalidEntrypoint": "init",
    "Runtime.InvalidTaskConfig": "init",
    "Runtime.InvalidWorkingDir": "init",
    "Runtime.MalformedHandlerName": "init",
    "Runtime.UserCodeSyntaxError": "init",
}


def read_error(body: bytes, *, executed_version: str = LATEST) -> FunctionError:
    """The error that a marked answer tells of; whatever is in `body`, it is one.

    An error without a type is called `Unhandled`, as in Lambda's header.
    """
    document = _object(body)
    if document is None or not document.keys() & {"errorType", "errorMessage"}:
        return _error("", text_of(body) or "The function failed and did not say why.", (), executed_version)
    return _error(
        member_text(document.get("errorType")),
        member_text(document.get("errorMessage")),
        stack_lines(document.get("stackTrace") or document.get("trace")),
        executed_version,
    )


def read_error_object(body: bytes) -> FunctionError | None:
    """The error in an unmarked answer that is an error object and nothing else; None for any other answer."""
    if b'"errorMessage"' not in body:  # spares the parsing of nearly every answer
        return None
    document = _object(body)
    if document is None or "errorMessage" not in document or not document.keys() <= _KEYS:
        return None
    typed = isinstance(document.get("errorType"), str)
    return read_error(body) if typed or _TIMED_OUT.search(member_text(document["errorMessage"])) else None


def read_emulator(body: bytes) -> FunctionError | None:
    """The error in an unmarked answer of an emulator, by the module's table; None for no error."""
    said = body.strip()
    if not said:
        return _error("Runtime.ExitError", "The function answered nothing, not even null: it ended or timed out.", ())
    if len(said) < MAX_TEXT_CHARACTERS and _TIMED_OUT.match(text_of(said)):
        return _error("Sandbox.Timedout", text_of(said), ())
    return read_error_object(body)


def text_of(body: bytes) -> str:
    """A body as a line for a person, not too long."""
    return " ".join(body[: 4 * MAX_TEXT_CHARACTERS].decode("utf-8", "replace").split())[:MAX_TEXT_CHARACTERS]


def _error(error_type: str, message: str, stack: tuple[str, ...], executed_version: str = LATEST) -> FunctionError:
    error_type = error_type or ("Sandbox.Timedout" if _TIMED_OUT.search(message) else "Unhandled")
    return FunctionError(_KINDS.get(error_type, "exception"), error_type, message, stack, executed_version)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def stack_lines(value: Any) -> tuple[str, ...]:
    """`stackTrace` as lines; Go sends objects, some runtimes one text."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list):
        return ()
    return tuple(member_text(line, MAX_STACK_LINE_CHARACTERS) for line in lines[:MAX_STACK_LINES])


def member_text(value: Any, longest: int = MAX_MESSAGE_CHARACTERS) -> str:
    """A member of an error object as text; null is none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value, longest)
    try:
        return clean(json.dumps(value), longest)
    except RecursionError:  # the parser goes some levels deeper than the writer
        return "(nested too deeply to be shown)"


def clean(text: str, longest: int = MAX_MESSAGE_CHARACTERS) -> str:
    """Text that can be written as UTF-8, and is not too long."""
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    return text.encode("utf-8", "replace").decode()
