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

from typing import TYPE_CHECKING, Any, cast

from esmd.mappings.events import SqsText, attribute_order
from esmd.mappings.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_CHARACTER = 6
"""Bytes of a character in JSON, at most: `\\u0000`."""

_NAMES = 600
"""Bytes that the names of members take, known attributes included, with all quotes and commas: at most."""

_new = tuple.__new__


class _Source:
    """What a record is made of: its message, and how its queue's messages become JSON."""

    __slots__ = ("event", "message", "most", "order", "text")

    def __init__(self, message: Mapping[str, Any], text: SqsText, order: tuple[str, ...] | None, most: int) -> None:
        self.message = message
        self.text = text
        self.order = order
        self.most = most
        self.event: bytes | None = None


class Message(Record):
    """A record that keeps its message."""

    __slots__ = ()

    @property
    def event(self) -> bytes:
        """See `Record`."""
        source = self._origin
        event = source.event
        if event is None:
            event = source.event = source.text.of(source.message)
        return event

    @property
    def most(self) -> int:
        """See `Record`."""
        return self._origin.most or self.size

    def value(self) -> Any:
        """See `Record`."""
        source = self._origin
        if source.order is None:
            return super().value()
        return source.text.value(source.message, source.order)

    @property
    def _origin(self) -> _Source:
        return cast("_Source", self[6])


class Messages:
    """Makes the records of one queue's messages.

    Args:
        text: makes their JSON.
        fifo: whether their message group is to be kept.
    """

    def __init__(self, text: SqsText, *, fifo: bool) -> None:
        self._text = text
        self._fifo = fifo
        self._around = _NAMES + _LONGEST_CHARACTER * text.constant_characters

    def records(self, messages: Iterable[Mapping[str, Any]], hidden_until: float) -> list[Record]:
        """The records of messages as ReceiveMessage returned them, in their order; see `Record` for `hidden_until`."""
        return [self._record(message, hidden_until) for message in messages]

    def _record(self, message: Mapping[str, Any], hidden_until: float) -> Record:
        attributes = message.get("Attributes") or {}
        message_id, handle = message["MessageId"], message["ReceiptHandle"]
        order = attribute_order(tuple(attributes))
        most = 0
        try:
            if order is None or message.get("MessageAttributes") or message.get("MD5OfMessageAttributes") is not None:
                order = None
            else:
                parts = "".join((message_id, handle, message["MD5OfBody"], *attributes.values()))
                most = self._around + _LONGEST_CHARACTER * (len(parts) + len("".join((message["Body"],))))
        except (KeyError, TypeError):  # a part is missing, or is no text
            order = None
        group = attributes.get("MessageGroupId") if self._fifo else None
        fields = (
            message_id,
            handle,
            None if group is None else str(group),
            int(attributes.get("ApproximateReceiveCount", 1)),
            int(attributes.get("SentTimestamp", 0)) / 1000,
            hidden_until,
            _Source(message, self._text, order, most),
        )
        return _new(Message, fields)
