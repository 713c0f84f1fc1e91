"""Every error of AWS or of the way to it, classified once.

| kind          | meaning                                                            | what a loop does                   |
|---------------|--------------------------------------------------------------------|------------------------------------|
| `BACK_OFF`    | throttling, 5xx, no connection, time-out: it will work again       | wait, longer each time, and repeat |
| `RECONFIGURE` | source or permission is missing: someone has to change something   | say so, wait, look it up anew      |
| `REFUSED`     | this request is wrong and stays so (a stale receipt handle)        | do not repeat it                   |
| `RE_SEEK`     | a shard's iterator, position or the shard itself is no good now    | find a place in the shard anew     |

What finding a place anew means is decided by `esmd.pollers.streams.seek_again`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Kind(Enum):
    """What an error asks for; see the module's table."""

    BACK_OFF = auto()
    RECONFIGURE = auto()
    REFUSED = auto()
    RE_SEEK = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified error: `code` is stable (AWS's error code or the class name), `message` is for a person.

    `status` is the HTTP status of the answer, 0 where there was none. It tells more about an error, not which one it is.
    """

    kind: Kind
    code: str
    message: str
    status: int = field(default=0, compare=False)


class SourceError(Exception):
    """A call to a source failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure


_RECONFIGURE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidAddress",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "KMSOptInRequired",
        "KmsAccessDenied",
        "KmsDisabled",
        "KmsInvalidState",
        "KmsNotFound",
        "KmsOptInRequired",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "UnsupportedOperation",
        # raised by botocore before anything is sent
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "NoRegionError",
        "InvalidEndpointURLError",
    }
)

_BACK_OFF = frozenset(
    {
        "ExpiredNextTokenException",
        "InternalError",
        "InternalFailure",
        "InternalFailureException",
        "InternalServerError",
        "KMSThrottlingException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestExpired",
        "RequestThrottled",
        "RequestTimeout",
        "ResourceInUseException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

_RE_SEEK = frozenset({"ExpiredIteratorException", "TrimmedDataAccessException"})


def classify(error: BaseException) -> Failure:
    """Classify anything that a call through aiobotocore may raise.

    An error that nobody has classified is a `BACK_OFF`: waiting and repeating loses nothing, giving up might.
    """
    response = getattr(error, "response", None)
    if isinstance(response, dict) and isinstance(response.get("Error"), dict):
        return _of_answer(response)
    code = type(error).__name__
    if isinstance(error, TimeoutError):
        return Failure(Kind.BACK_OFF, code, str(error) or "the call took too long")
    message = _innermost(error)
    return Failure(Kind.RECONFIGURE if code in _RECONFIGURE else Kind.BACK_OFF, code, message)


def classify_entry(entry: dict[str, Any]) -> Failure:
    """Classify one element of `Failed` in the answer to a batch request."""
    code = str(entry.get("Code", "Unknown"))
    message = str(entry.get("Message", "")) or code
    if entry.get("SenderFault") and code not in _BACK_OFF:
        return Failure(Kind.REFUSED, code, message)
    return Failure(Kind.BACK_OFF, code, message)


def _of_answer(response: dict[str, Any]) -> Failure:
    """Classify botocore's form of an error answer."""
    error = response["Error"]
    code = str(error.get("Code", "Unknown"))
    return classify_answer(
        code,
        str(error.get("Message", "")),
        status=response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
        newer=str(error.get("QueryErrorCode", code)),
    )


def classify_answer(code: str, message: str, *, status: int, newer: str) -> Failure:
    """Classify an error answer of a service.

    Args:
        code: the error's. Where SQS has two it is the older one, which AWS's texts use.
        message: for a person; may be empty.
        status: of the HTTP answer.
        newer: the newer code of SQS; where there is one code only, that.
    """
    message = message or code
    if {code, newer} & _RECONFIGURE:
        return Failure(Kind.RECONFIGURE, code, message, status)
    if {code, newer} & _RE_SEEK:
        return Failure(Kind.RE_SEEK, code, message, status)
    if {code, newer} & _BACK_OFF or status >= 500 or status == 429:
        return Failure(Kind.BACK_OFF, code, message, status)
    if 400 <= status < 500:
        return Failure(Kind.REFUSED, code, message, status)
    return Failure(Kind.BACK_OFF, code, message, status)


def _innermost(error: BaseException) -> str:
    """The text of an error, without the library's own wrapping where the cause says it better."""
    text = str(error)
    return text or type(error).__name__
