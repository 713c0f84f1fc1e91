"""A daemon's status that somebody cancels while it is made: the next one tells all, and rates go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.observe.mapping_events import RecordsReceived
from esmd.observe.statistics import Statistics
from esmd.status.backlog import AT_ONCE
from esmd.status.history import History
from esmd.status.source import StatusSource

from support.asked import asked
from support.status_lab import FakeControl, SlowQueueRunner, entry, process

if TYPE_CHECKING:
    from support.walker import Scenario, Walk

LONGEST = 100.0
_NAMES = [f"queue-{number}" for number in range(AT_ONCE + 2)]
"""More than are asked at once: some wait for their turn."""


async def _status(_: Walk) -> None:
    """Queues that take their time, and a mapping at work."""
    statistics = Statistics()
    runners = {name: SlowQueueRunner(0.3) for name in _NAMES}
    control = FakeControl([entry(name) for name in _NAMES], runners)
    source = StatusSource(control, process=process(), statistics=statistics, history=History())

    async def life() -> None:
        async with source.running():
            await asyncio.sleep(2)
            await asked(source.snapshot)
            statistics.sink(RecordsReceived(mapping=_NAMES[0], records=30))
            await asyncio.sleep(3)
            mappings = (await asked(source.snapshot)).mappings
            assert [each.name for each in mappings if each.backlog is None or each.backlog.visible is None] == []
            assert mappings[0].pace.last_10_s.received > 0
            await asyncio.sleep(6)
            leaving = asyncio.create_task(source.snapshot())  # its questions are under way at the end
            await asyncio.sleep(0.1)
            leaving.cancel()
            await asyncio.wait([leaving])

    async with asyncio.timeout(LONGEST):
        await asked(life)


_status.hows = ("cut", "late")  # type: ignore[attr-defined]

SCENARIOS: dict[str, Scenario] = {"status": _status}
