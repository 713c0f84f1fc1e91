"""What becomes of a dead letter: when it may go back to its queue, and as which message.

| the queue is | the letter                               | it is                                                     |
|--------------|------------------------------------------|-----------------------------------------------------------|
| any          | matches no filter                        | kept                                                      |
| standard     | any other                                | sent                                                      |
| FIFO         | is older than five minutes               | sent, with its group and its deduplication id             |
| FIFO         | is younger, new ids were not asked for   | kept: its queue would take it for a duplicate and drop it |
| FIFO         | is younger, new ids were asked for       | sent, with its group and a new deduplication id           |
| FIFO         | one of its group failed or was kept      | kept, so that they stay in order; a filter keeps none up  |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DEDUPLICATION_SECONDS = 300.0
"""How long a FIFO queue drops a message whose deduplication id it has seen [SQS developer guide]."""

_LEEWAY = 15.0
"""Seconds by which our clock may be ahead of the queue's."""

_VALUES = ("StringValue", "BinaryValue", "DataType")


def sent_at(message: Mapping[str, Any]) -> float | None:
    """When a message was sent, in epoch seconds; None where it does not say."""
    text = (message.get("Attributes") or {}).get("SentTimestamp")
    return None if text is None else int(text) / 1000


def group_of(message: Mapping[str, Any]) -> str | None:
    """The message group of a FIFO queue."""
    group: str | None = (message.get("Attributes") or {}).get("MessageGroupId")
    return group


def kept_because(message: Mapping[str, Any], *, new_ids: bool, now: float) -> str | None:
    """Why a letter is not sent to a FIFO queue now; None if it may be. Filters and groups are the caller's.

    Args:
        message: as it was received.
        new_ids: whether deduplication ids are made anew.
        now: epoch seconds.
    """
    if new_ids:
        return None
    sent = sent_at(message)
    left = DEDUPLICATION_SECONDS + _LEEWAY - (0.0 if sent is None else now - sent)
    if left > 0:
        return (
            f"its queue may still take it for a duplicate and drop it: try again in {left:.0f} s,"
            " or with --new-deduplication-ids"
        )
    return None


def as_sent(message: Mapping[str, Any], *, fifo: bool, new_id: str | None) -> dict[str, Any]:
    """The parameters of SendMessage, beside the queue: body, attributes and trace header as they were.

    Args:
        message: as it was received.
        fifo: whether it goes to a FIFO queue.
        new_id: a deduplication id to use in place of its own.
    """
    request: dict[str, Any] = {"MessageBody": message.get("Body", "")}
    attributes = message.get("MessageAttributes") or {}
    if attributes:
        request["MessageAttributes"] = {
            name: {key: value[key] for key in _VALUES if value.get(key) is not None}
            for name, value in attributes.items()
        }
    given = message.get("Attributes") or {}
    if given.get("AWSTraceHeader"):
        request["MessageSystemAttributes"] = {
            "AWSTraceHeader": {"DataType": "String", "StringValue": given["AWSTraceHeader"]}
        }
    if fifo:
        request["MessageGroupId"] = given["MessageGroupId"]
        request["MessageDeduplicationId"] = new_id or given["MessageDeduplicationId"]
    elif given.get("MessageGroupId"):  # of a fair standard queue
        request["MessageGroupId"] = given["MessageGroupId"]
    return request
