"""What the HTTP messages of Lambda's Runtime API mean: paths, headers and bodies, read and written as bytes.

| request                                            | meaning                                          |
|----------------------------------------------------|--------------------------------------------------|
| `GET /2018-06-01/runtime/invocation/next`          | the runtime is ready for an invocation           |
| `POST /2018-06-01/runtime/invocation/ID/response`  | the answer, as it is                             |
| `POST /2018-06-01/runtime/invocation/ID/error`     | the handler failed                               |
| `POST /2018-06-01/runtime/init/error`              | the handler cannot be loaded                     |
| another method on one of these                     | 405                                              |
| anything else                                      | 404, also `restore/next`: nothing is snapshotted |

A runtime is foreign code: an error object may lack members, have others, or be no JSON at all. Whatever it is, it stays
a failure, with as much of its type, message and stack as can be found [specification F.1, F.3].
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Literal

from esmd.invoke.error_objects import clean, member_text, stack_lines
from esmd.invoke.runtime_session import Invocation, Refusal
from esmd.mappings.outcomes import FunctionError, Success

Headers = dict[bytes, bytes]
"""Names in lower case, as h11 gives them."""

_BASE = b"/2018-06-01/runtime/"
_INVOCATION = _BASE + b"invocation/"
_MODE = b"lambda-runtime-function-response-mode"
_ERROR_TYPE = b"lambda-runtime-function-error-type"
_ERROR_BODY = b"lambda-runtime-function-error-body"

UNKNOWN_ERROR = "Runtime.Unknown"
"""The type of an error that does not say its own."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the Runtime API knows."""

    kind: Literal["next", "response", "error", "init/error"]
    request_id: str = ""


NEXT = Call("next")
INIT_ERROR = Call("init/error")
NO_SUCH_PATH = Refusal(404, "NotFound", "The Runtime API has no such path.")


def route(method: bytes, target: bytes) -> Call | Refusal:
    """What a request asks for, by its method and path."""
    path = target.partition(b"?")[0]
    if path == _INVOCATION + b"next":
        call, expected = NEXT, b"GET"
    elif path == _BASE + b"init/error":
        call, expected = INIT_ERROR, b"POST"
    else:
        request_id, _, action = path.removeprefix(_INVOCATION).partition(b"/")
        if not path.startswith(_INVOCATION) or not request_id or action not in {b"response", b"error"}:
            return NO_SUCH_PATH
        kind: Literal["response", "error"] = "response" if action == b"response" else "error"
        call, expected = Call(kind, request_id.decode("latin-1")), b"POST"
    if method != expected:
        return Refusal(405, "MethodNotAllowed", f"The method of this path is {expected.decode()}.")
    return call


def next_headers(invocation: Invocation) -> list[tuple[bytes, bytes]]:
    """The headers that come with an event [specification F.3]."""
    return [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(invocation.event)),
        (b"Lambda-Runtime-Aws-Request-Id", invocation.request_id.encode()),
        (b"Lambda-Runtime-Deadline-Ms", b"%d" % invocation.deadline_ms),
        (b"Lambda-Runtime-Invoked-Function-Arn", invocation.arn.encode()),
        (b"Lambda-Runtime-Trace-Id", invocation.trace.encode()),
    ]


def error_json(error_type: str, message: str) -> bytes:
    """Lambda's error object, as the Runtime API answers with."""
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()


def refused_mode(headers: Headers) -> tuple[FunctionError, Refusal] | None:
    """What becomes of an answer in a response mode that does not exist; None for `streaming`, or none."""
    mode = headers.get(_MODE)
    if mode is None or mode.lower() == b"streaming":
        return None
    message = f"The response mode {mode.decode('latin-1')!r} does not exist: leave the header out, or say streaming."
    failure = FunctionError("exception", "Runtime.InvalidResponseModeHeader", message)
    return failure, Refusal(400, "InvalidFunctionResponseMode", message)


def answer(body: bytes, headers: Headers, trailers: Headers) -> Success | FunctionError:
    """The outcome of an answer that came to its end.

    A stream that failed half-way says so in its trailers. One of the two is enough, and a header of that name is taken
    for the same: what might be a failure is one.
    """
    said = {**headers, **trailers}
    if _ERROR_TYPE not in said and _ERROR_BODY not in said:
        return Success(body)
    encoded = said.get(_ERROR_BODY)
    try:
        error_body = body if encoded is None else base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        error_body = encoded or b""
    return error(error_body, said, kind="exception")


def error(body: bytes, headers: Headers, *, kind: Literal["exception", "init"]) -> FunctionError:
    """The failure that an error object describes, however well it does."""
    header_type = clean(headers.get(_ERROR_TYPE, b"").decode("utf-8", "replace"))
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return FunctionError(kind, header_type or UNKNOWN_ERROR, clean(body.decode("utf-8", "replace")))
    error_type = said.get("errorType")
    return FunctionError(
        kind,
        clean(error_type) if isinstance(error_type, str) and error_type else header_type or UNKNOWN_ERROR,
        member_text(said.get("errorMessage")),
        stack_lines(said.get("stackTrace", said.get("trace"))),  # Node's runtimes call it trace
    )
