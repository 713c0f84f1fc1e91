"""Both stores against a naive model: whatever is asked of them, in whatever order, and however often reopened."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from esmd.state.errors import OtherStreamError, PositionMovedBackError
from esmd.state.memory import MemoryStateStore
from esmd.state.position import LATEST, SHARD_END, TRIM_HORIZON, Position
from esmd.state.protocol import ShardProgress, StateStore, StreamIdentity
from esmd.state.sqlite import SqliteStateStore

from support.examples import examples

NUMBERS = st.integers(0, 30).map(str) | st.integers(0, 10**56).map(str) | st.integers(0, 9).map(lambda n: f"00{n}")
STARTS = st.sampled_from([TRIM_HORIZON, LATEST]) | st.floats(0, 2e9).map(Position.at_timestamp)
POSITIONS = STARTS | NUMBERS.map(Position.after) | st.just(SHARD_END)
TEXTS = st.none() | st.text(max_size=20)

PROGRESS = st.builds(
    ShardProgress,
    shard_id=st.sampled_from(["a", "b", "c"]),
    parents=st.sampled_from([(), ("x",), ("x", "y")]),
    position=POSITIONS,
    trouble=TEXTS,
    window=TEXTS,
    updated_at=st.floats(0, 2e9),
)
MAPPINGS = st.sampled_from(["one", "two"])
IDENTITIES = st.builds(StreamIdentity, st.sampled_from(["arn-1", "arn-2"]), st.sampled_from(["then", "now"]))


@given(st.lists(POSITIONS, max_size=6))
def test_positions_are_ordered_like_their_meaning(positions: list[Position]):
    def meaning(position: Position) -> float | int:
        if position.kind == "AFTER":
            return int(position.sequence_number or "")
        return float("inf") if position.kind == "SHARD_END" else -1

    for one in positions:
        for other in positions:
            assert one.is_behind(other) == (meaning(one) < meaning(other))


class Stores(RuleBasedStateMachine):
    """Memory, SQLite, and a dict that says what both must hold."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "esmd.db"
        self.runner = asyncio.Runner()
        self.memory = MemoryStateStore()
        self.sqlite = self.runner.run(SqliteStateStore.open(self.path))
        self.model: dict[tuple[str, str], tuple[StreamIdentity, dict[str, ShardProgress]]] = {}

    def both(self) -> tuple[StateStore, StateStore]:
        return self.memory, self.sqlite

    @rule(mapping=MAPPINGS, identity=IDENTITIES)
    def begin(self, mapping: str, identity: StreamIdentity) -> None:
        before = self.model.get((mapping, identity.arn))
        replaced = before if before is not None and before[0] != identity else None
        if before is None or replaced is not None:
            self.model[mapping, identity.arn] = (identity, {})
        for store in self.both():
            forgotten = self.runner.run(store.begin(mapping, identity))
            assert (None if forgotten is None else (forgotten.identity, dict(forgotten.shards))) == replaced

    @rule(
        mapping=MAPPINGS, identity=IDENTITIES, progress=st.lists(st.lists(PROGRESS, min_size=1, max_size=3), max_size=4)
    )
    def save_in_one_tick(self, mapping: str, identity: StreamIdentity, progress: list[list[ShardProgress]]) -> None:
        expected: list[type[Exception] | None] = []
        begun = self.model.get((mapping, identity.arn))
        for call in progress:
            if begun is None or begun[0] != identity:
                expected.append(OtherStreamError)
                continue
            after = dict(begun[1])
            refused = False
            for each in call:
                stored = after.get(each.shard_id)
                refused |= stored is not None and each.position.is_behind(stored.position)
                after[each.shard_id] = each
            expected.append(PositionMovedBackError if refused else None)
            if not refused:
                begun[1].update(after)

        async def save(store: StateStore) -> list[BaseException | None]:
            calls = (store.save(mapping, identity, *call) for call in progress)
            return await asyncio.gather(*calls, return_exceptions=True)

        for store in self.both():
            results = self.runner.run(save(store))
            assert [None if result is None else type(result) for result in results] == expected

    @rule(mapping=MAPPINGS, identity=IDENTITIES, progress=st.lists(PROGRESS, max_size=3))
    def move(self, mapping: str, identity: StreamIdentity, progress: list[ShardProgress]) -> None:
        begun = self.model.get((mapping, identity.arn))
        known = begun is not None and begun[0] == identity
        if begun is not None and known:
            begun[1].update((each.shard_id, each) for each in progress)
        for store in self.both():
            try:
                self.runner.run(store.move(mapping, identity, *progress))
            except OtherStreamError:
                assert not known
            else:
                assert known

    @rule(mapping=MAPPINGS, identity=IDENTITIES, shard_ids=st.sets(st.sampled_from(["a", "b", "never"])))
    def forget(self, mapping: str, identity: StreamIdentity, shard_ids: set[str]) -> None:
        begun = self.model.get((mapping, identity.arn))
        known = begun is not None and begun[0] == identity
        if begun is not None and known:
            for shard_id in shard_ids:
                begun[1].pop(shard_id, None)
        for store in self.both():
            try:
                self.runner.run(store.forget(mapping, identity, shard_ids))
            except OtherStreamError:
                assert not known
            else:
                assert known

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.sqlite.close())
        self.sqlite = self.runner.run(SqliteStateStore.open(self.path))

    @invariant()
    def both_hold_what_the_model_holds(self) -> None:
        for store in self.both():
            summaries = self.runner.run(store.mappings())
            assert [(each.mapping, each.identity.arn) for each in summaries] == sorted(self.model)
            for (mapping, arn), (identity, shards) in self.model.items():
                stored = self.runner.run(store.load(mapping, arn))
                assert stored is not None
                assert (stored.identity, dict(stored.shards)) == (identity, shards)

    def teardown(self) -> None:
        self.runner.run(self.sqlite.close())
        self.runner.close()
        self.folder.cleanup()


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=examples(30), stateful_step_count=20, deadline=None)
