"""What is exported comes back as it was, whatever it is; and a plan never moves a shard elsewhere than asked."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from esmd.positions.files import document, from_document, read
from esmd.positions.plan import moves_of, moves_to
from esmd.positions.targets import lasting
from esmd.state.position import LATEST, SHARD_END, TRIM_HORIZON, Position
from esmd.state.protocol import ShardProgress, Stored, StreamIdentity

ANY_TEXT = st.text(st.characters(), max_size=20) | st.just("\ud800 lone")
TIMES = st.floats(0, 1e11, allow_nan=False)
NUMBERS = st.integers(0, 10**56).map(str) | st.just("00012")
STARTS = st.sampled_from([TRIM_HORIZON, LATEST]) | TIMES.map(Position.at_timestamp)
POSITIONS = STARTS | NUMBERS.map(Position.after) | st.just(SHARD_END)
SHARDS = st.builds(
    ShardProgress,
    shard_id=ANY_TEXT,
    parents=st.lists(ANY_TEXT, max_size=2).map(tuple),
    position=POSITIONS,
    trouble=st.none() | ANY_TEXT,
    window=st.none() | ANY_TEXT,
    updated_at=TIMES,
)
STORED = st.builds(
    lambda identity, shards: Stored(identity, {each.shard_id: each for each in shards}),
    st.builds(StreamIdentity, ANY_TEXT, ANY_TEXT),
    st.lists(SHARDS, max_size=4),
)


@given(ANY_TEXT, STORED, TIMES)
def test_what_is_exported_is_imported_as_it_was(mapping: str, stored: Stored, now: float):
    text = json.dumps(document(mapping, stored, now=now))
    exported = read(text)
    assert (exported.mapping, exported.stored) == (mapping, stored)
    assert from_document(json.loads(text)) == exported
    assert moves_of(stored, exported.stored.shards.values()) == [], "it is there already"
    assert [move.after for move in moves_of(None, exported.stored.shards.values())] == list(
        exported.stored.shards.values()
    )


@given(STORED.filter(lambda stored: stored.shards), STARTS, TIMES)
def test_a_plan_leads_where_it_was_asked_to(stored: Stored, target: Position, now: float):
    moved = {move.after.shard_id: move.after for move in moves_to(stored, target, shard=None, now=now)}
    for shard_id, before in stored.shards.items():
        after = moved.get(shard_id)
        if after is None:
            there = before.position == target and (before.trouble, before.window) == (None, None)
            assert there or (target == LATEST and before.position == SHARD_END)
        else:
            assert after.position == lasting(target, now=now)
            assert (after.trouble, after.window, after.parents) == (None, None, before.parents)
