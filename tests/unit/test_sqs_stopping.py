"""How an SQS mapping stops, and what it offers beyond AWS, under virtual time."""

from __future__ import annotations

import asyncio

import pytest

from esmd.mappings.outcomes import Throttled
from esmd.observe import mapping_events as say

from support.mapping_lab import both_kinds, mapping  # noqa: F401 - a fixture

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("both_kinds")]


def boom(records):
    raise ValueError("boom")


# --- stopping


async def test_stop_lets_running_batches_finish_and_deletes_them():
    async with mapping(duration=20, visibility=60) as lab:
        lab.send("a")
        await asyncio.sleep(1)
        await lab.drain()
        assert lab.counts.inflight == lab.counts.visible == 0
        assert lab.invoker.cancelled == 0


async def test_stop_never_cancels_a_long_poll_and_gives_back_what_it_brings():
    async with mapping(longest_poll=20) as lab:
        await asyncio.sleep(1)
        lab.stop.set()
        await asyncio.sleep(1)
        assert lab.api.receiving == 1
        lab.send("late")
        await lab.task
        assert lab.counts.visible == 1
        assert lab.invoker.events == []
        [event] = lab.heard(say.RecordsReleased)
        assert event.records == 1


async def test_stop_gives_back_a_batch_that_was_still_gathering():
    async with mapping(batch_size=100, window=300, visibility=30) as lab:
        lab.send("a", "b", "c")
        await asyncio.sleep(5)
        await lab.drain()
        assert lab.counts.visible == 3
        assert lab.invoker.events == []


async def test_with_release_on_stop_off_messages_wait_for_their_visibility():
    async with mapping(batch_size=100, window=300, release_on_stop=False) as lab:
        lab.send("a")
        await asyncio.sleep(5)
        await lab.drain()
        assert lab.counts.inflight == 1


async def test_stop_gives_back_a_batch_that_waits_for_a_place():
    async with mapping(lambda records: Throttled(), visibility=300) as lab:
        lab.send("a")
        await asyncio.sleep(5)
        await lab.drain()
        assert lab.counts.visible == 1


async def test_a_halt_kills_the_handler_and_leaves_the_message_to_the_queue():
    async with mapping(duration=100, visibility=300) as lab:
        lab.send("a")
        await asyncio.sleep(1)
        lab.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lab.task
        assert lab.invoker.cancelled == 1
        assert lab.counts.inflight == 1
        lab.task = asyncio.create_task(asyncio.sleep(0))


async def test_a_halt_starts_nothing_more_whatever_ends_meanwhile():
    async with mapping(maximum_concurrency=1, batch_size=1, visibility=300) as lab:
        held = asyncio.Event()

        async def cling(records):
            try:
                await held.wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
                raise

        lab.invoker._handler = cling
        lab.send("a", "b", "c")
        await asyncio.sleep(1)
        lab.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lab.task
        await asyncio.sleep(5)
        assert lab.invoker.bodies == [["a"]]
        assert lab.function.busy == 0
        lab.task = asyncio.create_task(asyncio.sleep(0))


async def test_a_halt_during_the_delete_still_deletes():
    async with mapping() as lab:
        lab.api.latency = 2.0
        lab.send("a")
        while not any(name == "delete" for name, _ in lab.api.calls):
            await asyncio.sleep(0.5)
        lab.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lab.task
        assert lab.counts.inflight == lab.counts.visible == 0
        lab.task = asyncio.create_task(asyncio.sleep(0))


# --- beyond AWS


async def test_the_heartbeat_keeps_a_long_running_message_hidden():
    async with mapping(duration=200, visibility=30, visibility_heartbeat=True, function_timeout=300) as lab:
        lab.send("a")
        await asyncio.sleep(250)
        assert lab.invoker.bodies == [["a"]]
        assert lab.counts.inflight == lab.counts.visible == 0


async def test_without_the_heartbeat_the_same_message_is_delivered_twice():
    async with mapping(duration=200, visibility=210, function_timeout=205) as lab:
        await asyncio.sleep(1)
        lab.engine.set_attributes("orders", {"VisibilityTimeout": "30"})
        lab.send("a")
        await asyncio.sleep(100)
        assert len(lab.invoker.bodies) > 1


async def test_retry_backoff_replaces_the_visibility_timeout_after_a_failure():
    async with mapping(boom, visibility=300, retry_backoff=(10, 60), max_receive_count=4) as lab:
        lab.send("a")
        await asyncio.sleep(250)
        gaps = [b - a for a, b in zip(lab.invoker.times, lab.invoker.times[1:], strict=False)]
        assert len(gaps) == 3
        assert 7 <= gaps[0] <= 11
        assert 15 <= gaps[1] <= 21
        assert 30 <= gaps[2] <= 41
        assert lab.heard(say.BatchFailed)[0].next == "retry_backoff"


# --- idleness


async def test_a_mapping_is_not_quiet_while_a_failed_message_will_come_back():
    async with mapping(boom, visibility=30) as lab:
        loop = asyncio.get_running_loop()
        lab.send("a")
        await asyncio.sleep(5)
        assert lab.runner.quiet_since > loop.time()


async def test_an_idle_mapping_is_quiet_since_its_last_batch():
    async with mapping() as lab:
        loop = asyncio.get_running_loop()
        lab.send("a")
        await asyncio.sleep(50)
        assert loop.time() - lab.runner.quiet_since == pytest.approx(50, abs=1)
