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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.mappings.backoff import delay
from esmd.pollers.errors import Failure, Kind, SourceError, classify
from esmd.pollers.sqs import MAX_RECEIVE, EntryFailure

if TYPE_CHECKING:
    from collections.abc import Collection

    from esmd.pollers.sqs import Queue, SqsApi

_MAX_CALLS = 8
"""Delete calls of one mapping at once."""

_FEWEST_TRIES = 3
"""Tried at least this often, whatever the visibility timeout says."""


class _Submission:
    """What one `submit` asked for: settled when its last entry is."""

    __slots__ = ("failures", "left", "result")

    def __init__(self, entries: int, result: asyncio.Future[list[EntryFailure]]) -> None:
        self.left = entries
        self.failures: list[EntryFailure] = []
        self.result = result


@dataclass(slots=True, eq=False)
class _Entry:
    handle: str
    hidden_until: float
    submission: _Submission
    tries: int = 0


class DeleteGatherer:
    """Deletes the messages of one queue. `close` it when the mapping stops."""

    def __init__(self, api: SqsApi) -> None:
        self._api = api
        self._waiting: deque[tuple[Queue, _Entry]] = deque()
        self._calls: dict[asyncio.Task[None], list[_Entry]] = {}
        self._retries: dict[_Entry, asyncio.TimerHandle] = {}
        self._flush_scheduled = False
        self._unsettled = 0
        self._settled = asyncio.Event()
        self._settled.set()

    def submit(self, queue: Queue, messages: Collection[tuple[str, float]]) -> asyncio.Future[list[EntryFailure]]:
        """Delete messages, each given by its receipt handle and the end of its visibility (loop time).

        Takes effect when it returns: cancelling whoever awaits the result cancels no delete. The result names the
        messages that could not be deleted.
        """
        result: asyncio.Future[list[EntryFailure]] = asyncio.get_running_loop().create_future()
        if not messages:
            result.set_result([])
            return result
        submission = _Submission(len(messages), result)
        self._unsettled += len(messages)
        self._settled.clear()
        self._waiting.extend([(queue, _Entry(handle, until, submission)) for handle, until in messages])
        self._schedule_flush()
        return result

    async def close(self, *, within: float) -> None:
        """Wait up to `within` seconds for what was submitted, then give the rest up.

        Cancelling it gives the rest up at once. Either way everything submitted has its result afterwards.
        """
        try:
            async with asyncio.timeout(within):
                await self._settled.wait()
        except TimeoutError:
            pass  # what is left is given up below
        finally:
            gone = Failure(Kind.BACK_OFF, "Stopped", "the mapping stopped before the message could be deleted")
            for retry in self._retries.values():
                retry.cancel()
            for entry in (*self._retries, *(entry for _, entry in self._waiting)):
                self._settle(entry, gone)
            self._retries.clear()
            self._waiting.clear()  # a call that ends now must start no other
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)

    def _schedule_flush(self) -> None:
        if self._waiting and not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Start the calls that may start now: full ones while there is room, a partial one only when none runs."""
        self._flush_scheduled = False
        while self._waiting and len(self._calls) < _MAX_CALLS:
            if len(self._waiting) < MAX_RECEIVE and self._calls:
                return
            queue = self._waiting[0][0]
            chosen: list[_Entry] = []
            while (
                self._waiting
                and len(chosen) < MAX_RECEIVE
                and (self._waiting[0][0] is queue or self._waiting[0][0] == queue)
            ):
                chosen.append(self._waiting.popleft()[1])
            call = asyncio.get_running_loop().create_task(self._call(queue, chosen))
            self._calls[call] = chosen
            call.add_done_callback(self._call_ended)

    def _call_ended(self, call: asyncio.Task[None]) -> None:
        entries = self._calls.pop(call)
        if call.cancelled():  # perhaps before it did anything at all
            for entry in entries:
                self._settle(entry, Failure(Kind.BACK_OFF, "Stopped", "the delete was cut off; it may have been done"))
        self._schedule_flush()

    async def _call(self, queue: Queue, entries: list[_Entry]) -> None:
        try:
            failed = {f.handle: f.failure for f in await self._api.delete(queue, [e.handle for e in entries])}
        except SourceError as error:
            failed = dict.fromkeys((e.handle for e in entries), error.failure)
        except Exception as error:  # noqa: BLE001 - an answer that makes no sense: whoever waits must not wait for ever
            failed = dict.fromkeys((e.handle for e in entries), classify(error))
        now = asyncio.get_running_loop().time()
        for entry in entries:
            failure = failed.get(entry.handle)
            if failure is None or failure.kind is not Kind.BACK_OFF or not self._retry(queue, entry, now):
                self._settle(entry, failure)

    def _settle(self, entry: _Entry, failure: Failure | None) -> None:
        """Note what became of an entry; the last one of a submission settles that."""
        submission = entry.submission
        if failure is not None:
            submission.failures.append(EntryFailure(entry.handle, failure))
        submission.left -= 1
        if not submission.left and not submission.result.done():
            submission.result.set_result(submission.failures)
        self._unsettled -= 1
        if not self._unsettled:
            self._settled.set()

    def _retry(self, queue: Queue, entry: _Entry, now: float) -> bool:
        """Put `entry` off for another try; False when it is too late for one."""
        entry.tries += 1
        wait = delay(entry.tries, initial=0.1, maximum=5)
        if entry.tries >= _FEWEST_TRIES and now + wait >= entry.hidden_until:
            return False

        def again() -> None:
            del self._retries[entry]
            self._waiting.append((queue, entry))
            self._schedule_flush()

        self._retries[entry] = asyncio.get_running_loop().call_later(wait, again)
        return True
