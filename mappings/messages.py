"""Messages of SQS as records. What a function is given of them is made when somebody asks for it, and as it is wanted.

| asked for | by                                             | made                                                     |
|-----------|------------------------------------------------|----------------------------------------------------------|
| `value`   | a handler in the daemon's own process          | each time anew: a handler may do with it what it likes   |
| `event`   | every other form of function, a log of payloads | once                                                    |
| `most`    | batching                                       | with the record: no JSON of it is longer                 |
| `size`    | batching, where `most` says too little         | with `event`                                             |

A message is *usual* if its parts are all text, its attributes are all known, and it has no message attributes. Of such a
message the value is put together from its parts; of any other it is read from its JSON.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from esmd.mappings.events import attribute_order
from esmd.mappings.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from esmd.mappings.events import SqsText

_LONGEST_CHARACTER = 6
"""Bytes of a character in JSON, at most: `\\u0000`."""

_NAMES = 600
"""Bytes that the names of members take, known attributes included, with all quotes and commas: at most."""

_new = tuple.__new__

if TYPE_CHECKING:
    Parts = tuple[Mapping[str, Any], SqsText, tuple[str, ...] | None, int, list[bytes]]

_parts = cast("Callable[[Message], Parts]", itemgetter(slice(6, 11)))
"""Of a record: its message, what makes its JSON, the order of its attributes if it is usual, `most`, and `event` once made."""

_most = cast("Callable[[Message], int]", itemgetter(9))


class Message(Record):
    """A record that keeps its message.

    What a record has in place of its JSON is followed by what that is made of: one object, because so many are made.
    """

    __slots__ = ()

    @property
    def event(self) -> bytes:
        """See `Record`."""
        message, text, _, _, made = _parts(self)
        if not made:
            made.append(text.of(message))
        return made[0]

    @property
    def arrived_at(self) -> float:
        """See `Record`."""
        attributes = _parts(self)[0].get("Attributes") or _NO_ATTRIBUTES
        return int(attributes.get("SentTimestamp", 0)) / 1000

    @property
    def most(self) -> int:
        """See `Record`."""
        return _most(self) or self.size

    def value(self) -> Any:
        """See `Record`."""
        message, text, order, _, _ = _parts(self)
        if order is None:
            return super().value()
        given = message["Attributes"]
        element = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": {name: given[name] for name in order},
            "messageAttributes": {},
        }
        if text.windowed:
            element["md5OfMessageAttributes"] = None
        element["md5OfBody"] = message["MD5OfBody"]
        element["eventSource"] = "aws:sqs"
        element["eventSourceARN"] = text.queue_arn
        element["awsRegion"] = text.region
        return element

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, handle={self.handle!r}, attempt={self.attempt})"


class Messages:
    """Makes the records of one queue's messages.

    Args:
        text: makes their JSON.
        fifo: whether their message group is to be kept.
    """

    def __init__(self, text: SqsText, *, fifo: bool) -> None:
        self._text = text
        self._fifo = fifo
        self._around = _NAMES + _LONGEST_CHARACTER * (len(text.queue_arn) + len(text.region))

    def records(self, messages: Iterable[Mapping[str, Any]], hidden_until: float) -> list[Record]:
        """The records of messages as ReceiveMessage returned them, in their order; see `Record` for `hidden_until`."""
        records: list[Record] = []
        text, around, fifo = self._text, self._around, self._fifo
        for message in messages:
            message_id, handle = message["MessageId"], message["ReceiptHandle"]
            attributes = message.get("Attributes") or _NO_ATTRIBUTES
            most = 0
            order = None
            if not message.get("MessageAttributes") and message.get("MD5OfMessageAttributes") is None:
                try:
                    # Joining refuses whatever is no text.
                    rest = len("".join((message_id, handle, message["MD5OfBody"], *attributes.values())))
                    body = message["Body"]
                    if type(body) is str and "Attributes" in message:
                        order = attribute_order(tuple(attributes))
                        most = around + _LONGEST_CHARACTER * (rest + len(body)) if order is not None else 0
                except (KeyError, TypeError):
                    order = None
            group = attributes.get("MessageGroupId") if fifo else None
            fields: tuple[Any, ...] = (
                message_id,
                handle,
                None if group is None else str(group),
                int(attributes.get("ApproximateReceiveCount", 1)),
                0.0,
                hidden_until,
                message,
                text,
                order,
                most,
                [],
            )
            records.append(_new(Message, fields))
        return records


_NO_ATTRIBUTES: Mapping[str, Any] = {}
