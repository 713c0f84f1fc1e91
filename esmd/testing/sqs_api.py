"""SQS's JSON requests on a `QueueEngine`: one function per action, requests and answers as the service's model has them.

ReceiveMessage is not here: it can wait, so the server hands the engine a callback; `receive_options` reads it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from esmd.testing.sqs_errors import SqsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esmd.testing.queues import QueueEngine

Request = dict[str, Any]
Answer = dict[str, Any]

_BATCH_LIMIT = 10
_BATCH_BYTES = 1_048_576
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def required(request: Request, name: str) -> Any:
    """Return a member of the request, or raise SQS's error for its absence."""
    value = request.get(name)
    if value is None or value == "":
        raise SqsError("MissingParameter", f"The request must contain the parameter {name}.")
    return value


def receive_options(request: Request) -> dict[str, Any]:
    """Return ReceiveMessage's request as keyword arguments of `QueueEngine.poll`."""
    return {
        "limit": request.get("MaxNumberOfMessages", 1),
        "visibility": request.get("VisibilityTimeout"),
        "wait": request.get("WaitTimeSeconds"),
        # The second name is the older one of the same thing.
        "system_names": request.get("MessageSystemAttributeNames") or request.get("AttributeNames") or (),
        "names": request.get("MessageAttributeNames") or (),
    }


def _create_queue(engine: QueueEngine, request: Request) -> Answer:
    return {"QueueUrl": engine.create_queue(required(request, "QueueName"), request.get("Attributes"))}


def _delete_queue(engine: QueueEngine, request: Request) -> Answer:
    engine.delete_queue(required(request, "QueueUrl"))
    return {}


def _get_queue_url(engine: QueueEngine, request: Request) -> Answer:
    return {"QueueUrl": engine.queue_url(required(request, "QueueName"))}


def _list_queues(engine: QueueEngine, request: Request) -> Answer:
    urls = engine.queue_urls(request.get("QueueNamePrefix") or "")
    return {"QueueUrls": urls} if urls else {}


def _get_queue_attributes(engine: QueueEngine, request: Request) -> Answer:
    attributes = engine.get_attributes(required(request, "QueueUrl"), request.get("AttributeNames") or ())
    return {"Attributes": attributes} if attributes else {}


def _set_queue_attributes(engine: QueueEngine, request: Request) -> Answer:
    engine.set_attributes(required(request, "QueueUrl"), required(request, "Attributes"))
    return {}


def _purge_queue(engine: QueueEngine, request: Request) -> Answer:
    engine.purge(required(request, "QueueUrl"))
    return {}


def _send(engine: QueueEngine, url: str, request: Request, *, serve: bool) -> Answer:
    return engine.send(
        url,
        required(request, "MessageBody"),
        delay=request.get("DelaySeconds"),
        attributes=request.get("MessageAttributes"),
        system_attributes=request.get("MessageSystemAttributes"),
        group=request.get("MessageGroupId"),
        deduplication=request.get("MessageDeduplicationId"),
        serve=serve,
    )


def _send_message(engine: QueueEngine, request: Request) -> Answer:
    return _send(engine, required(request, "QueueUrl"), request, serve=True)


def _send_message_batch(engine: QueueEngine, request: Request) -> Answer:
    url = required(request, "QueueUrl")
    entries = list(_checked_entries(request))
    if sum(len(str(entry.get("MessageBody")).encode()) for entry in entries) > _BATCH_BYTES:
        raise SqsError("BatchRequestTooLong", f"Batch requests cannot be longer than {_BATCH_BYTES} bytes.")
    engine.queue_url(url)  # a missing queue fails the request, not its entries
    answer = _each(entries, lambda entry: _send(engine, url, entry, serve=False))
    engine.serve(url)
    return answer


def _delete_message(engine: QueueEngine, request: Request) -> Answer:
    engine.delete(required(request, "QueueUrl"), required(request, "ReceiptHandle"))
    return {}


def _delete_message_batch(engine: QueueEngine, request: Request) -> Answer:
    url = required(request, "QueueUrl")
    entries = list(_checked_entries(request))
    engine.queue_url(url)
    return _each(entries, lambda entry: engine.delete(url, required(entry, "ReceiptHandle")))


def _change_message_visibility(engine: QueueEngine, request: Request) -> Answer:
    engine.change_visibility(
        required(request, "QueueUrl"), required(request, "ReceiptHandle"), required(request, "VisibilityTimeout")
    )
    return {}


def _change_message_visibility_batch(engine: QueueEngine, request: Request) -> Answer:
    url = required(request, "QueueUrl")
    entries = list(_checked_entries(request))
    engine.queue_url(url)
    return _each(
        entries,
        lambda entry: engine.change_visibility(
            url, required(entry, "ReceiptHandle"), required(entry, "VisibilityTimeout")
        ),
    )


def _checked_entries(request: Request) -> Iterator[Request]:
    """Yield the entries of a batch that is acceptable as a whole."""
    entries = request.get("Entries") or []
    if not entries:
        raise SqsError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > _BATCH_LIMIT:
        text = f"Maximum number of entries per request are {_BATCH_LIMIT}. You have sent {len(entries)}."
        raise SqsError("TooManyEntriesInBatchRequest", text)
    seen = set()
    for entry in entries:
        entry_id = required(entry, "Id")
        if not _ENTRY_ID.fullmatch(entry_id):
            text = (
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores, 1 to 80 in length."
            )
            raise SqsError("InvalidBatchEntryId", text)
        if entry_id in seen:
            raise SqsError("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
        seen.add(entry_id)
        yield entry


def _each(entries: list[Request], act: Callable[[Request], Answer | None]) -> Answer:
    """Do every entry by itself; one that fails leaves the others alone."""
    successful: list[Answer] = []
    failed: list[Answer] = []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **(act(entry) or {})})
        except SqsError as error:
            failed.append(failed_entry(entry["Id"], error))
    answer: Answer = {"Successful": successful}
    if failed:
        answer["Failed"] = failed
    return answer


def failed_entry(entry_id: str, error: SqsError) -> Answer:
    """Return an element of a batch answer's `Failed`."""
    return {
        "Id": entry_id,
        "SenderFault": error.is_senders_fault,
        "Code": error.query_error.partition(";")[0],
        "Message": error.message,
    }


ACTIONS: dict[str, Callable[[QueueEngine, Request], Answer]] = {
    "ChangeMessageVisibility": _change_message_visibility,
    "ChangeMessageVisibilityBatch": _change_message_visibility_batch,
    "CreateQueue": _create_queue,
    "DeleteMessage": _delete_message,
    "DeleteMessageBatch": _delete_message_batch,
    "DeleteQueue": _delete_queue,
    "GetQueueAttributes": _get_queue_attributes,
    "GetQueueUrl": _get_queue_url,
    "ListQueues": _list_queues,
    "PurgeQueue": _purge_queue,
    "SendMessage": _send_message,
    "SendMessageBatch": _send_message_batch,
    "SetQueueAttributes": _set_queue_attributes,
}
"""Every action but ReceiveMessage."""
