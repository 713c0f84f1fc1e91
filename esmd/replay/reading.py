"""Reads the records of a failure record from their shard again.

| what a call says                              | what is done                                                     |
|-----------------------------------------------|------------------------------------------------------------------|
| iterator: the shard or the stream is missing  | nothing is found: expired                                        |
| iterator: the record is not known, or trimmed | from the oldest record on, once                                  |
| read: the iterator has expired                | from the last record found                                       |
| throttled, 5xx, no connection                 | again, five times at most, later each time                       |
| anything else                                 | `SourceError`                                                    |
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.mappings.backoff import delay
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.streams import TRIM_HORIZON, Seek
from esmd.replay.selection import Range

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.pollers.streams import StreamApi
    from esmd.replay.records import FailureRecord

_TRIES = 5
_LIMIT = 1000
"""Records of one read: what both services allow."""

_GONE = "ResourceNotFoundException"


async def read_range(
    api: StreamApi,
    wanted: FailureRecord,
    *,
    pause: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Range:
    """All that is left of the records.

    Args:
        api: of their stream.
        wanted: the failure record.
        pause: seconds between two reads: the services allow five a second.
        sleep: waits.

    Raises:
        SourceError: the stream cannot be read now.
    """
    found = Range(wanted)
    where: Seek = Seek.at(wanted.first)
    iterator: str | None = None
    failures = 0
    while not found.over:
        try:
            if iterator is None:
                iterator = await api.iterator(wanted.shard_id, where)
            page = await api.read(iterator, _LIMIT)
        except SourceError as error:
            failure = error.failure
            failures += 1
            if failure.kind is Kind.RE_SEEK and failure.code == _GONE:
                return found
            if failures >= _TRIES or failure.kind not in {Kind.RE_SEEK, Kind.BACK_OFF}:
                raise
            if failure.kind is Kind.RE_SEEK:
                if found.last_seen is not None:
                    where = Seek.after(found.last_seen)
                elif iterator is None:
                    where = TRIM_HORIZON
                iterator = None
            await sleep(delay(failures, initial=max(pause, 0.1), maximum=5.0))
            continue
        failures = 0
        found.add(page)
        iterator = page.next_iterator
        if not found.over:
            await sleep(pause)
    return found
