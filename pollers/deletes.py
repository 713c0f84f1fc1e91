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
    from collections.abc import Callable, Collection

    from esmd.pollers.sqs import Queue, SqsApi

_MAX_CALLS = 8
"""Delete calls of one mapping at once."""

_FEWEST_TRIES = 3
"""Tried at least this often, whatever the visibility timeout says."""


class _Submission:
    """What one `post` asked for: settled when its last entry is."""

    __slots__ = ("done", "failures", "left")

    def __init__(self, entries: int, done: Callable[[list[EntryFailure]], None]) -> None:
        self.left = entries
        self.failures: list[EntryFailure] = []
        self.done = done


class _Entry:
    __slots__ = ("handle", "hidden_until", "queue", "submission", "tries")

    def __init__(self, queue: Queue, handle: str, hidden_until: float, submission: _Submission) -> None:
        self.queue = queue
        self.handle = handle
        self.hidden_until = hidden_until
        self.submission = submission
        self.tries = 0


class DeleteGatherer:
    """Deletes the messages of one queue. `close` it when the mapping stops."""

    def __init__(self, api: SqsApi) -> None:
        self._api = api
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Entry] = deque()
        self._calls: dict[asyncio.Task[None], list[_Entry]] = {}
        self._retries: dict[_Entry, asyncio.TimerHandle] = {}
        self._flush_scheduled = False
        self._unsettled = 0
        self._settled: asyncio.Future[None] | None = None

    def submit(self, queue: Queue, messages: Collection[tuple[str, float]]) -> asyncio.Future[list[EntryFailure]]:
        """As `post`; the result is a future. Cancelling it, or whoever awaits it, cancels no delete."""
        result: asyncio.Future[list[EntryFailure]] = self._loop.create_future()
        self.post(queue, messages, lambda failures: None if result.done() else result.set_result(failures))
        return result

    def post(
        self,
        queue: Queue,
        messages: Collection[tuple[str, float]],
        done: Callable[[list[EntryFailure]], None],
    ) -> None:
        """Delete messages, each given by its receipt handle and the end of its visibility (loop time).

        Takes effect when it returns. `done` is called once, with the messages that could not be deleted; it must not
        raise. It is called at once if there are no messages.
        """
        if not messages:
            done([])
            return
        submission = _Submission(len(messages), done)
        self._unsettled += len(messages)
        self._waiting.extend([_Entry(queue, handle, until, submission) for handle, until in messages])
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
            for entry in left:
                self._settle(entry, gone)
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)

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

    def _next(self, *, partial: bool) -> list[_Entry]:
        """The entries of the next call, all of one queue; none unless they fill it or `partial` says that that is enough."""
        waiting = self._waiting
        if not waiting or (len(waiting) < MAX_RECEIVE and not partial):
            return []
        queue = waiting[0].queue
        chosen: list[_Entry] = []
        while waiting and len(chosen) < MAX_RECEIVE and (waiting[0].queue is queue or waiting[0].queue == queue):
            chosen.append(waiting.popleft())
        return chosen

    def _call_ended(self, call: asyncio.Task[None]) -> None:
        entries = self._calls.pop(call)
        if call.cancelled():  # perhaps before it did anything at all
            for entry in entries:
                self._settle(entry, Failure(Kind.BACK_OFF, "Stopped", "the delete was cut off; it may have been done"))
        self._schedule_flush()

    async def _call(self, entries: list[_Entry]) -> None:
        queue = entries[0].queue
        handles = [entry.handle for entry in entries]
        try:
            failures = await self._api.delete(queue, handles)
        except SourceError as error:
            failed = dict.fromkeys(handles, error.failure)
        except Exception as error:  # noqa: BLE001 - an answer that makes no sense: whoever waits must not wait for ever
            failed = dict.fromkeys(handles, classify(error))
        else:
            if not failures:
                self._settle_all(entries)
                return
            failed = {failure.handle: failure.failure for failure in failures}
        now = self._loop.time()
        for entry in entries:
            failure = failed.get(entry.handle)
            if failure is None or failure.kind is not Kind.BACK_OFF or not self._retry(entry, now):
                self._settle(entry, failure)

    def _settle_all(self, entries: list[_Entry]) -> None:
        """Note that all of them are deleted."""
        submission = entries[0].submission
        if submission.left == len(entries) and not [each for each in entries if each.submission is not submission]:
            # One batch, one call, which is how it is most of the time: it is settled at one stroke.
            submission.left = 0
            self._count_settled(len(entries))
            submission.done(submission.failures)
            return
        for entry in entries:
            self._settle(entry, None)

    def _settle(self, entry: _Entry, failure: Failure | None) -> None:
        """Note what became of an entry; the last one of a submission settles that."""
        submission = entry.submission
        if failure is not None:
            submission.failures.append(EntryFailure(entry.handle, failure))
        submission.left -= 1
        self._count_settled(1)
        if not submission.left:
            submission.done(submission.failures)

    def _count_settled(self, entries: int) -> None:
        self._unsettled -= entries
        if not self._unsettled and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _retry(self, entry: _Entry, now: float) -> bool:
        """Put `entry` off for another try; False when it is too late for one."""
        entry.tries += 1
        wait = delay(entry.tries, initial=0.1, maximum=5)
        if entry.tries >= _FEWEST_TRIES and now + wait >= entry.hidden_until:
            return False

        def again() -> None:
            del self._retries[entry]
            self._waiting.append(entry)
            self._schedule_flush()

        self._retries[entry] = self._loop.call_later(wait, again)
        return True
