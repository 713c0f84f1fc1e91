"""The attributes of a queue of the fake SQS: which exist, their ranges and defaults, and how SQS refuses them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.testing.sqs_errors import SqsError, invalid_value

if TYPE_CHECKING:
    from collections.abc import Mapping

# Attribute: default, lowest, highest [SQS API reference, SetQueueAttributes].
RANGES = {
    "VisibilityTimeout": (30, 0, 43_200),
    "DelaySeconds": (0, 0, 900),
    "ReceiveMessageWaitTimeSeconds": (0, 0, 20),
    "MaximumMessageSize": (1_048_576, 1_024, 1_048_576),
}
_FIFO_ONLY = {"FifoQueue", "ContentBasedDeduplication"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|(?=.{6,80}$)[A-Za-z0-9_-]+\.fifo")


@dataclass(frozen=True, slots=True)
class Redrive:
    """Where a message goes that this queue handed out `most_receives` times without a delete."""

    target: str
    most_receives: int


@dataclass(frozen=True, slots=True)
class QueueAttributes:
    """A queue's attributes: as given (`given`, all text, what `GetQueueAttributes` shows) and as used."""

    given: Mapping[str, str]
    visibility: int
    delay: int
    wait: int
    most_bytes: int
    is_fifo: bool
    deduplicates_by_content: bool
    redrive: Redrive | None


def check_name(name: str, *, is_fifo: bool) -> None:
    """Raise `SqsError` unless `name` can be the name of such a queue."""
    if not _NAME.fullmatch(name) or name.endswith(".fifo") != is_fifo:
        raise SqsError(
            "InvalidParameterValue",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length; "
            "the name of a FIFO queue, and of no other, ends with .fifo",
        )


def parse_attributes(given: Mapping[str, object]) -> QueueAttributes:
    """Read a queue's attributes; values may be text (as on the wire) or plain Python values. Raises `SqsError`."""
    texts = {name: _text(value) for name, value in given.items()}
    for name in texts:
        if name not in RANGES and name not in _FIFO_ONLY and name != "RedrivePolicy":
            raise SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")
    is_fifo = _flag(texts, "FifoQueue")
    if not is_fifo and "ContentBasedDeduplication" in texts:
        raise SqsError("InvalidAttributeName", "Unknown Attribute ContentBasedDeduplication.")
    # An empty policy takes the present one away.
    policy = texts.pop("RedrivePolicy", "")
    redrive = _redrive(policy) if policy else None
    numbers = {name: _number(texts, name) for name in RANGES}
    shown = {**texts, **{name: str(number) for name, number in numbers.items()}}
    if redrive:
        shown["RedrivePolicy"] = policy
    return QueueAttributes(
        given=shown,
        visibility=numbers["VisibilityTimeout"],
        delay=numbers["DelaySeconds"],
        wait=numbers["ReceiveMessageWaitTimeSeconds"],
        most_bytes=numbers["MaximumMessageSize"],
        is_fifo=is_fifo,
        deduplicates_by_content=_flag(texts, "ContentBasedDeduplication"),
        redrive=redrive,
    )


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _number(texts: Mapping[str, str], name: str) -> int:
    default, lowest, highest = RANGES[name]
    text = texts.get(name, str(default))
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return int(text)


def _flag(texts: Mapping[str, str], name: str) -> bool:
    text = texts.get(name, "false").lower()
    if text not in ("true", "false"):
        raise SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return text == "true"


def _redrive(text: str) -> Redrive:
    try:
        policy = json.loads(text)
        redrive = Redrive(str(policy["deadLetterTargetArn"]).rpartition(":")[2], int(policy["maxReceiveCount"]))
    except (ValueError, TypeError, KeyError) as error:
        raise invalid_value(text, "RedrivePolicy", "Redrive policy is not a valid JSON map.") from error
    if not 1 <= redrive.most_receives <= 1_000:
        raise invalid_value(
            text, "RedrivePolicy", "Invalid value for maxReceiveCount: must be an integer between 1 and 1000."
        )
    return redrive
