"""Reads one shard, page by page, from a position to its end.

| what a read says                           | the next one                                                     |
|--------------------------------------------|------------------------------------------------------------------|
| as many records as were asked for          | as soon as the service allows: nothing is gained by waiting      |
| records, or behind the newest one          | as soon as the service allows, a little later on an emulator     |
| nothing, and caught up                     | after the idle interval                                          |
| nothing, and nobody knows how far behind   | after the idle interval                                          |
| no further iterator                        | none: the shard is closed and read to its end                    |
| `RE_SEEK`: expired, trimmed, unknown       | from the last record read, never from the mapping's start        |
| internal errors, several in a row          | with a new iterator, from the last record read                   |
| any other failure                          | after a pause that grows, shared with the mapping's other shards |
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from esmd.observe.stream_events import ShardReseeked
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.streams import STALE_AFTER, Place, Seek, may_be_stale, seek_again
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from esmd.pollers.streams import Call, Page
    from esmd.streams.settings import Surroundings


_STEPS = 4
"""Moments in an interval at which idle shards are read."""


def in_step(now: float, interval: float) -> float:
    """When to read again a shard that has nothing: after the interval, or a little earlier so as to be one of many.

    Reads of the same moment cost one turn of the loop, and the server one, where each alone would wake both. Once a shard is in
    step its intervals are whole, but for the time that answers take.
    """
    step = interval / _STEPS
    return math.floor((now + interval) / step) * step


class ShardGoneError(Exception):
    """The service does not know the shard (any more)."""


class ShardReader:
    """Hands out the pages of one shard.

    Args:
        around: what the mapping's shards share.
        shard_id: the shard.
        start: where to begin: what is stored, or what the mapping says.
        first: where the very first iterator is to be got, if that is not `start`: `LATEST`, of which `start` is the
            lasting form (see `esmd.pollers.streams.pinned`).
    """

    def __init__(self, around: Surroundings, shard_id: str, start: Seek, *, first: Seek | None = None) -> None:
        self._around = around
        self._shard_id = shard_id
        self._position = start
        self._first = first
        self._iterator: str | None = None
        self._loop = asyncio.get_running_loop()
        self._next_at = 0.0
        self._stale = 0
        self.caught_up = False
        """Whether the last read found nothing more."""
        self.millis_behind: int | None = None
        """How far behind the newest record the last read ended; None where unknown."""

    async def next_page(self) -> Page | None:
        """The next page; None if the mapping stops first. The last one has no `next_iterator`.

        Raises:
            ShardGoneError: the shard is not there.
        """
        while await self._may_go_on():
            try:
                page = await self._read()
            except SourceError as error:
                self._failed(error.failure)
                continue
            self._around.trouble.passed(self._loop.time())
            self._stale = 0
            self._iterator = page.next_iterator
            self.millis_behind = page.millis_behind
            self.caught_up = not page.records and not page.millis_behind
            self._next_at = self._after(page)
            return page
        return None

    def _after(self, page: Page) -> float:
        """When the next read may be, on the loop's clock."""
        settings, now = self._around.settings, self._loop.time()
        if self.caught_up:
            return in_step(now, settings.idle_interval)
        return now + (settings.full_interval if len(page.records) >= settings.read_limit else settings.least_interval)

    def went_past(self, sequence_number: str) -> None:
        """Tell how far the records of the pages go: a lost iterator is sought after this one."""
        self._position = Seek.after(sequence_number)

    async def _may_go_on(self) -> bool:
        """Wait until the next read is allowed; False if the mapping stops."""
        until = max(self._next_at, self._around.trouble.retry_at)
        if until > self._loop.time():
            await stopped_before(self._around.stop, until)
        return not self._around.stop.is_set()

    async def _read(self) -> Page:
        api = self._around.api
        self._call: Call = "iterator"
        async with self._around.calls:
            if self._iterator is None:
                # Asked for once: after a failure the lasting form of the position is sought, or records were skipped.
                where, self._first = self._first or self._position, None
                self._iterator = await api.iterator(self._shard_id, where)
            self._call = "read"
            return await api.read(self._iterator, self._around.settings.read_limit)

    def _failed(self, failure: Failure) -> None:
        if failure.kind is Kind.RE_SEEK:
            self._reseek(failure)
            return
        if self._call == "read" and may_be_stale(failure):
            self._stale += 1
            if self._stale >= STALE_AFTER:
                self._stale = 0
                self._iterator = None
        now = self._loop.time()
        trouble = self._around.trouble
        if now >= trouble.retry_at:  # else another shard has already said so in this round
            passing = failure.kind is Kind.BACK_OFF
            trouble.failed(failure.code, failure.message, now, passing=passing)
        self._next_at = trouble.retry_at

    def _reseek(self, failure: Failure) -> None:
        where = seek_again(self._position, failure, call=self._call)
        if where is None:
            raise ShardGoneError(failure.message)
        moved = where != self._position
        self._iterator = None
        self._position = where
        self._next_at = self._loop.time() + self._around.settings.least_interval
        if moved or where.place is Place.TRIM_HORIZON:
            self._around.telemetry.emit(
                ShardReseeked(
                    mapping=self._around.settings.name,
                    shard=self._shard_id,
                    position=where.place.value,
                    error_type=failure.code,
                    error_message=failure.message,
                )
            )
