"""The Lambda event JSON of each source [specification A.8].

A record becomes a dict once (`sqs_record`: what filters look at), then JSON text once (`encode`). The event of a batch
is these texts joined, so its size is known to the byte before it is built. A handler in the daemon's own process takes the
event as a value (`Event.value`), without that text.
"""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esmd.mappings.records import Record

MAX_EVENT_BYTES = 6 * 1024 * 1024
"""Lambda's limit on a synchronous event, bodies and metadata together [specification A.2, F.1]."""

_HEAD = b'{"Records":['
_TAIL = b"]}"
ENVELOPE_BYTES = len(_HEAD) + len(_TAIL)
"""Bytes of an event beyond its records; one more for each comma between them."""

_ATTRIBUTE_ORDER = (
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "SentTimestamp",
    "SequenceNumber",
    "MessageGroupId",
    "SenderId",
    "MessageDeduplicationId",
    "ApproximateFirstReceiveTimestamp",
    "DeadLetterQueueSourceArn",
)


is_plain = re.compile(r"[A-Za-z0-9+/=_.:!#$%*,;?@^~ -]*", re.ASCII).fullmatch
"""Text that is its own JSON."""

PLAIN = bytes(code for code in range(128) if is_plain(chr(code)))
"""The characters that it is made of."""


@lru_cache(maxsize=1000)
def attribute_order(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """For the names of a message's attributes, as they came, their order in the event; None if one is unknown."""
    if not set(names) <= set(_ATTRIBUTE_ORDER):
        return None
    return tuple(name for name in _ATTRIBUTE_ORDER if name in names)


def sqs_record(message: Mapping[str, Any], *, queue_arn: str, region: str, windowed: bool) -> dict[str, Any]:
    """Turn a message of ReceiveMessage into its element of `Records`.

    Args:
        message: as the API returns it; the body goes through untouched.
        queue_arn: the queue's ARN, `eventSourceARN`.
        region: the queue's region, `awsRegion`.
        windowed: whether the mapping has a batching window: then, and only then, a message without attributes
            carries `md5OfMessageAttributes: null`; else the key is absent (recorded on AWS).
    """
    given = message.get("Attributes") or {}
    attributes = {name: str(given[name]) for name in _ATTRIBUTE_ORDER if name in given}
    if len(attributes) < len(given):
        attributes.update((name, str(value)) for name, value in given.items() if name not in attributes)
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message.get("Body") or "",
        "attributes": attributes,
        "messageAttributes": {
            name: _message_attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
        },
    }
    md5 = message.get("MD5OfMessageAttributes")
    if md5 is not None or windowed:
        record["md5OfMessageAttributes"] = md5
    record["md5OfBody"] = message.get("MD5OfBody")
    record["eventSource"] = "aws:sqs"
    record["eventSourceARN"] = queue_arn
    record["awsRegion"] = region
    return record


class SqsText:
    """`encode(sqs_record(message, ...))` for the messages of one queue, in about half the time.

    What is the same for all of them is encoded once. For messages without a filter, which need no dict.
    """

    __slots__ = ("_md5", "_tail", "queue_arn", "region", "windowed")

    def __init__(self, *, queue_arn: str, region: str, windowed: bool) -> None:
        self.queue_arn, self.region, self.windowed = queue_arn, region, windowed
        self._md5 = ',"md5OfMessageAttributes":null' if windowed else ""
        arn, where = encode(queue_arn).decode(), encode(region).decode()
        self._tail = f'","eventSource":"aws:sqs","eventSourceARN":{arn},"awsRegion":{where}}}'

    def of(self, message: Mapping[str, Any]) -> bytes:
        """The message's element of `Records` as JSON. What is not usual about it goes the plain way."""
        try:
            given = message["Attributes"]
            order = attribute_order(tuple(given))
            if order is None or message.get("MessageAttributes") or message.get("MD5OfMessageAttributes") is not None:
                return self._plainly(message)
            message_id, handle, md5 = message["MessageId"], message["ReceiptHandle"], message["MD5OfBody"]
            values = [given[name] for name in order]
            if not is_plain(f"{message_id}{handle}{md5}{''.join(values)}"):
                return self._plainly(message)
            body = message["Body"]
            if type(body) is not str:
                return self._plainly(message)
            body = to_json(body)
        except (KeyError, TypeError, PydanticSerializationError, UnicodeEncodeError):
            return self._plainly(message)
        attributes = ",".join([f'"{name}":"{value}"' for name, value in zip(order, values, strict=True)])
        return b"".join(
            (
                f'{{"messageId":"{message_id}","receiptHandle":"{handle}","body":'.encode(),
                body,
                f',"attributes":{{{attributes}}},"messageAttributes":{{}}{self._md5},"md5OfBody":"{md5}{self._tail}'.encode(),
            )
        )

    def _plainly(self, message: Mapping[str, Any]) -> bytes:
        return encode(sqs_record(message, queue_arn=self.queue_arn, region=self.region, windowed=self.windowed))


def _message_attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of messageAttributes: the two lists are always there and always empty."""
    entry: dict[str, Any] = {}
    if value.get("StringValue") is not None:
        entry["stringValue"] = value["StringValue"]
    elif value.get("BinaryValue") is not None:
        binary = value["BinaryValue"]
        entry["binaryValue"] = base64.b64encode(binary).decode() if isinstance(binary, bytes) else binary
    entry["stringListValues"] = []
    entry["binaryListValues"] = []
    entry["dataType"] = value.get("DataType", "String")
    return entry


def encode(record: Mapping[str, Any] | str) -> bytes:
    """A record, or a text in one, as compact UTF-8 JSON; what UTF-8 cannot hold (lone surrogates) is escaped."""
    try:
        return to_json(record)
    except (PydanticSerializationError, UnicodeEncodeError):
        return json.dumps(record, separators=(",", ":")).encode()


def join(records: Iterable[Record]) -> bytes:
    """The event of a batch, as UTF-8 JSON."""
    return b"".join((_HEAD, b",".join([record.event for record in records]), _TAIL))


class Event:
    """The event of a batch, made as its function takes it."""

    __slots__ = ("_records", "_text")

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._text: bytes | None = None

    def text(self) -> bytes:
        """As UTF-8 JSON."""
        if self._text is None:
            self._text = join(self._records)
        return self._text

    def value(self) -> dict[str, Any]:
        """What `json.loads` makes of it; the caller's own, to be changed at will."""
        return {"Records": [record.value() for record in self._records]}

    def is_longer_than(self, limit: int) -> bool:
        """Whether its text has more bytes than that."""
        most = ENVELOPE_BYTES + len(self._records) + sum([record.most for record in self._records])
        return most > limit and len(self.text()) > limit


def text_of(event: bytes | Event) -> bytes:
    """An event as UTF-8 JSON."""
    return event if isinstance(event, bytes) else event.text()


def is_longer_than(event: bytes | Event, limit: int) -> bool:
    """Whether an event has more bytes than that as JSON."""
    return len(event) > limit if isinstance(event, bytes) else event.is_longer_than(limit)
