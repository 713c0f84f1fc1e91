"""What a shard says of itself while it is at work: where it stands, and what holds it up."""

from __future__ import annotations

import asyncio

import pytest

from esmd.mappings.outstanding import lane_of

from support.stream_lab import data_of, stream_mapping

pytestmark = pytest.mark.looptime


def poison(*bad):
    def handler(records):
        if any(data_of(r) in bad for r in records):
            raise ValueError("poison")

    return handler


async def test_a_shard_that_is_caught_up():
    async with stream_mapping() as lab:
        lab.put("a", "b")
        await asyncio.sleep(10)
        [shard] = lab.runner.shards
        assert (shard.outstanding, shard.in_flight, shard.caught_up, shard.blocked) == (0, 0, True, None)
        assert shard.millis_behind_latest == 0
        assert shard.position.startswith("after ")


async def test_a_failing_batch_blocks_its_shard_and_says_which_records_and_when_it_is_tried_again():
    async with stream_mapping(poison("b"), shards=1, batch_size=3) as lab:
        lab.put("a", "b", "c", "d", "e")
        await asyncio.sleep(20)
        [shard] = lab.runner.shards
        blocked = shard.blocked
        assert (blocked.error_type, blocked.records) == ("ValueError", 3)
        assert blocked.attempts == len(lab.batches) > 2
        first, last = blocked.first_sequence_number, blocked.last_sequence_number
        assert int(first) < int(last)
        assert shard.outstanding == 5
        assert blocked.expires_at is None
        until = blocked.retry_in_s
        assert 0 < until <= 60
        await asyncio.sleep(until - 0.1)
        assert lab.runner.shards[0].blocked.attempts == blocked.attempts
        await asyncio.sleep(0.2)
        assert lab.runner.shards[0].blocked.attempts == blocked.attempts + 1


async def test_while_it_is_tried_again_no_time_of_a_next_try_is_known():
    async with stream_mapping(poison("a"), duration=5) as lab:
        lab.put("a")
        await asyncio.sleep(8)
        assert lab.invoker.running == 1
        assert lab.runner.shards[0].blocked.retry_in_s is None


async def test_what_is_given_up_blocks_no_more():
    async with stream_mapping(poison("a"), retries=2, backoff=(4.0, 4.0)) as lab:
        lab.put("a")
        await asyncio.sleep(3)
        assert lab.runner.shards[0].blocked is not None
        await asyncio.sleep(30)
        assert lab.runner.shards[0].blocked is None
        lab.put("b")
        await asyncio.sleep(5)
        assert lab.runner.shards[0].blocked is None


async def test_the_lane_that_has_failed_the_longest_is_shown():
    one, other = (next(key for key in "abcdefgh" if lane_of(key, 2) == lane) for lane in (1, 0))
    async with stream_mapping(poison("first", "second"), parallelization_factor=2) as lab:
        lab.put("first", key=one)
        await asyncio.sleep(30)
        lab.put("second", key=other)
        await asyncio.sleep(30)
        [shard] = lab.runner.shards
        assert shard.in_flight == 2
        [oldest] = lab.invoker.events[0]
        assert shard.blocked.first_sequence_number == oldest["kinesis"]["sequenceNumber"]
