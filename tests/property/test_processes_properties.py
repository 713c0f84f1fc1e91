"""Whatever comes and goes: no shard has two readers, none is without one for long, and the shares are fair."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import looptime
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from esmd.processes.messages import Changed, Drain, packed, unpacked
from esmd.processes.shares import share
from esmd.streams.leases import Leases

from support.examples import examples
from support.fleet_lab import NAME, FleetLab, fleet

READERS = st.integers(0, 3)


class Moving(RuleBasedStateMachine):
    """Readers that take what they may and give up what they must, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases()
        self.expected: set[int] = set()
        self.free: list[str] = []
        self.made = 0
        self.truth: dict[str, int] = {}

    @rule(count=st.integers(1, 5))
    def shards_appear(self, count):
        self.free += [f"s{self.made + n}" for n in range(count)]
        self.made += count
        self.leases.rebalance(len(self.free))

    @rule(reader=READERS)
    def starts(self, reader):
        if reader not in self.leases.readers:
            self.expected.add(reader)
            self.leases.expect(self.expected)

    @rule(reader=READERS)
    def joins(self, reader):
        self.expected.discard(reader)
        self.freed(self.leases.join(reader))

    @rule(reader=READERS)
    def dies(self, reader):
        self.expected.discard(reader)
        self.leases.expect(self.expected)
        self.freed(self.leases.leave(reader))

    @rule(reader=READERS)
    def takes(self, reader):
        for shard in self.free[: self.leases.room(reader, len(self.free))]:
            assert shard not in self.truth
            self.leases.grant(reader, shard)
            self.truth[shard] = reader
            self.free.remove(shard)

    @rule(reader=READERS)
    def gives_up(self, reader):
        for shard in self.leases.to_give_up(reader):
            self.leases.end(shard)
            del self.truth[shard]
            self.free.append(shard)
        self.leases.rebalance(len(self.free))

    @precondition(lambda self: self.truth)
    @rule(data=st.data())
    def a_shard_ends(self, data):
        shard = data.draw(st.sampled_from(sorted(self.truth)))
        self.leases.end(shard)
        del self.truth[shard]
        self.leases.rebalance(len(self.free))

    def freed(self, shards):
        for shard in shards:
            del self.truth[shard]
            self.free.append(shard)
        self.leases.rebalance(len(self.free))

    @invariant()
    def the_book_says_what_is_so(self):
        assert {shard: self.leases.holder(shard) for shard in self.truth} == self.truth
        assert all(self.leases.holder(shard) is None for shard in self.free)

    @invariant()
    def nothing_lies_idle_that_somebody_may_take(self):
        if self.free and self.leases.readers and not self.expected:
            assert any(self.leases.room(reader, len(self.free)) for reader in self.leases.readers)

    def teardown(self):
        """Once nobody comes or goes, a few turns lead to fair shares, and then nothing moves any more."""
        self.leases.expect(())
        self.leases.rebalance(len(self.free))
        readers = self.leases.readers
        for _ in range(3):
            for reader in readers:
                self.gives_up(reader)
            for reader in readers:
                self.takes(reader)
        assert not any(self.leases.to_give_up(reader) for reader in readers)
        if readers:
            assert not self.free
            held = [len(self.leases.held(reader)) for reader in readers]
            assert min(held) >= sum(held) // len(readers)


TestMoving = Moving.TestCase


@given(limit=st.integers(0, 5000), processes=st.integers(1, 64))
def test_the_parts_of_a_limit_are_the_limit_and_differ_by_one_at_most(limit, processes):
    parts = [share(limit, place, processes) for place in range(processes)]
    assert sum(parts) == limit
    assert parts == sorted(parts, reverse=True)
    assert (max(parts), min(parts)) == (math.ceil(limit / processes), limit // processes)


@given(texts=st.lists(st.text(max_size=30), max_size=8), cuts=st.lists(st.integers(1, 40), max_size=30))
def test_messages_survive_any_cutting_of_the_bytes(texts, cuts):
    messages = [Drain(text) if n % 2 else Changed(text) for n, text in enumerate(texts)]
    stream = b"".join(packed(message) for message in messages)
    received, got = bytearray(), []
    for cut in [*cuts, len(stream) or 1]:
        received += stream[:cut]
        stream = stream[cut:]
        got += unpacked(received)
    assert got == messages
    assert not received


# --- whole processes, under virtual time

PROCESSES = 3
NUMBERS = st.integers(0, PROCESSES - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 8)),
        st.tuples(st.just("wait"), st.floats(0.0, 3.0)),
        st.tuples(st.just("split"), st.integers(0, 5)),
        st.tuples(st.just("merge"), st.integers(0, 5)),
        st.tuples(st.just("kill"), NUMBERS),
        st.tuples(st.just("replace"), NUMBERS),
        st.tuples(st.just("start"), NUMBERS),
    ),
    max_size=25,
)


async def carry_out(lab: FleetLab, what: str, value: Any) -> None:
    shards = sorted(lab.engine.list_shards(NAME), key=lambda shard: shard.hashes)
    there = [shard.id for shard in shards if shard.closed_at is None]
    match what:
        case "put":
            lab.put(value, keys=5)
        case "wait":
            await asyncio.sleep(value)
        case "split" if len(there) < 12:
            lab.engine.split(NAME, there[value % len(there)])
        case "merge" if len(there) > 1:
            left = value % (len(there) - 1)
            lab.engine.merge(NAME, there[left], there[left + 1])
        case "kill" if value in lab.processes:
            await lab.kill(value)
        case "replace" if value in lab.processes:
            await lab.kill(value, expected=True)
            lab.start(value)
        case "start" if value not in lab.processes:
            lab.start(value)
        case _:
            pass


async def story(steps: list[tuple[str, Any]]) -> None:
    async with fleet(PROCESSES, shards=3, duration=0.2, discovery_interval=5.0) as lab:
        for what, value in steps:
            await carry_out(lab, what, value)
        for number in range(PROCESSES):
            await carry_out(lab, "start", number)
        lab.put(1, keys=5)
        await asyncio.sleep(100)
        killed = any(what in {"kill", "replace"} for what, _ in steps)
        lab.assert_all_delivered_in_order(once=not killed)
        held = lab.pollers()
        there = sum(shard.closed_at is None for shard in lab.engine.list_shards(NAME))
        assert sum(held) == there
        assert min(held) >= there // PROCESSES
        assert not [event for _, event in lab.said if event.name == "internal.error"]


@settings(max_examples=examples(25))
@given(steps=STEPS)
def test_processes_may_come_and_go_and_shards_too_and_every_key_keeps_its_order(steps):
    """That a shard has one reader at a time is asserted by the handler."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(story(steps))
