"""One queue of the fake SQS: its attributes, messages and waiting polls, receipt handles and deduplication."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esmd.testing.backlog import Backlog, FifoBacklog
from esmd.testing.sqs_errors import SqsError, invalid_value

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from esmd.testing.queue_attributes import QueueAttributes
    from esmd.testing.sqs_messages import Message

    Deliver = Callable[[list[dict[str, Any]]], None]

DEDUPLICATION_SECONDS = 300.0
LONGEST_VISIBILITY = 43_200
_FIRST_SEQUENCE_NUMBER = 18_850_000_000_000_000_000
_SEQUENCE_STEP = 256
_WRONG_QUEUE_TYPE = "The request include parameter that is not valid for this queue type."

# A handle is mark and queue (12 characters), message id (36), number of the receive.
_HANDLE_MARK = "AQEB"
_ID_STARTS, _ID_ENDS = 12, 48


@dataclass(frozen=True, slots=True)
class ReceiveOptions:
    """What a receive asks for; `visibility` None means the queue's."""

    limit: int
    visibility: int | None
    system_names: Collection[str]
    names: Collection[str]

    def check(self) -> None:
        """Raise `SqsError` if SQS would refuse them."""
        check_range(self.limit, "MaxNumberOfMessages", 1, 10)
        if self.visibility is not None:
            check_range(self.visibility, "VisibilityTimeout", 0, LONGEST_VISIBILITY)


class Poll:
    """A long poll that waits; `abandon` says that its client is gone."""

    def __init__(self, queue: Queue, options: ReceiveOptions, deliver: Deliver, *, swallows: bool) -> None:
        self.options = options
        self.deliver = deliver
        self.timer: asyncio.TimerHandle | None = None
        self._queue = queue
        self._swallows = swallows

    def abandon(self) -> None:
        """Tell that nobody reads the answer any more; a poll that swallows waits on all the same."""
        if not self._swallows:
            self.close()

    def close(self) -> None:
        """Take the poll out of the queue, unanswered."""
        self._queue.polls.pop(self, None)
        if self.timer is not None:
            self.timer.cancel()


class Queue:
    """A queue of the engine."""

    def __init__(self, name: str, url: str, arn: str, attributes: QueueAttributes, created: str) -> None:
        self.name = name
        self.url = url
        self.arn = arn
        self.attributes = attributes
        self.created = self.modified = created
        self.backlog = FifoBacklog() if attributes.is_fifo else Backlog()
        self.polls: OrderedDict[Poll, None] = OrderedDict()
        self.alarm: asyncio.TimerHandle | None = None
        self.alarm_at = 0.0
        self.sent = self.received = self.deleted = self.redriven = 0
        self._handle_prefix = _HANDLE_MARK + hashlib.sha256(arn.encode()).hexdigest()[:8]
        self._sequence = _FIRST_SEQUENCE_NUMBER
        self._known: dict[str, tuple[str, str]] = {}
        self._known_until: deque[tuple[float, str]] = deque()

    def handle_of(self, message: Message) -> str:
        """Return the receipt handle of a message's newest receive."""
        return f"{self._handle_prefix}{message.id}{message.receives}"

    def held_by(self, handle: str) -> Message | None:
        """Return the message of a handle; None if it is gone, or was received again since."""
        prefix, message_id, receives = handle[:_ID_STARTS], handle[_ID_STARTS:_ID_ENDS], handle[_ID_ENDS:]
        if prefix != self._handle_prefix or len(message_id) != _ID_ENDS - _ID_STARTS or not receives.isdecimal():
            raise SqsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not valid.')
        message = self.backlog.messages.get(message_id)
        return message if message is not None and message.receives == int(receives) else None

    def next_sequence_number(self) -> str:
        """Return a number greater than all before."""
        self._sequence += _SEQUENCE_STEP
        return str(self._sequence)

    def identify(self, message: Message, deduplication: str | None, now: float) -> tuple[str, str]:
        """Number a message of a FIFO queue, or return id and number of the one sent before that it repeats.

        SQS remembers a deduplication id for five minutes, also when its message was deleted.
        """
        if message.group is None:
            raise SqsError("MissingParameter", "The request must contain the parameter MessageGroupId.")
        if deduplication is None:
            if not self.attributes.deduplicates_by_content:
                raise SqsError(
                    "InvalidParameterValue",
                    "The queue should either have ContentBasedDeduplication enabled or "
                    "MessageDeduplicationId provided explicitly",
                )
            deduplication = hashlib.sha256(message.body.encode()).hexdigest()
        while self._known_until and self._known_until[0][0] <= now:
            del self._known[self._known_until.popleft()[1]]
        if deduplication in self._known:
            return self._known[deduplication]
        identity = message.id, self.next_sequence_number()
        self._known[deduplication] = identity
        self._known_until.append((now + DEDUPLICATION_SECONDS, deduplication))
        message.system |= {"MessageDeduplicationId": deduplication, "SequenceNumber": identity[1]}
        return identity

    def disarm(self) -> None:
        """Cancel the timer for the next hidden message."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    def check_type(self, *, delay: int | None, deduplication: str | None) -> None:
        """Raise `SqsError` for a parameter of SendMessage that the other type of queue has."""
        if self.attributes.is_fifo and delay:
            raise invalid_value(delay, "DelaySeconds", _WRONG_QUEUE_TYPE)
        if not self.attributes.is_fifo and deduplication is not None:
            raise invalid_value(deduplication, "MessageDeduplicationId", _WRONG_QUEUE_TYPE)


def check_range(value: object, parameter: str, lowest: int, highest: int) -> None:
    """Raise `SqsError` unless `value` is a number from `lowest` to `highest`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise invalid_value(value, parameter, f"Must be between {lowest} and {highest}, if provided.")


def expired_handle(handle: str) -> SqsError:
    """Return what a FIFO queue says to a handle whose visibility timeout has run out."""
    return invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
