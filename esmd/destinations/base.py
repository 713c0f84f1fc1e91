"""What an on-failure destination is, and how its errors are classified.

A destination's error never means that the failure record is wrong, since all of them have one shape. So what is missing
or forbidden asks for somebody to change something, whatever code the service has for it:

| error                                             | kind                                                      |
|---------------------------------------------------|-----------------------------------------------------------|
| throttled, 5xx, time-out, no connection           | `BACK_OFF`                                                |
| HTTP 401, 403 or 404                              | `RECONFIGURE`: the target or the right to it is missing   |
| SQS's code for a missing queue                    | `RECONFIGURE`                                             |
| a code that begins with `KMS`, of throttling      | `BACK_OFF`                                                |
| any other code that begins with `KMS`             | `RECONFIGURE`: the key is missing, disabled or forbidden  |
| another 4xx                                       | as `esmd.pollers.errors` has it                           |
| an answer without the proof of acceptance         | `BACK_OFF`: it may have been accepted, and is sent again  |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from esmd.pollers.errors import Failure, Kind, SourceError, classify

if TYPE_CHECKING:
    from esmd.mappings.destinations import DestinationArn


@dataclass(frozen=True, slots=True)
class FailureMessage:
    """One failure record, in the shapes of all destinations [specification B.8].

    Attributes:
        body: the invocation record as JSON text: an SQS body, an SNS message.
        s3_key: key of the S3 object.
        s3_body: the invocation record with `payload`, as JSON text: the S3 object.
    """

    body: str
    s3_key: str
    s3_body: str


class Destination(Protocol):
    """Takes the failure records of a mapping."""

    @property
    def arn(self) -> DestinationArn:
        """Where the records go."""
        ...

    async def check(self) -> None:
        """Look whether the target is there. Needs a right to read it, which `send` does not.

        Raises:
            SourceError: it is not, or it cannot be seen.
        """
        ...

    async def send(self, message: FailureMessage) -> None:
        """Send one record; return when the service has accepted it.

        Nothing is repeated in here: the caller keeps the shard waiting and calls again. A record may arrive twice, for
        example where the connection broke before the answer.

        Raises:
            SourceError: it is not certain that the service has it.
        """
        ...


_NO_TARGET = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NoSuchBucket", "NotFound"})

# HEAD has no body to carry a code, so the client makes one of the status.
_OF_HEAD = {"403": "AccessDenied", "404": "NoSuchBucket"}

_NOUNS = {"sqs": "queue", "sns": "topic", "s3": "bucket"}


def destination_error(error: Exception, arn: DestinationArn) -> SourceError:
    """The error of a call to the destination `arn`, classified by the module's table; its message names the target."""
    failure = classify(error)
    failure = replace(failure, code=_OF_HEAD.get(failure.code, failure.code))
    missing = failure.code in _NO_TARGET
    if failure.kind is Kind.REFUSED:
        failure = replace(failure, kind=_kind(failure.code, _status(error)))
    noun = _NOUNS[arn.service]
    said = f"the {noun} does not exist" if missing else failure.message
    return SourceError(replace(failure, message=f"on-failure destination {arn}: {said}"))


def not_accepted(arn: DestinationArn, lacking: str) -> SourceError:
    """The error for an answer that says success but lacks `lacking`, which every real one has."""
    message = f"on-failure destination {arn}: the answer has no {lacking}"
    return SourceError(Failure(Kind.BACK_OFF, "MalformedAnswer", message))


def _status(error: Exception) -> int:
    """The HTTP status of an error answer."""
    response: dict[str, Any] = getattr(error, "response", {})
    status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status


def _kind(code: str, status: int) -> Kind:
    """What a 4xx asks for. The services spell trouble with the key `KMSDisabled` or `KMS.DisabledException`."""
    is_key = code.upper().startswith("KMS")
    if is_key and "throttl" in code.lower():
        return Kind.BACK_OFF
    return Kind.RECONFIGURE if is_key or status in (401, 403, 404) else Kind.REFUSED
