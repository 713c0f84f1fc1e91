"""How AWS spells an error: its type, its status, its text, and which key holds the text [specification D.1, D.4].

Texts that were recorded against AWS stand here, or in the rules of the configuration, as they were recorded. What esmd
has to say beyond them goes into `LambdaError.detail`, which is a header of the answer, or into texts that AWS has no
counterpart for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.control.protocol import ConflictError, FromFileError, InUseError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.control.protocol import ControlError, Entry

STATUSES = {
    "InvalidParameterValueException": 400,
    "InvalidRequestContentException": 400,
    "RequestTooLargeException": 413,
    "ResourceConflictException": 409,
    "ResourceInUseException": 400,
    "ResourceNotFoundException": 404,
    "SerializationException": 400,
    "ServiceException": 500,
    "TooManyRequestsException": 429,
    "UnknownOperationException": 404,
    "ValidationException": 400,
}
"""Every type of error that is answered, and its HTTP status."""

_CAPITAL = frozenset({"ResourceInUseException", "ResourceNotFoundException", "ServiceException"})
"""Those whose text is called `Message` and not `message`, as in AWS's service model."""

_UNTYPED = frozenset({"SerializationException", "UnknownOperationException", "ValidationException"})
"""Those of AWS's front, not of Lambda's service model: no `Type`."""

_LONGEST_DETAIL = 1000


class LambdaError(Exception):
    """An error for the client.

    Attributes:
        error_type: one of `STATUSES`.
        message: AWS's text, where it has one.
        detail: what esmd knows beyond it; empty where nothing.
        more: further members of the answer, such as `Reason`.
    """

    def __init__(self, error_type: str, message: str, *, detail: str = "", **more: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.detail = detail
        self.more = more


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, still to be sent.

    Attributes:
        status: of HTTP.
        body: JSON text; empty for none.
        headers: beside the content type and the request's id.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def answer_json(status: int, document: Mapping[str, Any]) -> Answer:
    """An answer that is a JSON object."""
    return Answer(status, json.dumps(document, separators=(",", ":")).encode())


def answer_error(error: LambdaError) -> Answer:
    """How an error is sent."""
    kind = error.error_type
    document: dict[str, str] = {"Message" if kind in _CAPITAL else "message": error.message, **error.more}
    if kind not in _UNTYPED:
        document["Type"] = "Service" if kind == "ServiceException" else "User"
    headers = {"X-Amzn-ErrorType": kind}
    if error.detail:
        headers["X-Esmd-Detail"] = _header_text(error.detail)
    answer = answer_json(STATUSES[kind], document)
    return Answer(answer.status, answer.body, headers)


def invalid(message: str, *, detail: str = "") -> LambdaError:
    """A value that may not be, or not here."""
    return LambdaError("InvalidParameterValueException", message, detail=detail)


def constraint(value: str, place: str, rule: str) -> LambdaError:
    """A value that AWS's service model already refuses, in the words of AWS's validation."""
    return LambdaError("ValidationException", f"1 validation error detected: {violation(value, place, rule)}")


def violation(value: str, place: str, rule: str) -> str:
    """One of the sentences in such an error. `value` is quoted by the caller, or is `null`."""
    return f"Value {value} at '{place}' failed to satisfy constraint: {rule}"


def unknown_mapping() -> LambdaError:
    """No mapping has the UUID."""
    return LambdaError("ResourceNotFoundException", "The resource you requested does not exist.")


def conflict(twin: Entry) -> LambdaError:
    """The source and the function have a mapping already. The blanks inside the parentheses are AWS's."""
    arn, name = twin.mapping.event_source_arn, twin.mapping.function_name
    what = (
        f'An event source mapping with SQS arn (" {arn} ") and function (" {name} ") already exists.'
        if twin.mapping.source == "sqs"
        else f'The event source arn (" {arn} ") and function (" {name} ") provided mapping already exists.'
    )
    message = f"{what} Please update or delete the existing mapping with UUID {twin.uuid}"
    detail = f"it is the mapping {twin.name} of {twin.file}" if twin.origin == "file" else ""
    return LambdaError("ResourceConflictException", message, detail=detail)


def refusal(error: ControlError, *, verb: str) -> LambdaError:
    """What AWS would say where the daemon refuses to `update` or `delete` or `tag` a mapping."""
    match error:
        case NotFoundError():
            return unknown_mapping()
        case InUseError():
            message = f"Cannot {verb} the event source mapping because it is in use."
            return LambdaError("ResourceInUseException", message, detail=error.message)
        case ConflictError():
            return conflict(error.twin)
        case FromFileError():
            # Not ResourceInUseException: Terraform would try for minutes what can never work.
            return invalid(" ".join(filter(None, (error.message, error.hint))))
        case InvalidError():
            return invalid(error.message, detail=error.hint)
        case _:  # the daemon is stopping, has several processes, or cannot store anything
            return LambdaError("ServiceException", ": ".join(filter(None, (error.message, error.hint))))


def _header_text(text: str) -> str:
    """What may stand in a header: printable ASCII."""
    shown = "".join(char if " " <= char <= "~" else char.encode("unicode_escape").decode() for char in text)
    return shown[:_LONGEST_DETAIL]
