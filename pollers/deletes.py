"""Deleting processed messages: gathered across batches, ten to a call, single failures tried again.

At low load a delete leaves at once. While calls are under way, what arrives is gathered and leaves with the next one, so
that a busy mapping fills its calls without anyone waiting on a timer.

| answer to an entry                          | what happens                                                   |
|---------------------------------------------|----------------------------------------------------------------|
| deleted                                     | done                                                           |
| `REFUSED` (stale receipt handle)            | given up: the message is someone else's again                  |
| `BACK_OFF` (throttled, 5xx, no connection)  | again, later each time, until its visibility timeout has ended |
| `RECONFIGURE` (queue or permission is gone) | given up                                                       |
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from esmd.mappings.backoff import delay
from esmd.pollers.errors import Failure, Kind, SourceError, classify
from esmd.pollers.sqs import MAX_RECEIVE, EntryFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.pollers.sqs import Queue, SqsApi

    Message = tuple[str, float]
    """A receipt handle, and the end of its message's visibility timeout (loop time)."""

_MAX_CALLS = 8
"""Delete calls of one mapping at once."""

_FEWEST_TRIES = 3
"""Tried at least this often, whatever the visibility timeout says."""


class _Submission:
    """What one `post` asked for: settled when its last message is."""

    __slots__ = ("done", "failures", "left")

    def __init__(self, messages: int, done: Callable[[list[EntryFailure]], None]) -> None:
        self.left = messages
        self.failures: list[EntryFailure] = []
        self.done = done


class _Part:
    """Messages of one `post` that leave with one call. Most posts are one part, and most calls too."""

    __slots__ = ("messages", "queue", "submission", "tries")

    def __init__(self, queue: Queue, messages: Sequence[Message], submission: _Submission, tries: int = 0) -> None:
        self.queue = queue
        self.messages = messages
        self.submission = submission
        self.tries = tries

    def cut(self, most: int) -> _Part:
        """Its first messages, as a part of their own."""
        first, self.messages = self.messages[:most], self.messages[most:]
        return _Part(self.queue, first, self.submission, self.tries)


class DeleteGatherer:
    """Deletes the messages of one queue. `close` it when the mapping stops."""

    def __init__(self, api: SqsApi) -> None:
        self._api = api
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Part] = deque()
        self._messages_waiting = 0
        self._calls: dict[asyncio.Task[None], list[_Part]] = {}
        self._retries: dict[_Part, asyncio.TimerHandle] = {}
        self._flush_scheduled = False
        self._unsettled = 0
        self._settled: asyncio.Future[None] | None = None

    def post(self, queue: Queue, messages: Sequence[Message], done: Callable[[list[EntryFailure]], None]) -> None:
        """Delete messages.

        Takes effect when it returns. `done` is called once, with the messages that could not be deleted; it must not
        raise. It is called at once if there are no messages.
        """
        if not messages:
            done([])
            return
        count = len(messages)
        submission = _Submission(count, done)
        self._unsettled += count
        for start in range(0, count, MAX_RECEIVE):
            self._wait(_Part(queue, messages[start : start + MAX_RECEIVE], submission))
        self._schedule_flush()

    async def close(self, *, within: float) -> None:
        """Wait up to `within` seconds for what was submitted, then give the rest up.

        Cancelling it gives the rest up at once. Either way everything submitted has its result afterwards.
        """
        try:
            if self._unsettled:
                self._settled = self._loop.create_future()
                await asyncio.wait([self._settled], timeout=within)
        finally:
            gone = Failure(Kind.BACK_OFF, "Stopped", "the mapping stopped before the message could be deleted")
            for retry in self._retries.values():
                retry.cancel()
            left = [*self._retries, *self._waiting]
            self._retries.clear()
            self._waiting.clear()  # a call that ends now must start no other
            self._messages_waiting = 0
            for part in left:
                self._give_up(part, gone)
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)

    def _wait(self, part: _Part) -> None:
        self._waiting.append(part)
        self._messages_waiting += len(part.messages)

    def _schedule_flush(self) -> None:
        if self._waiting and not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Start the calls that may start now: full ones while there is room, a partial one only when none runs."""
        self._flush_scheduled = False
        while len(self._calls) < _MAX_CALLS and (chosen := self._next(partial=not self._calls)):
            call = self._loop.create_task(self._call(chosen))
            self._calls[call] = chosen
            call.add_done_callback(self._call_ended)

    def _next(self, *, partial: bool) -> list[_Part]:
        """The parts of the next call, all of one queue; none unless they fill it or `partial` says that that is enough."""
        waiting = self._waiting
        if not waiting or (self._messages_waiting < MAX_RECEIVE and not partial):
            return []
        queue = waiting[0].queue
        chosen: list[_Part] = []
        room = MAX_RECEIVE
        while waiting and room and (waiting[0].queue is queue or waiting[0].queue == queue):
            part = waiting.popleft() if len(waiting[0].messages) <= room else waiting[0].cut(room)
            chosen.append(part)
            room -= len(part.messages)
        self._messages_waiting -= MAX_RECEIVE - room
        return chosen

    def _call_ended(self, call: asyncio.Task[None]) -> None:
        parts = self._calls.pop(call)
        if call.cancelled():  # perhaps before it did anything at all
            for part in parts:
                self._give_up(part, Failure(Kind.BACK_OFF, "Stopped", "the delete was cut off; it may have been done"))
        self._schedule_flush()

    async def _call(self, parts: list[_Part]) -> None:
        handles = [handle for part in parts for handle, _ in part.messages]
        try:
            failures = await self._api.delete(parts[0].queue, handles)
        except SourceError as error:
            failed = dict.fromkeys(handles, error.failure)
        except Exception as error:  # noqa: BLE001 - an answer that makes no sense: whoever waits must not wait for ever
            failed = dict.fromkeys(handles, classify(error))
        else:
            if not failures:
                for part in parts:
                    self._settle(part.submission, len(part.messages))
                return
            failed = {failure.handle: failure.failure for failure in failures}
        now = self._loop.time()
        for part in parts:
            for message in part.messages:
                failure = failed.get(message[0])
                if failure is None:
                    self._settle(part.submission, 1)
                elif failure.kind is not Kind.BACK_OFF or not self._retry(part, message, now):
                    self._fail(part.submission, message, failure)

    def _give_up(self, part: _Part, why: Failure) -> None:
        for message in part.messages:
            self._fail(part.submission, message, why)

    def _fail(self, submission: _Submission, message: Message, why: Failure) -> None:
        """Note that a message could not be deleted."""
        submission.failures.append(EntryFailure(message[0], why))
        self._settle(submission, 1)

    def _settle(self, submission: _Submission, messages: int) -> None:
        """Note that it is known what became of so many messages; the last of a submission settles that."""
        submission.left -= messages
        self._unsettled -= messages
        if not self._unsettled and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        if not submission.left:
            submission.done(submission.failures)

    def _retry(self, part: _Part, message: Message, now: float) -> bool:
        """Put a message of `part` off for another try; False when it is too late for one."""
        tries = part.tries + 1
        wait = delay(tries, initial=0.1, maximum=5)
        if tries >= _FEWEST_TRIES and now + wait >= message[1]:
            return False
        later = _Part(part.queue, [message], part.submission, tries)

        def again() -> None:
            del self._retries[later]
            self._wait(later)
            self._schedule_flush()

        self._retries[later] = self._loop.call_later(wait, again)
        return True
