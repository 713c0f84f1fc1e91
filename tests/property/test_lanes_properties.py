"""Lanes against a naive model: order per key, a contiguous checkpoint, nothing lost, whatever the interleaving."""

from __future__ import annotations

import random
from itertools import groupby

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esmd.mappings.lanes import Lanes
from esmd.mappings.outstanding import lane_of

from support.batches import record


class LanesMachine(RuleBasedStateMachine):
    """A shard is read, batched and resolved in any interleaving, with restarts in between."""

    @initialize(
        factor=st.sampled_from([1, 2, 2, 3, 10]),
        batch_size=st.integers(1, 4),
        window=st.sampled_from([0, 3]),
        keys=st.integers(1, 6),
    )
    def start(self, factor, batch_size, window, keys):
        self.options = {"batch_size": batch_size, "window": window, "max_bytes": 120}
        self.factor = factor
        self.keys = keys
        self.stream = []  # every record there is, in order; None in `key` marks what no filter matches
        self.now = 0.0
        self.resolved = set()
        self.skipped = set()
        self.checkpoint = -1
        self.restart_from(None)

    def restart_from(self, old):
        checkpoint = old and old.checkpoint
        resume = old and old.snapshot()
        self.lanes = Lanes(self.factor, checkpoint=checkpoint, resume=resume, **self.options)
        self.read = sum(1 for r in self.stream if int(r.id) <= self.checkpoint)
        self.taken = {}
        self.under_way = {}
        self.delivered = []

    @rule(count=st.integers(1, 6), pick=st.randoms(use_true_random=False))
    def write(self, count, pick):
        for _ in range(count):
            number = (int(self.stream[-1].id) if self.stream else 0) + pick.randint(1, 3)
            self.stream.append(record(str(number), key=f"key-{pick.randrange(self.keys)}"))
            if pick.random() < 0.2:
                self.skipped.add(self.stream[-1].id)
        self.poll(count)

    @rule(most=st.integers(1, 8))
    def poll(self, most):
        page = self.stream[self.read : self.read + most]
        self.read += len(page)
        for is_skipped, group in groupby(page, key=lambda r: r.id in self.skipped):
            run = list(group)
            if is_skipped:
                self.lanes.skip_to(run[-1].id)
            else:
                self.lanes.add(run)

    @rule(lane=st.integers(0, 2), seconds=st.integers(0, 3))
    def take(self, lane, seconds):
        self.now += seconds
        lane %= self.factor
        due = self.lanes.due(lane)
        front = self.lanes.front(lane)
        batch = self.lanes.take(lane, self.now)
        if batch is None:
            assert self.under_way.get(lane) or due != float("-inf") or self.options["window"]
            return
        assert not self.under_way.get(lane), "two batches of a lane at once"
        assert due is not None
        assert due <= self.now
        assert batch.records[0] is front
        assert 0 < len(batch.records) <= self.options["batch_size"]
        assert all(lane_of(r.ordering_key, self.factor) == lane for r in batch.records)
        self.taken[lane] = self.under_way[lane] = list(batch.records)
        self.delivered += batch.records

    @rule(pick=st.randoms(use_true_random=False), share=st.floats(0, 1))
    @precondition(lambda self: any(self.under_way.values()))
    def resolve(self, pick, share):
        """Some of what is under way, of any lanes, in any order: the policy may discard records amid a batch."""
        everything = [r.id for batch in self.under_way.values() for r in batch]
        pick.shuffle(everything)
        done = everything[: max(1, round(share * len(everything)))]
        moved = self.lanes.resolve(done)
        self.resolved.update(done)
        assert moved == (int(self.lanes.checkpoint or -1) > self.checkpoint)
        for lane, batch in self.under_way.items():
            self.under_way[lane] = [r for r in batch if r.id not in done]
            if batch and not self.under_way[lane]:
                self.lanes.batch_ended(lane, self.now)

    @rule()
    def restart(self):
        self.checkpoint_matches_the_naive_one()
        old, before = self.lanes, set(self.resolved)
        under_way = {r.id for lane, batch in self.taken.items() if self.under_way[lane] for r in batch}
        self.restart_from(old)
        page = [r for r in self.stream[self.read :] if r.id not in self.skipped]
        again = [r for r in page if r.id in before and self.lanes.add([r])]
        assert {r.id for r in again} <= under_way, "only batches that were under way come again"
        self.resolved -= {r.id for r in again}
        self.restart_from(old)

    @rule(factor=st.integers(1, 3))
    def restart_with_another_factor(self, factor):
        self.checkpoint_matches_the_naive_one()
        if factor == self.factor:
            self.restart()
            return
        self.factor = factor
        self.resolved = {name for name in self.resolved if int(name) <= self.checkpoint}
        self.restart_from(self.lanes)

    @invariant()
    def checkpoint_matches_the_naive_one(self):
        naive = -1
        for r in self.stream[: self.read]:
            if r.id not in self.resolved and r.id not in self.skipped:
                break
            naive = int(r.id)
        # After a restart what was read before is read again, so the checkpoint may be ahead of the reading.
        expected = max(naive, self.checkpoint)
        assert int(self.lanes.checkpoint or -1) == expected
        self.checkpoint = expected

    @invariant()
    def outstanding_is_what_came_in_and_is_not_resolved(self):
        open_ones = [r for r in self.stream[: self.read] if r.id not in self.resolved and r.id not in self.skipped]
        assert self.lanes.outstanding == len(open_ones)
        assert self.lanes.outstanding_bytes == sum(r.size for r in open_ones)

    @invariant()
    def each_key_is_delivered_in_order(self):
        last = {}
        for r in self.delivered:
            assert int(r.id) > last.get(r.ordering_key, -1)
            last[r.ordering_key] = int(r.id)

    def teardown(self):
        """Everything that was written is resolved in the end."""
        if not hasattr(self, "lanes"):
            return
        self.poll(len(self.stream))
        self.checkpoint_matches_the_naive_one()
        for _ in range(2 * len(self.stream) + 2):
            for lane in range(self.factor):
                if self.under_way.get(lane):
                    self.resolve(random.Random(0), 1.0)
                    self.checkpoint_matches_the_naive_one()
                self.take(lane, 10)
        assert self.lanes.outstanding == 0
        assert int(self.lanes.checkpoint or -1) == (int(self.stream[-1].id) if self.stream else -1)


TestLanes = LanesMachine.TestCase
