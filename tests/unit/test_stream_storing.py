"""Which progress is stored before a shard goes on, and which beside it."""

from __future__ import annotations

import asyncio

import pytest

from esmd.observe.stream_events import CheckpointCommitted
from esmd.state.errors import StateError
from esmd.state.memory import MemoryStateStore
from esmd.streams.ledger import MOST_BEHIND

from support.stream_lab import data_of, stream_mapping

pytestmark = pytest.mark.looptime


class HeldStore(MemoryStateStore):
    """Keeps saves waiting while `held`; `begun` of them have come, and each is a `sick` store's refusal while that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()
        self.begun = 0
        self.sick = False

    async def save(self, mapping, identity, *progress):
        if any(each.position.sequence_number or each.trouble for each in progress):
            self.begun += 1
        await self.free.wait()
        if self.sick:
            raise StateError("the disk is full", hint="Make room on it")
        await super().save(mapping, identity, *progress)


async def position(lab):
    stored = await lab.store.load("events", lab.settings.stream_arn)
    [progress] = stored.shards.values()
    return progress.position.sequence_number


def last_delivered(lab):
    return lab.invoker.events[-1][-1]["kinesis"]["sequenceNumber"]


async def held(lab, *bodies):
    """Start the mapping on a store that holds saves as soon as the mapping has begun."""
    lab.store = HeldStore()
    lab.start()
    await asyncio.sleep(1)
    lab.store.free.clear()
    lab.put(*bodies)
    await asyncio.sleep(30)


async def test_the_next_batch_starts_while_the_success_of_the_last_is_being_stored():
    async with stream_mapping(batch_size=1, started=False) as lab:
        await held(lab, "a", "b", "c")
        assert lab.delivered == ["a", "b", "c"]
        assert await position(lab) is None
        lab.store.free.set()
        await asyncio.sleep(1)
        assert await position(lab) == last_delivered(lab)


async def test_a_shard_that_is_too_far_behind_waits_for_the_store():
    async with stream_mapping(batch_size=1, started=False) as lab:
        bodies = [str(n) for n in range(3 * MOST_BEHIND)]
        await held(lab, *bodies)
        assert lab.delivered == bodies[: MOST_BEHIND + 1]
        lab.store.free.set()
        await asyncio.sleep(30)
        assert lab.delivered == bodies
        assert await position(lab) == last_delivered(lab)


async def test_a_store_that_is_sick_holds_the_shard_up_just_so():
    async with stream_mapping(batch_size=1, started=False) as lab:
        lab.store = HeldStore()
        lab.start()
        await asyncio.sleep(1)
        lab.store.sick = True
        lab.put(*[str(n) for n in range(3 * MOST_BEHIND)])
        await asyncio.sleep(300)
        assert len(lab.delivered) == MOST_BEHIND + 1
        lab.store.sick = False
        await asyncio.sleep(300)
        assert len(lab.delivered) == 3 * MOST_BEHIND


async def test_a_failed_batch_is_tried_again_only_when_its_attempt_is_stored():
    def fails(records):
        raise ValueError(data_of(records[0]))

    async with stream_mapping(fails, batch_size=1, started=False) as lab:
        await held(lab, "a")
        assert lab.delivered == ["a"]
        lab.store.free.set()
        await asyncio.sleep(5)
        assert set(lab.delivered) == {"a"}
        assert len(lab.delivered) > 2


async def test_the_batch_behind_one_that_succeeded_at_last_waits_for_the_store():
    """Else a kill would bring a batch back whose attempts it has forgotten, or the other way round."""
    tries = iter(range(3))

    def fails_once(records):
        match next(tries):
            case 0:
                raise ValueError
            case 1:
                lab.store.free.clear()

    async with stream_mapping(fails_once, batch_size=1, started=False) as lab:
        lab.store = HeldStore()
        lab.start()
        lab.put("a", "b")
        await asyncio.sleep(30)
        assert lab.delivered == ["a", "a"]
        lab.store.free.set()
        await asyncio.sleep(30)
        assert lab.delivered == ["a", "a", "b"]


async def test_quick_batches_share_a_save_and_a_lone_one_is_stored_at_once():
    async with stream_mapping(batch_size=1, started=False) as lab:
        lab.store = HeldStore()
        lab.start()
        await asyncio.sleep(1)
        lab.put(*[str(n) for n in range(10)])
        await asyncio.sleep(5)
        assert len(lab.delivered) == 10
        assert lab.store.begun <= 3
        assert await position(lab) == last_delivered(lab)
        before = len(lab.heard(CheckpointCommitted))
        lab.put("lone")
        await asyncio.sleep(1.1)
        assert len(lab.heard(CheckpointCommitted)) == before + 1
        assert await position(lab) == last_delivered(lab)


async def test_a_drain_stores_what_was_still_to_be_stored():
    async with stream_mapping(batch_size=1, started=False) as lab:
        await held(lab, "a", "b", "c")
        draining = asyncio.create_task(lab.drain())
        await asyncio.sleep(1)
        assert not draining.done()
        lab.store.free.set()
        await draining
        assert await position(lab) == last_delivered(lab)


async def test_a_kill_repeats_what_was_not_stored_and_nothing_else():
    async with stream_mapping(batch_size=1, started=False) as lab:
        lab.store = HeldStore()
        lab.start()
        lab.put("stored")
        await asyncio.sleep(5)
        lab.store.free.clear()
        lab.put("a", "b", "c")
        await asyncio.sleep(5)
        assert lab.delivered == ["stored", "a", "b", "c"]
        await lab.kill()
        lab.store.free.set()
        lab.start()
        await asyncio.sleep(5)
        assert lab.delivered == ["stored", "a", "b", "c", "a", "b", "c"]
