"""A state store that fails for a while holds a mapping up, and nothing else."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from esmd.observe import mapping_events as say
from esmd.state.errors import StateError
from esmd.state.memory import MemoryStateStore

from support.stream_lab import data_of, stream_mapping

pytestmark = pytest.mark.looptime


class SickStore(MemoryStateStore):
    """Refuses saves while `sick`."""

    def __init__(self) -> None:
        super().__init__()
        self.sick = False
        self.refused = 0

    async def save(self, mapping, identity, *progress):
        if self.sick:
            self.refused += 1
            raise StateError("the disk is full", hint="Make room on it")
        await super().save(mapping, identity, *progress)


async def test_a_commit_that_has_to_wait_does_not_undo_a_later_one_of_another_lane():
    """Lane after lane commits into a store that is sick for a moment only: the first one's second try comes too late."""
    seen = defaultdict(list)

    async def handler(records):
        [record] = records
        key = record["kinesis"]["partitionKey"]
        seen[key].append(data_of(record))
        await asyncio.sleep({"key-0": 1, "key-1": 1.2}.get(key, 1.4))

    async with stream_mapping(handler, parallelization_factor=10, batch_size=1, started=False) as lab:
        lab.store = store = SickStore()
        for n in range(3):
            for key in range(6):
                lab.put(str(n), key=f"key-{key}")
        lab.start()
        for _ in range(20):
            await asyncio.sleep(1.05)
            store.sick = True
            await asyncio.sleep(0.1)
            store.sick = False
        await asyncio.sleep(60)
        assert store.refused
        assert seen == {f"key-{key}": ["0", "1", "2"] for key in range(6)}
        stored = await store.load("events", lab.settings.stream_arn)
        [progress] = stored.shards.values()
        assert progress.position.sequence_number == lab.invoker.events[-1][0]["kinesis"]["sequenceNumber"]
        assert lab.heard(say.MappingUnavailable)
