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
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from esmd.mappings.outcomes import LATEST, FunctionError

Kind = Literal["exception", "timeout", "exit", "init"]

MAX_TEXT_CHARACTERS = 1000
"""How much of a body that is no error object is quoted."""

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
        _text(document.get("errorType")),
        _text(document.get("errorMessage")),
        _stack(document.get("stackTrace") or document.get("trace")),
        executed_version,
    )


def read_error_object(body: bytes) -> FunctionError | None:
    """The error in an unmarked answer that is an error object and nothing else; None for any other answer."""
    if b'"errorMessage"' not in body:  # spares the parsing of nearly every answer
        return None
    document = _object(body)
    if document is None or not document.keys() <= _KEYS:
        return None
    typed = isinstance(document.get("errorType"), str)
    return read_error(body) if typed or _TIMED_OUT.search(_text(document["errorMessage"])) else None


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


def _stack(value: Any) -> tuple[str, ...]:
    """`stackTrace` as lines; Go sends objects, some runtimes one text."""
    if isinstance(value, str):
        return tuple(value.splitlines())
    return tuple(_text(line) for line in value) if isinstance(value, list) else ()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)
