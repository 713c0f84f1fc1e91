"""Whatever a stream's lineage and whenever it is listed: order over generations holds, and every shard is read once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esmd.pollers.shards import Phase, ShardGraph
from esmd.pollers.streams import LATEST, TRIM_HORIZON, Seek, Shard
from esmd.testing.stream_engine import StreamEngine

from support.examples import examples

STARTS = [TRIM_HORIZON, LATEST, Seek.at_time(0)]
PICK = st.integers(0, 10_000)


class LineageMachine(RuleBasedStateMachine):
    """A stream that splits, merges, rolls over and trims, and a mapping on it that is restarted now and then."""

    @initialize(roots=st.integers(1, 4), old=st.integers(0, 4), start=st.sampled_from(STARTS), data=st.data())
    def create(self, roots: int, old: int, start: Seek, data):
        self.start = start
        self.shards: dict[str, Shard] = {}  # what the stream lists
        self.made = 0
        for _ in range(roots):
            self.add()
        for _ in range(old):  # a history before the mapping's first listing
            self.reshard(data.draw(PICK), data.draw(st.sampled_from(["split", "merge", "roll"])))
        self.stored: dict[str, bool] = {}
        self.lineage = dict(self.shards)
        self.first: set[str] | None = None
        self.reads: dict[str, int] = {}
        self.ended: set[str] = set()
        self.passed_over: set[str] = set()
        self.lost: set[str] = set()
        self.graph = ShardGraph(start)
        self.list_shards()

    def add(self, *parents: str) -> str:
        shard = Shard(f"shard-{self.made}", parents)
        self.made += 1
        self.shards[shard.id] = shard
        return shard.id

    def reshard(self, pick: int, how: str):
        opened = [shard for shard in self.shards.values() if not shard.closed]
        chosen = [opened[pick % len(opened)]]
        if how == "merge":
            chosen.append(opened[(pick + 1) % len(opened)])
            if chosen[0] is chosen[1]:
                return
        for shard in chosen:
            self.shards[shard.id] = Shard(shard.id, shard.parents, closed=True)
        for _ in range(2 if how == "split" else 1):
            self.add(*(shard.id for shard in chosen))

    def note(self, discovered):
        for found in discovered:
            assert found.shard.id not in self.stored, "discovered twice"
            self.stored[found.shard.id] = found.start is None
            if found.start is None:
                self.passed_over.add(found.shard.id)
                assert self.start is LATEST
                assert found.shard.closed
            else:
                assert found.start == (self.start if found.shard.id in self.first else TRIM_HORIZON)

    @rule(pick=PICK, how=st.sampled_from(["split", "merge", "roll"]))
    def change_shards(self, pick: int, how: str):
        self.reshard(pick, how)

    @rule()
    def list_shards(self):
        if self.first is None:
            self.first = set(self.shards)
        self.lineage |= self.shards
        reading = self.reading()
        result = self.graph.listed(self.shards.values())
        assert self.reading() == reading
        self.note(result.discovered)
        for shard_id in result.forgotten:
            assert shard_id not in self.shards, "forgotten although it is listed"
            del self.stored[shard_id]
        for shard_id in result.lost:
            assert shard_id not in self.ended
            self.lost.add(shard_id)

    @rule(most=st.integers(1, 3))
    def take(self, most: int):
        for shard_id in self.graph.take(most):
            shard = self.lineage[shard_id]
            assert self.reads.get(shard_id, 0) == 0 or shard_id not in self.ended, "read again after its end"
            self.reads[shard_id] = self.reads.get(shard_id, 0) + 1
            for parent in shard.parents:
                kept = parent in self.shards or self.graph.phase(parent) is Phase.READING
                assert not kept or parent in self.ended | self.passed_over, "a child overtakes its parent"

    def reading(self) -> list[str]:
        return [name for name in self.stored if self.graph.phase(name) is Phase.READING]

    @precondition(lambda self: any(map(self.closed, self.reading())))
    @rule(pick=PICK, named=st.booleans())
    def end(self, pick: int, named: bool):
        ended = [name for name in self.reading() if self.closed(name)]
        shard_id = ended[pick % len(ended)]
        children = [shard for shard in self.shards.values() if shard_id in shard.parents] if named else []
        self.lineage |= {shard.id: shard for shard in children}
        self.ended.add(shard_id)
        self.note(self.graph.ended(shard_id, children))
        self.stored[shard_id] = True

    def closed(self, name: str) -> bool:
        return name not in self.shards or self.shards[name].closed

    @precondition(lambda self: self.reading())
    @rule(pick=PICK)
    def put_back(self, pick: int):
        reading = self.reading()
        self.graph.put_back(reading[pick % len(reading)])

    @rule(pick=PICK)
    def trim(self, pick: int):
        """The oldest closed shards go, ended or not."""
        closed = [name for name, shard in self.shards.items() if shard.closed]
        for name in closed[: pick % (len(closed) + 1)]:
            del self.shards[name]

    @rule()
    def restart(self):
        self.graph = ShardGraph(self.start, known=self.stored)
        self.list_shards()

    @invariant()
    def every_shard_gets_its_turn(self):
        """From here, reading what may be read and listing again reads all that is listed, each shard once."""
        if not hasattr(self, "graph"):
            return
        graph = ShardGraph(self.start, known=self.stored)
        now = list(self.shards.values())
        graph.listed(now)
        order: list[str] = []
        while taken := graph.take(1):
            order += taken
            graph.ended(taken[0])
        due = [shard.id for shard in now if not self.stored.get(shard.id, False)]
        assert sorted(order) == sorted(due)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["split", "merge", "list", "read"]), PICK),
    ),
    max_size=60,
)


@given(steps=STEPS, most=st.integers(1, 3))
def test_records_come_once_and_in_order_per_key_through_any_resharding(steps, most):
    engine = StreamEngine(clock=lambda: 0.0, epoch=0.0)
    engine.create_stream("s", shards=2)
    graph = ShardGraph(TRIM_HORIZON)
    iterators: dict[str, str] = {}
    put: dict[str, list[str]] = {}
    got: dict[str, list[str]] = {}

    def list_shards():
        graph.listed(
            Shard(shard.id, shard.parents, closed=shard.closed_at is not None) for shard in engine.list_shards("s")
        )

    def read(pick: int):
        for shard_id in graph.take(most):
            iterators[shard_id] = engine.iterator("s", shard_id, "TRIM_HORIZON")
        if not iterators:
            return
        shard_id = sorted(iterators)[pick % len(iterators)]
        answer = engine.read(iterators.pop(shard_id), most)
        for record in answer["Records"]:
            got.setdefault(record["PartitionKey"], []).append(record["SequenceNumber"])
        if "NextShardIterator" in answer:
            iterators[shard_id] = answer["NextShardIterator"]
        else:
            graph.ended(
                shard_id, [Shard(each["ShardId"], tuple(each["ParentShards"])) for each in answer["ChildShards"]]
            )

    for what, value in steps:
        opened = sorted(
            (shard for shard in engine.list_shards("s") if shard.closed_at is None), key=lambda shard: shard.hashes
        )
        if what == "put":
            put.setdefault(f"k{value}", []).append(engine.put("s", f"k{value}", b"")[1])
        elif what == "split":
            engine.split("s", opened[value % len(opened)].id)
        elif what == "merge" and len(opened) > 1:
            place = value % (len(opened) - 1)
            engine.merge("s", opened[place].id, opened[place + 1].id)
        elif what == "list":
            list_shards()
        elif what == "read":
            read(value)
    list_shards()
    for turn in range(20 * (len(steps) + 4)):
        read(turn)
    assert got == put


TestLineage = LineageMachine.TestCase
TestLineage.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
