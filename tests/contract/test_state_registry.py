"""One contract for every registry: mappings of the API and pauses, kept until they are dropped; and what only a file promises."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from esmd.state.errors import StateError, StateInUseError
from esmd.state.lazy import LazyStateStore
from esmd.state.memory import MemoryStateStore
from esmd.state.position import Position
from esmd.state.protocol import ShardProgress, StreamIdentity
from esmd.state.registry import KeptMapping
from esmd.state.schema import MIGRATIONS, upgrade
from esmd.state.sqlite import SqliteStateStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STREAM = StreamIdentity("arn:aws:kinesis:us-east-1:000000000000:stream/orders", "then")
PROGRESS = ShardProgress(shard_id="s-0", position=Position.after("1"), updated_at=1.0)


def kept(uuid: str, *, created_at: float = 1.0, settings: str = "{}") -> KeptMapping:
    return KeptMapping(uuid=uuid, settings=settings, created_at=created_at, modified_at=created_at + 1)


@pytest.fixture(params=["memory", "sqlite", "lazy"])
async def store(request, tmp_path: Path) -> AsyncIterator[MemoryStateStore | SqliteStateStore | LazyStateStore]:
    match request.param:
        case "memory":
            made = MemoryStateStore()
        case "sqlite":
            made = await SqliteStateStore.open(tmp_path / "esmd.db")
        case _:
            made = LazyStateStore(tmp_path / "esmd.db")
    yield made
    await made.close()


async def test_nothing_is_kept_at_first(store):
    assert await store.kept() == []
    assert await store.pauses() == {}


async def test_mappings_come_back_by_the_time_of_their_creation_as_they_were_kept_last(store):
    await store.keep(kept("b", created_at=2.0))
    await store.keep(kept("c", created_at=1.0, settings='{"tags": {"ü": "\\ud800"}}'))
    await store.keep(kept("a", created_at=2.0))
    await store.keep(kept("b", created_at=2.0, settings='{"new": 1}'))
    assert [each.uuid for each in await store.kept()] == ["c", "a", "b"]
    assert (await store.kept())[2] == kept("b", created_at=2.0, settings='{"new": 1}')
    assert (await store.kept())[0].settings == '{"tags": {"ü": "\\ud800"}}'


async def test_a_dropped_mapping_is_gone_and_an_unknown_one_does_not_matter(store):
    await store.keep(kept("a"))
    await store.drop("a")
    await store.drop("a")
    assert await store.kept() == []


async def test_a_pause_keeps_the_time_of_the_first_and_ends_once(store):
    await store.pause("a", 1.5)
    await store.pause("a", 2.5)
    await store.pause("b", 3.0)
    assert dict(await store.pauses()) == {"a": 1.5, "b": 3.0}
    await store.resume("a")
    await store.resume("a")
    assert dict(await store.pauses()) == {"b": 3.0}


async def test_positions_are_dropped_of_one_mapping_only(store):
    for mapping in ("x", "y"):
        await store.begin(mapping, STREAM)
        await store.save(mapping, STREAM, PROGRESS)
    await store.assign("x", STREAM, {"s-0": 1})
    await store.drop_positions("x")
    await store.drop_positions("unknown")
    assert await store.load("x", STREAM.arn) is None
    assert await store.leases() == []
    assert (await store.load("y", STREAM.arn)).shards == {"s-0": PROGRESS}


@pytest.mark.parametrize("call", ["keep", "drop", "pause", "resume", "drop_positions"])
async def test_a_closed_store_refuses(store, call):
    await store.close()
    arguments = {"keep": (kept("a"),), "pause": ("a", 1.0)}.get(call, ("a",))
    with pytest.raises(StateError):
        await getattr(store, call)(*arguments)


# --- the file


async def test_what_is_kept_survives_the_process(tmp_path):
    path = tmp_path / "esmd.db"
    first = await SqliteStateStore.open(path)
    await first.keep(kept("a"))
    await first.pause("p", 5.0)
    await first.close()
    again = await SqliteStateStore.open(path)
    assert await again.kept() == [kept("a")]
    assert await again.pauses() == {"p": 5.0}
    await again.close()


async def test_a_file_of_the_version_before_is_brought_up_and_keeps_its_positions(tmp_path):
    path = tmp_path / "esmd.db"
    connection = sqlite3.connect(path, isolation_level=None)
    upgrade(connection, MIGRATIONS[:2])
    connection.execute("INSERT INTO streams VALUES ('orders', 'arn', 'then')")
    connection.close()
    store = await SqliteStateStore.open(path)
    assert [each.mapping for each in await store.mappings()] == ["orders"]
    await store.keep(kept("a"))
    assert len(await store.kept()) == 1
    await store.close()


# --- opened when it is needed


async def test_looking_makes_no_file_and_the_first_change_does(tmp_path):
    path = tmp_path / "folder" / "esmd.db"
    store = LazyStateStore(path)
    assert await store.look() is None
    assert (await store.kept(), await store.pauses()) == ([], {})
    assert not path.parent.exists()
    await store.pause("a", 1.0)
    assert path.exists()
    assert dict(await store.pauses()) == {"a": 1.0}
    await store.close()


async def test_a_file_that_keeps_nothing_of_this_kind_is_left_to_others(tmp_path):
    path = tmp_path / "esmd.db"
    other = await SqliteStateStore.open(path)
    await other.begin("orders", STREAM)
    await other.close()
    store = LazyStateStore(path)
    assert await store.look() is None
    assert not store.is_open
    other = await SqliteStateStore.open(path)  # would be refused while the first holds it
    with pytest.raises(StateInUseError):
        await store.pause("a", 1.0)
    await other.close()
    await store.pause("a", 1.0)
    await store.close()


async def test_a_file_with_a_pause_is_held_from_the_look_on(tmp_path):
    path = tmp_path / "esmd.db"
    first = LazyStateStore(path)
    await first.pause("a", 1.0)
    await first.close()
    store = LazyStateStore(path)
    assert await store.look() is None
    assert store.is_open
    assert dict(await store.pauses()) == {"a": 1.0}
    second = LazyStateStore(path)
    assert isinstance(await second.look(), StateInUseError)
    assert await second.kept() == []
    await second.close()
    await store.close()


async def test_a_damaged_file_is_said_by_the_look_and_nothing_is_written_to_it(tmp_path):
    path = tmp_path / "esmd.db"
    path.write_bytes(b"no database at all" * 100)
    store = LazyStateStore(path)
    assert isinstance(await store.look(), StateError)
    with pytest.raises(StateError):
        await store.keep(kept("a"))
    await store.close()
    assert path.read_bytes() == b"no database at all" * 100
