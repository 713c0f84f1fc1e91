"""`QueueEngine`: SQS in memory, exact enough to stand in for it, fast enough for load tests, and on any clock.

Every operation costs the same however long the backlog is. Nothing sleeps and no task runs: long polls wait on
`loop.call_at`, so under a virtual clock a visibility timeout of hours passes at once. Where the service leaves
itself room ("at least once", "best effort"), the engine takes the behaviour that a careless client notices:

    deletion with a receipt handle that a newer receive has replaced    succeeds, deletes nothing
    visibility change of a message that is not in flight                MessageNotInflight
    deletion from a FIFO queue after the visibility timeout             refused
    a long poll whose client hung up (`dead_poll_swallows`)             still gets the next message, and hides it

Not modelled: retention, encryption, policies, tags, purge limits, the 60 s after a queue's deletion.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from typing import TYPE_CHECKING, Any

from esmd.testing.queue_directory import QueueDirectory
from esmd.testing.queue_state import LONGEST_VISIBILITY, Poll, Queue, ReceiveOptions, check_range, expired_handle
from esmd.testing.sqs_errors import SqsError
from esmd.testing.sqs_messages import Message, Place, attributes_md5, check_content

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from esmd.testing.queue_state import Deliver

_ALL = ("All",)


class QueueEngine(QueueDirectory):
    """All queues of one account and region, with their messages; see `QueueDirectory` for its arguments."""

    def send(
        self,
        queue: str,
        body: str,
        *,
        delay: int | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        system_attributes: Mapping[str, Mapping[str, Any]] | None = None,
        group: str | None = None,
        deduplication: str | None = None,
        serve: bool = True,
    ) -> dict[str, str]:
        """Send a message and return SendMessage's answer.

        Args:
            queue: name, URL or ARN.
            body: the text.
            delay: seconds until it can be received; the queue's value by default, not allowed for FIFO queues.
            attributes: as in SendMessage; `BinaryValue` is base64 text.
            system_attributes: only `AWSTraceHeader` exists.
            group: `MessageGroupId`.
            deduplication: `MessageDeduplicationId`; FIFO queues only.
            serve: hand it to a waiting poll at once; a batch sends with False and calls `serve` at its end.
        """
        found = self._find(queue)
        attributes, system_attributes = attributes or {}, system_attributes or {}
        check_content(body, attributes, most_bytes=found.attributes.most_bytes)
        check_range(delay or 0, "DelaySeconds", 0, 900)
        found.check_type(delay=delay, deduplication=deduplication)
        now = self._now()
        system = {"SenderId": self.account, "SentTimestamp": self._milliseconds()}
        if "AWSTraceHeader" in system_attributes:
            system["AWSTraceHeader"] = system_attributes["AWSTraceHeader"]["StringValue"]
        if group is not None:
            system["MessageGroupId"] = group
        message = Message(str(uuid.uuid4()), body, attributes=attributes, system=system, group=group)
        answer = {"MessageId": message.id, "MD5OfMessageBody": message.body_md5}
        if attributes:
            answer["MD5OfMessageAttributes"] = attributes_md5(attributes)
        if system_attributes:
            answer["MD5OfMessageSystemAttributes"] = attributes_md5(system_attributes)
        if found.attributes.is_fifo:
            first_id, sequence = found.identify(message, deduplication, now)
            answer |= {"MessageId": first_id, "SequenceNumber": sequence}
            if first_id != message.id:
                return answer
        hidden_for = found.attributes.delay if delay is None else delay
        found.backlog.add(message, until=now + hidden_for if hidden_for else None)
        found.sent += 1
        if serve:
            self._serve(found)
        return answer

    def serve(self, queue: str) -> None:
        """Answer the queue's long polls with what is visible."""
        self._serve(self._find(queue))

    def receive_now(
        self,
        queue: str,
        *,
        limit: int = 1,
        visibility: int | None = None,
        system_names: Collection[str] = _ALL,
        names: Collection[str] = _ALL,
    ) -> list[dict[str, Any]]:
        """Receive what is visible, without waiting: elements of ReceiveMessage's `Messages`, 0 to `limit`."""
        return self._take(self._find(queue), ReceiveOptions(limit, visibility, system_names, names))

    async def receive(
        self,
        queue: str,
        *,
        limit: int = 1,
        visibility: int | None = None,
        wait: float | None = None,
        system_names: Collection[str] = _ALL,
        names: Collection[str] = _ALL,
    ) -> list[dict[str, Any]]:
        """Receive, waiting up to `wait` seconds (the queue's value by default) for a first message."""
        answer: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()

        def deliver(messages: list[dict[str, Any]]) -> None:
            if not answer.done():  # else the caller was cancelled, and the dead poll swallows them
                answer.set_result(messages)

        poll = self.poll(
            queue,
            deliver,
            limit=limit,
            visibility=visibility,
            wait=wait,
            system_names=system_names,
            names=names,
        )
        try:
            return await answer
        except asyncio.CancelledError:
            if poll is not None:
                poll.abandon()
            raise

    def poll(
        self,
        queue: str,
        deliver: Deliver,
        *,
        limit: int = 1,
        visibility: int | None = None,
        wait: float | None = None,
        system_names: Collection[str] = (),
        names: Collection[str] = (),
    ) -> Poll | None:
        """Receive by callback: `deliver` gets the messages, before this returns (then None) or later."""
        found = self._find(queue)
        options = ReceiveOptions(limit, visibility, system_names, names)
        seconds = found.attributes.wait if wait is None else wait
        check_range(seconds, "WaitTimeSeconds", 0, 20)
        messages = self._take(found, options)
        if messages or not seconds:
            deliver(messages)
            return None
        poll = Poll(found, options, deliver, swallows=self.dead_poll_swallows)
        loop = asyncio.get_running_loop()
        poll.timer = loop.call_at(loop.time() + seconds, self._give_up, found, poll)
        found.polls[poll] = None
        self._arm(found)
        return poll

    def delete(self, queue: str, handle: str) -> None:
        """Delete the message that a receive named `handle`; a message that is gone is no error."""
        found = self._find(queue)
        found.backlog.expire(self._now())
        message = found.held_by(handle)
        if message is None:
            return
        if found.attributes.is_fifo and message.place is not Place.INFLIGHT:
            raise expired_handle(handle)
        found.backlog.remove(message)
        found.deleted += 1
        self._serve(found)  # a deleted message can unlock its group

    def change_visibility(self, queue: str, handle: str, seconds: int) -> None:
        """Hide a message that is in flight for `seconds` from now; 0 gives it back."""
        found = self._find(queue)
        check_range(seconds, "VisibilityTimeout", 0, LONGEST_VISIBILITY)
        now = self._now()
        found.backlog.expire(now)
        message = found.held_by(handle)
        if message is None or message.place is not Place.INFLIGHT:
            if found.attributes.is_fifo:
                raise expired_handle(handle)
            raise SqsError("MessageNotInflight", "The specified message isn't in flight.")
        found.backlog.hide(message, now + seconds)
        self._serve(found)

    def close(self) -> None:
        """Drop all long polls and timers; the queues stay readable."""
        for queue in self._queues.values():
            queue.disarm()
            for poll in list(queue.polls):
                poll.close()

    def _take(self, queue: Queue, options: ReceiveOptions) -> list[dict[str, Any]]:
        options.check()
        now = self._now()
        queue.backlog.expire(now)
        redrive = queue.attributes.redrive
        dead_letters = self._queues.get(redrive.target) if redrive else None
        hidden_for = queue.attributes.visibility if options.visibility is None else options.visibility
        taken, overdue = queue.backlog.take(
            options.limit,
            until=now + hidden_for,
            # With the dead-letter queue deleted, messages stay where they are.
            most_receives=redrive.most_receives if redrive and dead_letters else math.inf,
        )
        shown = []
        for message in taken:
            message.received(self._milliseconds())
            handle = queue.handle_of(message)
            shown.append(message.shown(handle, system_names=options.system_names, names=options.names))
        queue.received += len(taken)
        if dead_letters and overdue:
            self._redrive(queue, dead_letters, overdue)
        return shown

    def _redrive(self, source: Queue, target: Queue, overdue: list[Message]) -> None:
        for message in overdue:
            message.system["DeadLetterQueueSourceArn"] = source.arn
            if target.attributes.is_fifo:
                message.system["SequenceNumber"] = target.next_sequence_number()
            target.backlog.add(message)
        source.redriven += len(overdue)
        self._serve(target)

    def _serve(self, queue: Queue) -> None:
        if not queue.polls:
            return
        queue.backlog.expire(self._now())
        while queue.polls and queue.backlog.visible:
            # Out first: a dead-letter queue's poll, answered on the way, may send to this queue again.
            poll, _ = queue.polls.popitem(last=False)
            messages = self._take(queue, poll.options)
            if not messages:  # what is visible belongs to locked groups, or went to the dead-letter queue
                queue.polls[poll] = None
                queue.polls.move_to_end(poll, last=False)
                break
            self._answer(poll, messages)
        self._arm(queue)

    def _answer(self, poll: Poll, messages: list[dict[str, Any]]) -> None:
        poll.close()
        poll.deliver(messages)

    def _give_up(self, queue: Queue, poll: Poll) -> None:
        self._serve(queue)
        if poll in queue.polls:
            self._answer(poll, [])

    def _arm(self, queue: Queue) -> None:
        """See to it that the queue is looked at when its next hidden message comes back, if anybody waits."""
        expiry = queue.backlog.next_expiry()
        if not queue.polls or expiry is None:
            queue.disarm()
        elif queue.alarm is None or queue.alarm_at != expiry:
            queue.disarm()
            loop = asyncio.get_running_loop()
            queue.alarm_at = expiry
            queue.alarm = loop.call_at(loop.time() + max(0.0, expiry - self._now()), self._ring, queue, expiry)

    def _ring(self, queue: Queue, expiry: float) -> None:
        queue.alarm = None
        queue.backlog.expire(expiry)  # timers may fire a clock tick early; what they were set for is due
        self._serve(queue)
        self._arm(queue)
