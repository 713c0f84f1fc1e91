"""Several processes on one stream, under virtual time: what each reads, what moves, what is refused."""

from __future__ import annotations

import asyncio

import pytest

from esmd.observe import stream_events as stream
from esmd.processes.messages import Request
from esmd.state.errors import LeaseLostError, OtherStreamError, StateError
from esmd.state.memory import MemoryStateStore
from esmd.state.position import Position
from esmd.state.protocol import Lease, ShardProgress, StreamIdentity
from esmd.streams.book import Bookkeeper

from support.fleet_lab import NAME, FleetLab, fleet

pytestmark = pytest.mark.looptime


async def test_every_shard_is_read_by_one_process_and_every_record_comes_once():
    async with fleet(2, shards=6, duration=0.1) as lab:
        lab.put(30)
        await asyncio.sleep(30)
        lab.assert_all_delivered_in_order()
        assert lab.pollers() == [3, 3]
        assert all(len(readers) == 1 for readers in lab.readers.values())


async def test_starting_together_moves_no_shard():
    async with fleet(3, shards=9) as lab:
        await asyncio.sleep(5)
        assert lab.pollers() == [3, 3, 3]
        assert [len(readers) for readers in lab.readers.values()] == [1] * 9


async def test_a_shard_is_discovered_and_said_once():
    async with fleet(3, shards=4, discovery_interval=1.0) as lab:
        await asyncio.sleep(10)
        assert len([e for _, e in lab.said if isinstance(e, stream.ShardDiscovered)]) == 4


async def test_order_holds_across_splits_and_merges_whoever_reads_the_parents():
    async with fleet(2, shards=2, duration=0.05) as lab:
        for step in range(6):
            lab.put(10)
            await asyncio.sleep(0.3)
            shards = sorted(lab.engine.list_shards(NAME), key=lambda shard: shard.hashes)
            there = [shard.id for shard in shards if shard.closed_at is None]
            if step % 2:
                lab.engine.merge(NAME, there[0], there[1])
            else:
                lab.engine.split(NAME, there[0])
        lab.put(10)
        await asyncio.sleep(120)
        lab.assert_all_delivered_in_order()
        finished: set[str] = set()
        parents = {e.shard: e.parents for _, e in lab.said if isinstance(e, stream.ShardDiscovered)}
        for _, event in lab.said:
            if isinstance(event, stream.ShardFinished):
                finished.add(event.shard)
            elif isinstance(event, stream.ShardStarted):
                assert set(parents[event.shard]) <= finished


async def test_children_are_started_before_the_next_listing_also_by_another_process():
    """One shard's reader has enough to read: the other process is woken for the second child."""
    async with fleet(2, shards=1, discovery_interval=3600.0) as lab:
        await asyncio.sleep(5)
        [parent] = lab.engine.list_shards(NAME)
        lab.engine.split(NAME, parent.id)
        lab.put(5)
        await asyncio.sleep(5)
        lab.assert_all_delivered_in_order()
        assert lab.pollers() == [1, 1]


async def test_after_a_death_the_shards_wait_for_the_successor_that_is_starting():
    async with fleet(2, shards=4) as lab:
        lab.put(5)
        await asyncio.sleep(5)
        await lab.kill(1, expected=True)
        await asyncio.sleep(1)
        assert lab.pollers() == [2]
        lab.start(1)
        lab.put(5)
        await asyncio.sleep(5)
        assert lab.pollers() == [2, 2]
        lab.assert_all_delivered_in_order(once=False)


async def test_after_a_death_without_successor_the_others_read_on_and_share_with_who_comes_later():
    async with fleet(2, shards=4, duration=0.1) as lab:
        lab.put(20)
        await asyncio.sleep(0.35)
        await lab.kill(1)
        await asyncio.sleep(2)
        assert lab.pollers() == [4]
        lab.put(20)
        await asyncio.sleep(0.2)
        lab.start(1)
        await asyncio.sleep(10)
        assert lab.pollers() == [2, 2]
        lab.assert_all_delivered_in_order(once=False)


async def test_a_shard_that_is_handed_over_comes_without_a_record_twice():
    """The old reader ends its batch and stores it before the new one begins."""
    async with fleet(1, shards=2, duration=0.5) as lab:
        lab.count = 2
        await lab.kill(0)
        lab.open()
        lab.start(0)
        lab.desk.expect(())
        lab.put(40)
        await asyncio.sleep(2.2)
        assert lab.pollers() == [2]
        lab.start(1)
        await asyncio.sleep(60)
        assert lab.pollers() == [1, 1]
        lab.assert_all_delivered_in_order()


async def test_with_latest_the_listings_of_late_processes_skip_nothing():
    async with fleet(2, shards=2, start="LATEST") as lab:
        await asyncio.sleep(1)
        [shard, _] = lab.engine.list_shards(NAME)
        lab.engine.split(NAME, shard.id)
        lab.put(10)
        await asyncio.sleep(30)
        lab.assert_all_delivered_in_order(once=False)


async def test_the_leases_are_written_down():
    async with fleet(2, shards=2) as lab:
        await asyncio.sleep(2)
        leases = await lab.store.leases()
        assert sorted(lease.process for lease in leases) == [0, 1]
        assert {lease.shard_id for lease in leases} == {shard.id for shard in lab.engine.list_shards(NAME)}
        await lab.kill(0)
        await asyncio.sleep(2)
        assert [lease.process for lease in await lab.store.leases()] == [1, 1]


class SickStore(MemoryStateStore):
    """Refuses what is asked while `sick`."""

    sick = False

    async def save(self, mapping, identity, *progress):
        self.check()
        await super().save(mapping, identity, *progress)

    async def assign(self, mapping, identity, processes):
        self.check()
        await super().assign(mapping, identity, processes)

    def check(self):
        if self.sick:
            raise StateError("the disk is full", hint="Make room on it")


async def test_while_the_end_of_a_parent_cannot_be_stored_no_process_starts_its_children():
    store = SickStore()
    async with fleet(2, shards=1, store=store, discovery_interval=1.0) as lab:
        lab.put(5)
        await asyncio.sleep(5)
        store.sick = True
        [parent] = lab.engine.list_shards(NAME)
        lab.engine.split(NAME, parent.id)
        lab.put(5)
        await asyncio.sleep(60)
        assert [e.shard for _, e in lab.said if isinstance(e, stream.ShardStarted)] == [parent.id]
        store.sick = False
        await asyncio.sleep(60)
        lab.assert_all_delivered_in_order()
        assert lab.pollers() == [1, 1]
        assert len(await store.leases()) == 2


async def test_a_stream_made_anew_is_read_from_its_start_by_all():
    async with fleet(2, shards=2, discovery_interval=2.0) as lab:
        lab.put(5)
        await asyncio.sleep(5)
        lab.engine.delete(NAME)
        lab.engine.create_stream(NAME, shards=4, retention=86400.0)
        lab.written.clear()
        lab.delivered.clear()
        lab.put(5)
        await asyncio.sleep(60)
        lab.assert_all_delivered_in_order()
        assert lab.pollers() == [2, 2]
        assert len([e for _, e in lab.said if isinstance(e, stream.StreamReplaced)]) == 1


# --- fencing


def at(shard_id: str, number: int) -> ShardProgress:
    return ShardProgress(shard_id=shard_id, position=Position.after(str(number)), updated_at=0.0)


async def identity_and_shard(lab: FleetLab) -> tuple[StreamIdentity, str]:
    stored = await lab.store.load(NAME, lab.arn)
    assert stored is not None
    return stored.identity, next(iter(stored.shards))


async def test_progress_of_a_shard_that_another_process_reads_is_refused():
    async with fleet(2, shards=1) as lab:
        lab.put(3)
        await asyncio.sleep(5)
        identity, shard_id = await identity_and_shard(lab)
        [lease] = await lab.store.leases()
        other = 1 - lease.process
        before = (await lab.store.load(NAME, lab.arn)).shards
        with pytest.raises(LeaseLostError, match="is not saved"):
            await lab.desk.serve(other, Request(0, "save", (NAME, identity, at(shard_id, 10**60)), {}))
        for method, arguments in {"ended": (at(shard_id, 1), ()), "give_back": (shard_id,)}.items():
            options = {"gone": False} if method == "give_back" else {}
            with pytest.raises(LeaseLostError):
                await lab.desk.serve(other, Request(0, f"book.{method}", (NAME, identity, *arguments), options))
        assert (await lab.store.load(NAME, lab.arn)).shards == before
        assert (await lab.store.leases()) == [
            Lease(mapping=NAME, stream_arn=lab.arn, shard_id=shard_id, process=lease.process)
        ]


async def test_a_process_that_was_replaced_can_store_nothing_any_more():
    async with fleet(2, shards=2) as lab:
        await asyncio.sleep(5)
        identity, _ = await identity_and_shard(lab)
        mine = [lease.shard_id for lease in await lab.store.leases() if lease.process == 1]
        lab.desk.leave(1)
        with pytest.raises(LeaseLostError):
            await lab.desk.serve(1, Request(0, "save", (NAME, identity, at(mine[0], 10**60)), {}))
        await lab.kill(1)


async def test_a_reader_with_an_old_look_at_the_stream_cannot_bring_the_former_one_back():
    store = MemoryStateStore()
    keeper = Bookkeeper(NAME, store=store, wall=lambda: 0.0, wake=lambda _: None)
    from esmd.pollers.streams import TRIM_HORIZON

    old, new = StreamIdentity("arn", "1"), StreamIdentity("arn", "2")
    assert await keeper.begin(0, old, TRIM_HORIZON) is None
    assert await keeper.begin(1, new, TRIM_HORIZON) == 0
    with pytest.raises(OtherStreamError):
        await keeper.begin(0, old, TRIM_HORIZON)
    with pytest.raises(OtherStreamError):
        await keeper.take(0, old)
    stored = await store.load(NAME, "arn")
    assert stored is not None
    assert stored.identity == new


async def test_a_listing_that_another_one_overtook_counts_for_nothing():
    """It may be older: a shard that it does not know yet would be taken for one that vanished."""
    from esmd.pollers.streams import TRIM_HORIZON, Shard

    keeper = Bookkeeper(NAME, store=MemoryStateStore(), wall=lambda: 0.0, wake=lambda _: None)
    identity = StreamIdentity("arn", "1")
    shards = [Shard(id=f"s{n}", parents=(), closed=False) for n in range(2)]
    await keeper.begin(0, identity, TRIM_HORIZON)
    await keeper.begin(1, identity, TRIM_HORIZON)
    early, late = await keeper.ticket(0, identity), await keeper.ticket(1, identity)
    assert len((await keeper.listed(1, identity, late, shards, 0.0)).discovered) == 2
    changes = await keeper.listed(0, identity, early, shards[:1], 0.0)
    assert (changes.lost, changes.shards) == ((), 2)
