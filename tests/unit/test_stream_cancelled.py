"""What the walk of `test_cancellation.py` found in stream mappings, a test for each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from esmd.pollers.streams import TRIM_HORIZON, Shard
from esmd.state.memory import MemoryStateStore
from esmd.state.position import SHARD_END
from esmd.state.protocol import ShardProgress, StreamIdentity
from esmd.streams.book import Bookkeeper

from support.walked_streams import StreamScenario
from support.walker import Walk, run

STREAM = StreamIdentity("arn", "1")
PARENT = Shard(id="parent", parents=(), closed=True)
CHILD = Shard(id="child", parents=("parent",), closed=False)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "function", ["ShardReader._read", "ShardConsumer._run_batch", "Ledger.follow", "StreamRunner._consume_shard"]
)
def test_a_shard_one_of_whose_tasks_is_cancelled_is_read_on(function: str) -> None:
    # The task group went on without it: nobody read, delivered or stored any more, and no stop reached the shard.
    scenario = StreamScenario(changes={"batch_size": 1})
    look = run(scenario, Walk())
    at = next(n for n, places in enumerate(look.suspensions, 1) if function in {place.function for place in places})
    assert run(scenario, Walk(at=at, how="cut")).hit is not None


class HeldStore(MemoryStateStore):
    """Lets a call through when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = asyncio.Event()

    async def save(self, *arguments: Any) -> None:
        await self.may_go_on.wait()
        await super().save(*arguments)

    async def assign(self, *arguments: Any) -> None:
        await self.may_go_on.wait()
        await super().assign(*arguments)


async def begun(store: HeldStore) -> Bookkeeper:
    """A book of one shard, which its reader has not got yet."""
    keeper = Bookkeeper("m", store=store, table=store, wall=lambda: 0.0, wake=lambda _: None)
    await keeper.begin(0, STREAM, TRIM_HORIZON)
    store.may_go_on.set()
    await keeper.listed(0, STREAM, await keeper.ticket(0, STREAM), [PARENT], 0.0)
    store.may_go_on.clear()
    return keeper


async def cut_off(call: Any) -> None:
    """Begin a call, and cancel it where it waits."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_shards_whose_lease_is_cut_off_while_it_is_written_down_are_given_out_again() -> None:
    # They were leased to a reader that did not know it: nobody read them until its process ended.
    store = HeldStore()
    keeper = await begun(store)
    await cut_off(keeper.take(0, STREAM))
    store.may_go_on.set()
    assert [each.progress.shard_id for each in (await keeper.take(0, STREAM)).begin] == ["parent"]
    assert [lease.process for lease in await store.leases()] == [0]


@pytest.mark.parametrize("alone", [False, True])
async def test_the_end_of_a_shard_that_is_cut_off_is_stored_when_it_is_said_again(alone: bool) -> None:
    # Where it had not begun, waiting for another reader's call, it was lost: the children were never read.
    store = HeldStore()
    keeper = await begun(store)
    store.may_go_on.set()
    await keeper.take(0, STREAM)
    store.may_go_on.clear()
    at_end = ShardProgress(shard_id="parent", position=SHARD_END, updated_at=0.0)
    other = asyncio.ensure_future(keeper.listed(1, STREAM, await keeper.ticket(1, STREAM), [PARENT, CHILD], 0.0))
    if alone:
        other.cancel()
    await cut_off(keeper.ended(0, STREAM, at_end, [CHILD]))
    store.may_go_on.set()
    await asyncio.wait([other])
    for _ in range(2):
        await keeper.ended(0, STREAM, at_end, [CHILD])
    assert [each.progress.shard_id for each in (await keeper.take(0, STREAM)).begin] == ["child"]
    stored = await store.load("m", "arn")
    assert stored is not None
    assert stored.shards["parent"].position == SHARD_END
