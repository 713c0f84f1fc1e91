"""One message of the fake SQS: its content checked on the way in, its digests, and how an answer shows it."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import re
import struct
from typing import TYPE_CHECKING, Any

from esmd.testing.sqs_errors import SqsError, invalid_value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# XML 1.0's characters, the only ones that SQS takes [SQS API reference, SendMessage].
_REFUSED_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TRANSPORT_STRING, _TRANSPORT_BINARY = b"\x01", b"\x02"


class Place(enum.Enum):
    """Where a message is; it is in exactly one place at any time."""

    DELAYED = "delayed"
    VISIBLE = "visible"
    INFLIGHT = "inflight"
    GONE = "gone"


class Message:
    """A message in a queue. Mutable: the backlog that holds it moves it from place to place.

    Attributes:
        receives: how often it was handed out, over all queues it was in.
        receives_here: the same since it came into its present queue; this is what `maxReceiveCount` limits.
        order: position in its queue; lower is older.
        hold: number of the present hiding period; expiry timers of earlier ones are void.
    """

    __slots__ = (
        "attributes",
        "body",
        "body_md5",
        "first_received_at",
        "group",
        "hold",
        "id",
        "order",
        "place",
        "receives",
        "receives_here",
        "system",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - it is the message's id
        body: str,
        *,
        attributes: Mapping[str, Mapping[str, Any]],
        system: dict[str, str],
        group: str | None,
    ) -> None:
        self.id = id
        self.body = body
        self.body_md5 = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
        self.attributes = attributes
        self.system = system
        self.group = group
        self.place = Place.GONE
        self.order = 0
        self.hold = 0
        self.receives = 0
        self.receives_here = 0
        self.first_received_at = ""

    def received(self, at_ms: str) -> None:
        """Count one delivery, at `at_ms` (epoch milliseconds as text)."""
        self.receives += 1
        self.receives_here += 1
        if not self.first_received_at:
            self.first_received_at = at_ms

    def shown(self, handle: str, *, system_names: Collection[str], names: Collection[str]) -> dict[str, Any]:
        """Return the message as an element of ReceiveMessage's `Messages`.

        Args:
            handle: the receipt handle of this delivery.
            system_names: requested system attributes; `All` for every one.
            names: requested message attributes: names, `prefix.*`, `All` or `.*`.
        """
        answer: dict[str, Any] = {
            "MessageId": self.id,
            "ReceiptHandle": handle,
            "MD5OfBody": self.body_md5,
            "Body": self.body,
        }
        if system_names:
            system = {
                **self.system,
                "ApproximateReceiveCount": str(self.receives),
                "ApproximateFirstReceiveTimestamp": self.first_received_at,
            }
            if "All" not in system_names:
                system = {name: value for name, value in system.items() if name in system_names}
            answer["Attributes"] = system
        if names and self.attributes:
            wanted = {name: value for name, value in self.attributes.items() if _is_wanted(name, names)}
            if wanted:
                answer["MD5OfMessageAttributes"] = attributes_md5(wanted)
                answer["MessageAttributes"] = wanted
        return answer


def _is_wanted(name: str, wanted: Collection[str]) -> bool:
    return any(
        pattern in (name, "All") or (pattern.endswith(".*") and name.startswith(pattern[:-2])) for pattern in wanted
    )


def attributes_md5(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return SQS's digest of message attributes [SQS developer guide, message metadata].

    By name: length and bytes of the name, of the data type, a byte for the transport type, length and bytes of
    the value; lengths are four bytes, big-endian. A binary value counts decoded.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        kind = attribute["DataType"]
        if kind.startswith("Binary"):
            transport, value = _TRANSPORT_BINARY, base64.b64decode(attribute["BinaryValue"])
        else:
            transport, value = _TRANSPORT_STRING, attribute["StringValue"].encode()
        for part in (name.encode(), kind.encode()):
            digest.update(struct.pack("!I", len(part)) + part)
        digest.update(transport + struct.pack("!I", len(value)) + value)
    return digest.hexdigest()


def check_content(body: Any, attributes: Mapping[str, Any], *, most_bytes: int) -> int:
    """Return the message's size in bytes, or raise `SqsError` if SQS would refuse its content."""
    if not isinstance(body, str) or not body:
        raise SqsError("MissingParameter", "The request must contain the parameter MessageBody.")
    if _REFUSED_CHARACTER.search(body):
        raise SqsError("InvalidMessageContents", "Invalid characters found. Valid characters are those of XML 1.0.")
    size = len(body.encode()) + sum(_checked_size(name, value) for name, value in attributes.items())
    if size > most_bytes:
        raise SqsError(
            "InvalidParameterValue",
            f"One or more parameters are invalid. Reason: Message must be shorter than {most_bytes} bytes.",
        )
    return size


def _checked_size(name: str, attribute: Any) -> int:
    """Return the bytes that one message attribute counts, or raise `SqsError`."""
    kind = str(attribute.get("DataType")) if isinstance(attribute, dict) else ""
    base = kind.partition(".")[0]
    if base not in ("String", "Number", "Binary"):
        raise invalid_value(
            kind,
            f"MessageAttributes.{name}.DataType",
            "The type of message attribute must be String, Number or Binary.",
        )
    field = "BinaryValue" if base == "Binary" else "StringValue"
    value = attribute.get(field)
    if not isinstance(value, str) or not value:
        raise invalid_value(value, f"MessageAttributes.{name}.{field}", "The attribute must contain a non-empty value.")
    size = len(value.encode())
    if base == "Number":
        try:
            float(value)
        except ValueError:
            raise invalid_value(value, f"MessageAttributes.{name}.{field}", "Can't cast it to a number.") from None
    elif base == "Binary":
        try:
            size = len(base64.b64decode(value, validate=True))
        except binascii.Error:
            raise SqsError("MalformedInput", f"Message attribute {name} is not base64.") from None
    return len(name.encode()) + len(kind.encode()) + size
