"""The SQS side of a mapping: looking a queue up, receiving, deleting, changing visibility.

`SqsApi` is what the rest of the house sees; `BotoSqs` does it through aiobotocore. Every error leaves this module as a
`SourceError` with a classified `Failure`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from esmd.pollers.errors import Failure, Kind, SourceError, classify, classify_entry
from esmd.pollers.localstack import LocalStackClients, reachable_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_RECEIVE = 10
"""Most messages of one ReceiveMessage, and most entries of one batch request."""

ALL_MEMBERS = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
"""What a receive asks for beside the bodies: everything."""

_IDS = tuple(str(n) for n in range(MAX_RECEIVE))
"""Names of the entries of a batch request."""

LOOKED_AT = ("VisibilityTimeout", "RedrivePolicy")
"""The attributes of a queue that matter to a mapping."""

COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
"""The attributes of a queue that say how many messages it holds."""

MAX_VISIBILITY = 43_200
"""Longest visibility timeout, in seconds (12 hours)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue as it is now.

    Attributes:
        url: for the calls; already on the configured endpoint.
        visibility_timeout: the queue's own, in seconds.
        max_receive_count: of its redrive policy; None without one.
        dead_letter_arn: of its redrive policy; None without one.
    """

    url: str
    visibility_timeout: int
    max_receive_count: int | None
    dead_letter_arn: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """About how many messages a queue holds: the service counts roughly.

    Attributes:
        visible: that could be received now.
        not_visible: received, and not deleted.
        delayed: not to be received yet.
    """

    visible: int
    not_visible: int
    delayed: int


@dataclass(frozen=True, slots=True)
class EntryFailure:
    """One entry of a batch request that the service did not carry out."""

    handle: str
    failure: Failure


class SqsApi(Protocol):
    """The calls a mapping makes on its queue. All raise `SourceError`."""

    async def look_up(self) -> Queue:
        """Find the queue and read what matters of it. Also after it was deleted and made again."""
        ...

    async def receive(
        self, queue: Queue, *, most: int, wait: int, visibility_timeout: int | None
    ) -> Sequence[Mapping[str, Any]]:
        """One ReceiveMessage: at most `most` (1 to 10) messages, waiting up to `wait` seconds for the first.

        The returned messages have the API's member names. `visibility_timeout` None means the queue's own.
        """
        ...

    async def delete(self, queue: Queue, handles: Sequence[str]) -> list[EntryFailure]:
        """Delete up to 10 messages; the result names those that were not deleted."""
        ...

    async def change_visibility(self, queue: Queue, timeouts: Mapping[str, int]) -> list[EntryFailure]:
        """Set the time until up to 10 messages (by handle) are visible again, in seconds from now."""
        ...

    async def depth(self, queue: Queue) -> Depth:
        """About how many messages the queue holds."""
        ...


class BotoSqs:
    """`SqsApi` through aiobotocore."""

    def __init__(self, clients: LocalStackClients, *, region: str, account_id: str, queue_name: str) -> None:
        self._clients = clients
        self._region = region
        self._account_id = account_id
        self._queue_name = queue_name
        self._one_client: Any = None

    async def _client(self) -> Any:
        """The shared client, which is made when it is first needed."""
        if self._one_client is None:
            self._one_client, _ = await self._clients.client("sqs", self._region)
        return self._one_client

    async def look_up(self) -> Queue:
        """See `SqsApi.look_up`."""
        try:
            client, connection = await self._clients.client("sqs", self._region)
            found = await client.get_queue_url(QueueName=self._queue_name, QueueOwnerAWSAccountId=self._account_id)
            url = url_of(found, connection.endpoint_url)
            answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=list(LOOKED_AT))
        except Exception as error:
            failure = error.failure if isinstance(error, SourceError) else classify(error)
            raise SourceError(look_up_failure(failure)) from error
        return queue_of(url, answer)

    async def depth(self, queue: Queue) -> Depth:
        """See `SqsApi.depth`."""
        try:
            client = await self._client()
            answer = await client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=list(COUNTS))
        except Exception as error:
            raise SourceError(classify(error)) from error
        return depth_of(answer)

    async def receive(
        self, queue: Queue, *, most: int, wait: int, visibility_timeout: int | None
    ) -> Sequence[Mapping[str, Any]]:
        """See `SqsApi.receive`."""
        extra = {} if visibility_timeout is None else {"VisibilityTimeout": visibility_timeout}
        try:
            client = await self._client()
            answer = await client.receive_message(
                QueueUrl=queue.url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=wait,
                **ALL_MEMBERS,
                **extra,
            )
        except Exception as error:
            raise SourceError(classify(error)) from error
        return checked_messages(answer.get("Messages", ()))

    async def delete(self, queue: Queue, handles: Sequence[str]) -> list[EntryFailure]:
        """See `SqsApi.delete`."""
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)]
        try:
            client = await self._client()
            answer = await client.delete_message_batch(QueueUrl=queue.url, Entries=entries)
        except Exception as error:
            raise SourceError(classify(error)) from error
        return entry_failures(answer, handles)

    async def change_visibility(self, queue: Queue, timeouts: Mapping[str, int]) -> list[EntryFailure]:
        """See `SqsApi.change_visibility`."""
        handles = list(timeouts)
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": timeouts[handle]}
            for n, handle in enumerate(handles)
        ]
        try:
            client = await self._client()
            answer = await client.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
        except Exception as error:
            raise SourceError(classify(error)) from error
        return entry_failures(answer, handles)


def look_up_failure(failure: Failure) -> Failure:
    """What a failed look-up is called: a queue that is not there has AWS's own text for a mapping without its queue."""
    is_missing = failure.code in {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
    return _queue_missing() if is_missing else failure


def url_of(answer: Mapping[str, Any], endpoint_url: str | None) -> str:
    """The queue's URL that an answer tells, at the endpoint. Raises a `SourceError` if it tells none."""
    try:
        return reachable_url(_text(answer["QueueUrl"]), endpoint_url)
    except (KeyError, ValueError) as error:
        raise _malformed("the answer has no QueueUrl") from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value


def queue_of(url: str, answer: Mapping[str, Any]) -> Queue:
    """The queue that an answer with the attributes `LOOKED_AT` tells of. Raises a `SourceError` if it makes no sense."""
    attributes = _attributes_of(answer)
    max_receive_count, dead_letter_arn = _redrive_policy(attributes.get("RedrivePolicy"))
    return Queue(
        url=url,
        visibility_timeout=_number(attributes, "VisibilityTimeout", 30),
        max_receive_count=max_receive_count,
        dead_letter_arn=dead_letter_arn,
    )


def depth_of(answer: Mapping[str, Any]) -> Depth:
    """What an answer with the attributes `COUNTS` tells. Raises a `SourceError` if it makes no sense."""
    attributes = _attributes_of(answer)
    counts = [_number(attributes, name, None) for name in COUNTS]
    return Depth(visible=counts[0], not_visible=counts[1], delayed=counts[2])


def _attributes_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    attributes = answer.get("Attributes", {})
    if not isinstance(attributes, dict):
        raise _malformed("a queue's Attributes are no object")
    return attributes


def _number(attributes: dict[str, Any], name: str, otherwise: int | None) -> int:
    """An attribute that is a number, and usually comes as text."""
    try:
        return int(attributes.get(name, otherwise))  # type: ignore[arg-type] # whatever came
    except (ValueError, TypeError, OverflowError) as error:
        raise _malformed(f"a queue's {name} is no number") from error


def checked_messages(messages: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
    """The messages of an answer; raises a `SourceError` if one of them could not be told apart, deleted or written."""
    for message in messages:
        if type(message) is not dict:
            raise _malformed("a message is no object")
        message_id, handle = message.get("MessageId"), message.get("ReceiptHandle")
        if type(message_id) is not str or type(handle) is not str or not message_id or not handle:
            raise _malformed("a message has no MessageId or ReceiptHandle")
        attributes, own = message.get("Attributes"), message.get("MessageAttributes")
        if not (attributes is None or type(attributes) is dict):
            raise _malformed("a message's Attributes are no object")
        if own and not (type(own) is dict and all(isinstance(each, dict) for each in own.values())):
            raise _malformed("a message's MessageAttributes are no objects")
    return messages


def _malformed(message: str) -> SourceError:
    return SourceError(Failure(Kind.BACK_OFF, "MalformedAnswer", message))


def entry_failures(answer: Mapping[str, Any], handles: Sequence[str]) -> list[EntryFailure]:
    """The failed entries of a batch answer; an entry that the answer does not mention at all has failed too."""
    if not answer.get("Failed") and _are_settled(answer.get("Successful", ()), len(handles)):
        return []
    settled = {str(entry.get("Id")) for entry in answer.get("Successful", ()) if isinstance(entry, dict)}
    failed = {
        str(entry.get("Id")): classify_entry(entry) for entry in answer.get("Failed", ()) if isinstance(entry, dict)
    }
    missing = Failure(Kind.BACK_OFF, "NoResult", "the answer does not mention this entry")
    return [
        EntryFailure(handle, failed.get(str(n), missing))
        for n, handle in enumerate(handles)
        if str(n) in failed or str(n) not in settled
    ]


def _are_settled(successful: Sequence[Any], count: int) -> bool:
    """Whether all of `count` entries are plainly there, which is how nearly every answer is."""
    try:
        return _IDS[:count] == tuple(map(itemgetter("Id"), successful))
    except (KeyError, TypeError):
        return False


def _queue_missing() -> Failure:
    """AWS's own text for a mapping whose queue is not there [specification A.1]."""
    return Failure(
        Kind.RECONFIGURE,
        "AWS.SimpleQueueService.NonExistentQueue",
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
        "SQS Error Message: The specified queue does not exist.",
    )


def _redrive_policy(text: str | None) -> tuple[int | None, str | None]:
    """`maxReceiveCount` and `deadLetterTargetArn` of a RedrivePolicy attribute; some servers send the count as text."""
    if not text:
        return None, None
    try:
        policy = json.loads(text)
        return int(policy["maxReceiveCount"]), str(policy["deadLetterTargetArn"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            Failure(Kind.RECONFIGURE, "InvalidRedrivePolicy", f"the queue's RedrivePolicy cannot be read: {text}")
        ) from error
