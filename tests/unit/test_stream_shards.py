"""Shards of a stream mapping under virtual time: resharding, roll-over, lanes, filters, several mappings."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import replace

import pytest

from esmd.observe import stream_events as stream
from esmd.state.memory import MemoryStateStore
from esmd.streams.reader import in_step
from esmd.testing.fake_streams import EngineStream
from esmd.testing.stream_engine import StreamEngine

from support.stream_lab import data_of, stream_mapping

pytestmark = pytest.mark.looptime


def poison(*bad):
    def handler(records):
        if any(data_of(r) in bad for r in records):
            raise ValueError("poison")

    return handler


# --- resharding


def by_key(records, into):
    for record in records:
        into[record["kinesis"]["partitionKey"]].append(int(data_of(record)))


@pytest.mark.parametrize("factor", [1, 3])
async def test_splits_and_merges_under_traffic_keep_the_order_of_every_key(factor):
    seen = defaultdict(list)
    async with stream_mapping(
        lambda records: by_key(records, seen), duration=0.5, batch_size=10, parallelization_factor=factor
    ) as lab:
        numbers = defaultdict(int)

        def write(count):
            for n in range(count):
                key = f"key-{n % 7}"
                lab.engine.put("events", key, str(numbers[key]).encode())
                numbers[key] += 1

        write(100)
        await asyncio.sleep(2)
        left, right = lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        write(100)
        await asyncio.sleep(3)
        lab.engine.merge("events", left, right)
        write(100)
        await asyncio.sleep(200)
        assert {key: list(range(count)) for key, count in numbers.items()} == seen
        finished = [event.shard for event in lab.heard(stream.ShardFinished)]
        assert len(finished) == 3


class SlowStore(MemoryStateStore):
    """A disk that takes half a second over each save."""

    async def save(self, mapping, identity, *progress):
        await asyncio.sleep(0.5)
        await super().save(mapping, identity, *progress)


async def test_no_child_starts_before_the_end_of_its_parents_is_stored():
    """A listing that came while the end was being stored started the children, or found them without a position."""
    async with stream_mapping(started=False, discovery_interval=0.1, batch_size=5) as lab:
        lab.store = SlowStore()
        lab.start()
        lab.put(*map(str, range(20)))
        await asyncio.sleep(3)
        left, right = lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        await asyncio.sleep(3)
        lab.engine.merge("events", left, right)
        lab.put("last")
        await asyncio.sleep(60)
        story = [
            (type(event).__name__.removeprefix("Shard"), event.shard)
            for event in lab.said
            if isinstance(event, stream.ShardStarted | stream.ShardFinished)
        ]
        assert [what for what, _ in story[:2]] == ["Started", "Finished"]
        assert sorted(what for what, _ in story[2:6]) == ["Finished", "Finished", "Started", "Started"]
        assert {shard for _, shard in story[2:6]} == {left, right}
        assert story[6][0] == "Started"
        assert lab.delivered[-1] == "last"
        assert not lab.task.done()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_listing_that_has_lost_a_page_makes_nothing_come_again(restarted, monkeypatch):
    async with stream_mapping(discovery_interval=5.0) as lab:
        lab.put("a")
        lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        await asyncio.sleep(30)
        if restarted:
            await lab.drain()
        whole, short = EngineStream.list_shards, []

        async def one_is_cut(api):
            shards = await whole(api)
            if short:
                return shards
            short.append(shards[1:])
            return shards[1:]

        monkeypatch.setattr(EngineStream, "list_shards", one_is_cut)
        if restarted:
            lab.start()
        await asyncio.sleep(30)
        lab.put("b")
        await asyncio.sleep(30)
        assert short
        assert sorted(lab.delivered) == ["a", "b"]
        assert lab.heard(stream.ShardLost) == []
        (doubt,) = lab.heard(stream.ListingDoubted)
        assert (doubt.shards, doubt.shard_ids) == (1, ("shardId-000000000000",))


async def test_what_two_listings_lack_is_gone():
    async with stream_mapping(discovery_interval=5.0, retention=60.0) as lab:
        lab.put("a")
        lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        await asyncio.sleep(30)
        stored = await lab.store.load("events", lab.settings.stream_arn)
        assert len(stored.shards) == 3
        await asyncio.sleep(200)
        stored = await lab.store.load("events", lab.settings.stream_arn)
        assert len(stored.shards) == 2


async def test_a_closed_shard_is_never_read_again_after_a_restart():
    async with stream_mapping() as lab:
        lab.put("a")
        lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        lab.put("b")
        await asyncio.sleep(30)
        await lab.drain()
        lab.start()
        await asyncio.sleep(30)
        assert sorted(lab.delivered) == ["a", "b"]


async def test_a_dynamodb_shard_that_rolls_over_is_followed():
    seen = []
    async with stream_mapping(
        lambda records: seen.extend(r["dynamodb"]["Keys"]["id"]["S"] for r in records), kind="dynamodb"
    ) as lab:
        for n in range(30):
            lab.engine.write("events", {"id": {"S": str(n)}}, new={"id": {"S": str(n)}})
            if n % 10 == 9:
                open_shard = next(s for s in lab.engine.list_shards("events") if s.closed_at is None)
                lab.engine.roll("events", open_shard.id)
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert seen == [str(n) for n in range(30)]


# --- lanes, filters, windows


async def test_lanes_run_batches_of_a_shard_at_once_and_keep_the_order_of_each_key():
    seen = defaultdict(list)
    async with stream_mapping(
        lambda records: by_key(records, seen), duration=5, batch_size=2, parallelization_factor=10
    ) as lab:
        for n in range(10):
            for key in range(20):
                lab.engine.put("events", f"key-{key}", str(n).encode())
        await asyncio.sleep(600)
        assert lab.invoker.most_running > 3
        assert all(numbers == list(range(10)) for numbers in seen.values())
        assert len(seen) == 20


async def test_filtered_records_are_not_delivered_and_the_checkpoint_passes_them():
    pattern = json.dumps({"data": {"type": ["order"]}})
    async with stream_mapping(filters=[pattern]) as lab:
        lab.put('{"type":"gift"}', "not json")
        await asyncio.sleep(5)
        await lab.drain()
        assert lab.batches == []
        stored = await lab.store.load("events", lab.settings.stream_arn)
        [progress] = stored.shards.values()
        assert progress.position.kind == "AFTER"
        lab.put('{"type":"order"}')
        lab.start()
        await asyncio.sleep(5)
        assert lab.delivered == ['{"type":"order"}']


async def test_a_batching_window_gathers_several_reads():
    async with stream_mapping(window=10, batch_size=100) as lab:
        await asyncio.sleep(30)
        for n in range(5):
            lab.put(str(n))
            await asyncio.sleep(1.5)
        await asyncio.sleep(15)
        assert lab.batches == [[str(n) for n in range(5)]]


async def test_a_record_too_large_for_any_event_is_a_failure_not_an_endless_loop():
    async with stream_mapping(retries=1, destination=True) as lab:
        lab.engine.put("events", "k", b"x" * 5_000_000)
        await asyncio.sleep(2)
        lab.put("next")
        await asyncio.sleep(60)
        assert lab.delivered[-1] == "next"


async def test_two_mappings_on_one_stream_are_independent():
    engine = StreamEngine()
    async with (
        stream_mapping(poison("a"), engine=engine, batch_size=1) as failing,
        stream_mapping(engine=engine, create=False, started=False) as fine,
    ):
        fine.settings = replace(fine.settings, name="other")
        fine.store = failing.store
        fine.start()
        fine.put("a", "b")
        await asyncio.sleep(10)
        assert fine.delivered == ["a", "b"]
        assert set(failing.delivered) == {"a"}


async def test_a_mapping_is_quiet_when_everything_is_read_and_resolved():
    async with stream_mapping(poison("x"), retries=3, backoff=(5.0, 5.0)) as lab:
        loop = asyncio.get_running_loop()
        lab.put("x")
        await asyncio.sleep(3)
        assert lab.runner.quiet_since > loop.time()
        await asyncio.sleep(100)
        assert loop.time() - lab.runner.quiet_since > 50


@pytest.mark.parametrize("interval", [0.05, 0.2, 1.0, 60.0])
def test_idle_shards_fall_into_step_and_wait_no_longer_than_their_interval(interval):
    moments = [1000.0 + n * interval / 40 for n in range(41)]
    nexts = [in_step(now, interval) for now in moments]
    assert all(
        now + 0.74 * interval < after <= now + interval + 1e-9 for now, after in zip(moments, nexts, strict=True)
    )
    assert len(set(nexts)) <= 5
    in_time = [in_step(after + interval / 100, interval) for after in nexts]
    assert in_time == pytest.approx([after + interval for after in nexts])
