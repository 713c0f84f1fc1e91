"""Keeps messages hidden while their handler runs (`visibility_heartbeat`). Beyond AWS, off by default.

Every third of the visibility timeout, each message in hand is hidden for the whole of it again, until it is settled or
SQS refuses (a message may be hidden for 12 hours in all).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.pollers.errors import Kind
from esmd.pollers.sqs import EntryFailure
from esmd.pollers.visibility import change_visibility
from esmd.sqs.saying import say_visibility_failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esmd.mappings.records import Record
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.sqs import Queue, SqsApi


class Heartbeat:
    """Knows until when each message in hand is hidden; extends that while `run` runs."""

    def __init__(self, mapping: str, api: SqsApi, telemetry: Telemetry) -> None:
        self._mapping = mapping
        self._api = api
        self._telemetry = telemetry
        self._held: dict[str, Record] = {}
        self._extended: dict[str, float] = {}

    def hold(self, records: Iterable[Record]) -> None:
        """Start extending these."""
        self._held.update((record.handle, record) for record in records)

    def let_go(self, records: Iterable[Record]) -> None:
        """Stop extending these: they are settled, or left to their visibility timeout."""
        if not self._held and not self._extended:
            return
        for record in records:
            self._held.pop(record.handle, None)
            self._extended.pop(record.handle, None)

    def hidden_until(self, record: Record) -> float:
        """When the record becomes visible to others, on the loop's clock."""
        return self._extended.get(record.handle, record.hidden_until)

    def first_visible(self, records: Iterable[Record]) -> float:
        """When the first of the records becomes visible to others."""
        if not self._extended:
            return min([record.hidden_until for record in records])
        return min([self.hidden_until(record) for record in records])

    def handles(self, records: Iterable[Record]) -> list[tuple[str, float]]:
        """The records' handles, each with the end of its record's invisibility."""
        if not self._extended:
            return [(record.handle, record.hidden_until) for record in records]
        return [(record.handle, self.hidden_until(record)) for record in records]

    async def beat(self, queue: Queue) -> None:
        """Extend everything in hand, for ever; cancel it to stop."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.5, queue.visibility_timeout / 3))
            held = dict.fromkeys(self._held, queue.visibility_timeout)
            now = loop.time()
            failed = {f.handle: f.failure for f in await change_visibility(self._api, queue, held)}
            for handle in held:
                record = self._held.get(handle)
                if record is None:
                    continue
                if handle not in failed:
                    self._extended[handle] = now + queue.visibility_timeout
                    continue
                if failed[handle].kind is Kind.REFUSED:
                    del self._held[handle]  # it stays refused: say so once
                entry, ids = EntryFailure(handle, failed[handle]), {handle: record.id}
                say_visibility_failures(self._telemetry, self._mapping, [entry], ids, purpose="heartbeat")
