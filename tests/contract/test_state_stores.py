"""One contract for every state store, row by row of the protocol's table; and what only a file can promise."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from esmd.processes.desk import Desk
from esmd.processes.remote import RemoteStateStore
from esmd.state import protocol
from esmd.state.errors import OtherStreamError, PositionMovedBackError, StateError, StateInUseError
from esmd.state.memory import MemoryStateStore
from esmd.state.position import LATEST, SHARD_END, TRIM_HORIZON, Position
from esmd.state.protocol import Lease, ShardProgress, StreamIdentity, Summary
from esmd.state.sqlite import SqliteStateStore

from support.channels import channel_pair
from support.mapping_lab import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from esmd.state.protocol import StateStore

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
FIRST = StreamIdentity(ARN, "2026-01-01T00:00:00Z")
SECOND = StreamIdentity(ARN, "2026-02-02T00:00:00Z")


def at(position: Position | str, shard_id: str = "shard-0", **more: object) -> ShardProgress:
    where = Position.after(position) if isinstance(position, str) else position
    values: dict[str, object] = {"shard_id": shard_id, "position": where, "updated_at": 1_700_000_000.25}
    return ShardProgress(**(values | more))


def served_by(store: MemoryStateStore | SqliteStateStore) -> Callable[..., Awaitable[object]]:
    """How the parent serves the first child from this store."""
    return partial(Desk(store, readers={}, wake=lambda *_: None, telemetry=Collector()).serve, 0)


async def shards(store: StateStore, mapping: str = "orders", arn: str = ARN) -> dict[str, ShardProgress]:
    stored = await store.load(mapping, arn)
    assert stored is not None
    return dict(stored.shards)


@pytest.fixture(params=["memory", "sqlite"])
async def own_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[MemoryStateStore | SqliteStateStore]:
    """A store of this process."""
    store = MemoryStateStore() if request.param == "memory" else await SqliteStateStore.open(tmp_path / "esmd.db")
    yield store
    await store.close()


@pytest.fixture(params=["here", "in another process"])
async def store(
    request: pytest.FixtureRequest, own_store: MemoryStateStore | SqliteStateStore
) -> AsyncIterator[StateStore]:
    """The store itself, and as a child of the daemon sees it."""
    if request.param == "here":
        yield own_store
        return
    with channel_pair(served_by(own_store)) as child:
        remote = RemoteStateStore(child)
        yield remote
        await remote.close()


# --- the table

ROWS: dict[tuple[str, str], Callable[[StateStore], Awaitable[None]]] = {}


def row(call: str, stored: str) -> Callable[[Callable[[StateStore], Awaitable[None]]], None]:
    def register(claim: Callable[[StateStore], Awaitable[None]]) -> None:
        ROWS[call, stored] = claim

    return register


def rows_of_the_table() -> list[tuple[str, str]]:
    lines = [line for line in (protocol.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return [(cell[0].strip("`"), cell[1]) for cell in cells]


@pytest.mark.parametrize("call_and_stored", rows_of_the_table(), ids=": ".join)
async def test_every_row_of_the_protocol(store: StateStore, call_and_stored: tuple[str, str]):
    await ROWS[call_and_stored](store)


def test_no_claim_is_without_its_row():
    assert set(ROWS) == set(rows_of_the_table())


@row("begin", "nothing of that ARN")
async def _(store: StateStore) -> None:
    assert await store.begin("orders", FIRST) is None
    stored = await store.load("orders", ARN)
    assert stored is not None
    assert (stored.identity, stored.shards) == (FIRST, {})


@row("begin", "the same identity")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("5"))
    assert await store.begin("orders", StreamIdentity(ARN, FIRST.created_at)) is None
    assert await shards(store) == {"shard-0": at("5")}


@row("begin", "another identity of that ARN")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("5"))
    forgotten = await store.begin("orders", SECOND)
    assert forgotten is not None
    assert (forgotten.identity, forgotten.shards) == (FIRST, {"shard-0": at("5")})
    assert await shards(store) == {}
    await store.save("orders", SECOND, at("1"))
    assert await shards(store) == {"shard-0": at("1")}, "the new stream's numbers start anew"


@row("save", "the same identity, no or an earlier position")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    for position in (TRIM_HORIZON, LATEST, Position.at_timestamp(0.1), Position.after("9"), Position.after("10")):
        await store.save("orders", FIRST, at(position))
        assert (await shards(store))["shard-0"].position == position
    full = at(SHARD_END, parents=("a", "b"), trouble='{"attempt":2}', window='{"state":{}}', updated_at=7.5)
    await store.save("orders", FIRST, full)
    assert await shards(store) == {"shard-0": full}
    await store.save("orders", FIRST, at(SHARD_END))
    assert await shards(store) == {"shard-0": at(SHARD_END)}, "trouble and window are over"


@row("save", "the same identity, a later position")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("10"))
    with pytest.raises(PositionMovedBackError, match=r"shard-0 back, to after 9.* after 10 already"):
        await store.save("orders", FIRST, at("9"))
    with pytest.raises(PositionMovedBackError):
        await store.save("orders", FIRST, at(TRIM_HORIZON))
    assert await shards(store) == {"shard-0": at("10")}
    await store.save("orders", FIRST, at(SHARD_END))
    with pytest.raises(PositionMovedBackError):
        await store.save("orders", FIRST, at("11"))
    assert await shards(store) == {"shard-0": at(SHARD_END)}


@row("save", "no or another identity")
async def _(store: StateStore) -> None:
    with pytest.raises(OtherStreamError, match="has not begun"):
        await store.save("orders", FIRST, at("5"))
    assert await store.load("orders", ARN) is None
    await store.begin("orders", SECOND)
    with pytest.raises(OtherStreamError, match=r"2026-01-01T00:00:00Z is not saved.* created at 2026-02-02T00:00:00Z"):
        await store.save("orders", FIRST, at("5"))
    assert await shards(store) == {}


@row("move", "the same identity")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    await store.save(
        "orders", FIRST, at("10", "a", trouble='{"attempt":2}', window="{}"), at(SHARD_END, "b"), at("3", "c")
    )
    if isinstance(store, RemoteStateStore):
        with pytest.raises(StateError, match=r"orders are not moved from one of several processes.*Stop the daemon"):
            await store.move("orders", FIRST, at("9", "a"))
        assert (await shards(store))["a"].position == Position.after("10")
        return
    moved = at("9", "a"), at(TRIM_HORIZON, "b"), at(LATEST, "new", parents=("b",))
    await store.move("orders", FIRST, *moved)
    assert await shards(store) == {**{each.shard_id: each for each in moved}, "c": at("3", "c")}
    await store.save("orders", FIRST, at("10", "a"))
    with pytest.raises(PositionMovedBackError):
        await store.save("orders", FIRST, at("9", "a"))


@row("move", "no or another identity")
async def _(store: StateStore) -> None:
    with pytest.raises(StateError):
        await store.move("orders", FIRST, at("5"))
    assert await store.load("orders", ARN) is None
    await store.begin("orders", SECOND)
    await store.save("orders", SECOND, at("5"))
    with pytest.raises(StateError) as caught:
        await store.move("orders", FIRST, at("4"))
    assert isinstance(caught.value, OtherStreamError) or isinstance(store, RemoteStateStore)
    assert await shards(store) == {"shard-0": at("5")}


@row("forget", "the same identity")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("1", "a"), at("2", "b"), at("3", "c"))
    await store.forget("orders", FIRST, ["a", "c", "unknown"])
    assert await shards(store) == {"b": at("2", "b")}
    await store.save("orders", FIRST, at(TRIM_HORIZON, "a"))
    assert set(await shards(store)) == {"a", "b"}, "a forgotten shard may begin again"


@row("forget", "no or another identity")
async def _(store: StateStore) -> None:
    with pytest.raises(OtherStreamError):
        await store.forget("orders", FIRST, ["shard-0"])
    await store.begin("orders", SECOND)
    await store.save("orders", SECOND, at("5"))
    with pytest.raises(OtherStreamError):
        await store.forget("orders", FIRST, ["shard-0"])
    assert await shards(store) == {"shard-0": at("5")}


@row("load", "nothing of that ARN")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    assert await store.load("orders", ARN + "-other") is None
    assert await store.load("payments", ARN) is None


@row("load", "an identity")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    await store.begin("payments", SECOND)
    await store.save("orders", FIRST, at("1", "a"), at("2", "b"))
    await store.save("payments", SECOND, at("3", "a"))
    stored = await store.load("orders", ARN)
    assert stored is not None
    assert (stored.identity, dict(stored.shards)) == (FIRST, {"a": at("1", "a"), "b": at("2", "b")})
    assert await shards(store, "payments") == {"a": at("3", "a")}, "mappings on one stream are independent"


@row("any", "the store is closed")
async def _(store: StateStore) -> None:
    await store.begin("orders", FIRST)
    await store.close()
    await store.close()
    for call in (
        lambda: store.load("orders", ARN),
        lambda: store.begin("orders", FIRST),
        lambda: store.save("orders", FIRST, at("5")),
        lambda: store.move("orders", FIRST, at("5")),
        lambda: store.forget("orders", FIRST, ["shard-0"]),
        store.mappings,
    ):
        with pytest.raises(StateError, match="is closed"):
            await call()


# --- beyond the table


async def test_a_save_of_several_shards_is_all_or_none(store: StateStore):
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("5", "parent"))
    with pytest.raises(PositionMovedBackError):
        await store.save("orders", FIRST, at(TRIM_HORIZON, "child", parents=("parent",)), at("4", "parent"))
    assert await shards(store) == {"parent": at("5", "parent")}
    both = at(TRIM_HORIZON, "child", parents=("parent",)), at(SHARD_END, "parent")
    await store.save("orders", FIRST, *both)
    assert await shards(store) == {each.shard_id: each for each in both}


async def test_a_save_that_repeats_a_shard_keeps_the_later_one_and_refuses_the_way_back(store: StateStore):
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("5"), at("6"))
    assert await shards(store) == {"shard-0": at("6")}
    with pytest.raises(PositionMovedBackError):
        await store.save("orders", FIRST, at("8"), at("7"))
    assert await shards(store) == {"shard-0": at("6")}


async def test_saves_of_one_tick_take_effect_in_their_order(store: StateStore):
    await store.begin("orders", FIRST)
    results = await asyncio.gather(
        store.save("orders", FIRST, at("1")),
        store.save("orders", FIRST, at("3")),
        store.save("orders", FIRST, at("2")),
        store.load("orders", ARN),
        store.save("orders", FIRST, at("4", trouble="{}")),
        return_exceptions=True,
    )
    assert isinstance(results[2], PositionMovedBackError)
    assert isinstance(results[3], protocol.Stored)
    assert results[3].shards == {"shard-0": at("3")}
    assert await shards(store) == {"shard-0": at("4", trouble="{}")}


async def test_what_was_loaded_does_not_change_afterwards(store: StateStore):
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("1"))
    before = await store.load("orders", ARN)
    await store.save("orders", FIRST, at("2"), at("1", "shard-1"))
    assert before is not None
    assert before.shards == {"shard-0": at("1")}


async def test_any_text_is_kept_as_it_is(store: StateStore):
    awkward = at("000042", "shärd\n'\"", trouble='"\ud800\x00 lone"', window="🪟" * 1000)
    await store.begin("mäpping's", FIRST)
    await store.save("mäpping's", FIRST, awkward)
    assert await shards(store, "mäpping's") == {"shärd\n'\"": awkward}


async def test_the_list_says_what_is_stored(store: StateStore):
    other = StreamIdentity(ARN + "-other", "x")
    assert await store.mappings() == []
    await store.begin("payments", FIRST)
    await store.begin("orders", other)
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, at("1", "a", updated_at=5.0), at(SHARD_END, "b", updated_at=4.0))
    assert await store.mappings() == [
        Summary(mapping="orders", identity=FIRST, shards=2, finished=1, updated_at=5.0),
        Summary(mapping="orders", identity=other, shards=0, finished=0, updated_at=None),
        Summary(mapping="payments", identity=FIRST, shards=0, finished=0, updated_at=None),
    ]


# --- only a file


async def test_progress_is_there_after_reopening(tmp_path: Path):
    path = tmp_path / "esmd.db"
    kept = [
        at(TRIM_HORIZON, "a"),
        at(Position.at_timestamp(1_700_000_000.123456), "b", parents=("x", "y")),
        at("00042", "c", trouble='{"lane":1}', window='{"state":null}'),
        at(SHARD_END, "d"),
    ]
    store = await SqliteStateStore.open(path)
    await store.begin("orders", FIRST)
    await store.save("orders", FIRST, *kept)
    await store.close()
    store = await SqliteStateStore.open(path)
    assert await shards(store) == {each.shard_id: each for each in kept}
    with pytest.raises(PositionMovedBackError):
        await store.save("orders", FIRST, at("41", "c"))
    await store.close()


async def test_the_folder_is_made_and_nobody_else_may_read_the_files(tmp_path: Path):
    path = tmp_path / "state" / "esmd" / "esmd.db"
    store = await SqliteStateStore.open(path)
    await store.begin("orders", FIRST)
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await store.close()
    assert files == dict.fromkeys(["esmd.db", "esmd.db-shm", "esmd.db-wal", "esmd.db.lock"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


# --- other processes

OWNER = """
import asyncio, subprocess, sys
from pathlib import Path
from esmd.state.position import Position
from esmd.state.protocol import ShardProgress, StreamIdentity
from esmd.state.sqlite import SqliteStateStore

async def main(path, saves):
    store = await SqliteStateStore.open(Path(path))
    identity = StreamIdentity("ARN", "1")
    await store.begin("orders", identity)
    heir = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print("ready", heir.pid, flush=True)
    number = 0
    while saves:
        number += 1
        async def save(shard):
            await store.save("orders", identity, ShardProgress(
                shard_id=shard, position=Position.after(str(number)), updated_at=1.0))
            print(shard, number, flush=True)
        await asyncio.gather(save("a"), save("b"))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main(sys.argv[1], sys.argv[2] == "saves"))
"""


class Owner:
    """A process that has the state file open, and a child of its own that outlives it."""

    def __init__(self, path: Path, what: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(path), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        word, heir = self.line()
        assert word == "ready"
        self.heir = int(heir)

    def line(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def kill(self) -> str:
        """Kill it with SIGKILL; return what it said until then and was not read."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL
        with self.process.stdin, self.process.stdout:
            return self.process.stdout.read()

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()
        os.kill(self.heir, signal.SIGKILL)


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[Callable[[str], Owner]]:
    started: list[Owner] = []

    def start(what: str) -> Owner:
        started.append(Owner(tmp_path / "esmd.db", what))
        return started[-1]

    yield start
    for owner in started:
        owner.end()


async def test_a_second_daemon_is_refused_until_the_first_is_dead(owners: Callable[[str], Owner], tmp_path: Path):
    path = tmp_path / "esmd.db"
    owner = owners("waits")
    with pytest.raises(StateInUseError, match=rf"esmd\.db is in use by process {owner.process.pid}\. ") as caught:
        await SqliteStateStore.open(path)
    assert caught.value.pid == owner.process.pid
    assert "stop the other one" in caught.value.hint
    owner.kill()
    store = await SqliteStateStore.open(path)  # although a child of the killed one still lives
    assert await store.load("orders", "ARN") is not None
    await store.close()


@pytest.mark.parametrize("after", [1, 2, 5, 20, 100])
async def test_what_was_reported_saved_survives_a_kill(owners: Callable[[str], Owner], tmp_path: Path, after: int):
    owner = owners("saves")
    reported = {}
    for _ in range(after):
        shard, number = owner.line()
        reported[shard] = int(number)
    # It has gone on meanwhile; a line that was cut off in the pipe is no report.
    rest = owner.kill()
    for line in rest.splitlines(keepends=True):
        if line.endswith("\n"):
            shard, number = line.split()
            reported[shard] = int(number)
    store = await SqliteStateStore.open(tmp_path / "esmd.db")
    kept = await shards(store, "orders", "ARN")
    await store.close()
    for shard, number in reported.items():
        # One more may have been committed and not reported.
        assert int(kept[shard].position.sequence_number or 0) in (number, number + 1)


# --- leases


async def test_leases_say_who_reads_what_and_are_forgotten_at_once(own_store: MemoryStateStore | SqliteStateStore):
    await own_store.begin("orders", FIRST)
    await own_store.assign("orders", FIRST, {"b": 1, "a": 0, "c": 0})
    await own_store.assign("orders", FIRST, {"b": 0, "c": None, "unknown": None})
    assert await own_store.leases() == [
        Lease(mapping="orders", stream_arn=ARN, shard_id=shard_id, process=0) for shard_id in "ab"
    ]
    await own_store.clear_leases()
    assert await own_store.leases() == []


async def test_leases_end_with_their_stream(own_store: MemoryStateStore | SqliteStateStore):
    await own_store.begin("orders", FIRST)
    await own_store.assign("orders", FIRST, {"a": 0})
    await own_store.begin("orders", SECOND)
    assert await own_store.leases() == []
    with pytest.raises(OtherStreamError):
        await own_store.assign("orders", FIRST, {"a": 0})
