"""The state file: transactions, trouble with the file, versions, and who may open it."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from esmd.state import schema
from esmd.state.errors import StateError, StateInUseError, explain
from esmd.state.position import Position
from esmd.state.protocol import ShardProgress, StreamIdentity
from esmd.state.schema import APPLICATION_ID, MIGRATIONS, check, upgrade
from esmd.state.sqlite import SqliteStateStore, default_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

STREAM = StreamIdentity("arn:aws:kinesis:us-east-1:000000000000:stream/orders", "1")


def at(number: int, shard_id: str = "shard-0", *, trouble: str | None = None) -> ShardProgress:
    return ShardProgress(shard_id=shard_id, position=Position.after(str(number)), trouble=trouble, updated_at=1.0)


async def kept(store: SqliteStateStore) -> dict[str, ShardProgress]:
    stored = await store.load("orders", STREAM.arn)
    assert stored is not None
    return dict(stored.shards)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "esmd.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStateStore]:
    store = await SqliteStateStore.open(path, lock_wait=0)
    await store.begin("orders", STREAM)
    yield store
    await store.close()


class Transactions:
    """Counts the calls of every transaction of a store; `hold` keeps the next one waiting until `let_go`."""

    def __init__(self, store: SqliteStateStore) -> None:
        self.sizes: list[int] = []
        self.begun = asyncio.Event()
        self._go = threading.Event()
        self._go.set()
        self._loop = asyncio.get_running_loop()
        self._transact = store._database.transact
        store._database.transact = self._counted

    def hold(self) -> None:
        self._go.clear()

    def let_go(self) -> None:
        self._go.set()

    def _counted(self, calls: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        self.sizes.append(len(calls))
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self._go.wait(30)
        return self._transact(calls)


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


async def on_connection(store: SqliteStateStore, statement: str) -> None:
    """Run a statement on the store's own connection, outside of any transaction."""
    connection = store._database._connection
    assert connection is not None
    await asyncio.get_running_loop().run_in_executor(store._thread, connection.execute, statement)


# --- transactions


async def test_the_saves_of_one_tick_are_one_transaction(store: SqliteStateStore):
    transactions = Transactions(store)
    await asyncio.gather(*(store.save("orders", STREAM, at(1, f"shard-{n}")) for n in range(500)))
    assert transactions.sizes == [500]
    assert len(await kept(store)) == 500


async def test_saves_gather_while_a_transaction_is_under_way(store: SqliteStateStore):
    transactions = Transactions(store)
    transactions.hold()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.save("orders", STREAM, at(1)))
        await transactions.begun.wait()
        for n in range(2, 50):
            tasks.create_task(store.save("orders", STREAM, at(n)))
            await asyncio.sleep(0)
        transactions.let_go()
    assert transactions.sizes == [1, 48]
    assert await kept(store) == {"shard-0": at(49)}


async def test_a_save_returns_only_when_it_is_committed(store: SqliteStateStore, path: Path):
    transactions = Transactions(store)
    transactions.hold()
    saving = asyncio.ensure_future(store.save("orders", STREAM, at(1)))
    await transactions.begun.wait()
    assert not saving.done()
    transactions.let_go()
    await saving
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT sequence_number FROM shards").fetchall() == [("1",)]


async def test_every_commit_is_synced(store: SqliteStateStore):
    connection = store._database._connection
    assert connection is not None

    def settings() -> list[Any]:
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await asyncio.get_running_loop().run_in_executor(store._thread, settings) == ["wal", 2]


async def test_a_cancelled_save_harms_nobody(store: SqliteStateStore):
    transactions = Transactions(store)
    transactions.hold()
    first, second = (asyncio.ensure_future(store.save("orders", STREAM, at(1, shard))) for shard in "ab")
    await transactions.begun.wait()
    first.cancel()
    transactions.let_go()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert set(await kept(store)) == {"a", "b"}


async def test_close_finishes_what_was_asked_for_and_frees_the_file(path: Path):
    store = await SqliteStateStore.open(path)
    await store.begin("orders", STREAM)
    saving = asyncio.ensure_future(store.save("orders", STREAM, at(1)))
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    await saving
    again = await SqliteStateStore.open(path)
    assert await kept(again) == {"shard-0": at(1)}
    await again.close()


# --- trouble while it is open


async def test_a_full_disk_fails_the_transaction_and_is_over_when_there_is_room(store: SqliteStateStore):
    await store.save("orders", STREAM, at(1))
    await on_connection(store, "PRAGMA max_page_count = 8")
    results = await asyncio.gather(
        store.save("orders", STREAM, at(2)),
        store.save("orders", STREAM, at(2, "large", trouble="x" * 200_000)),
        return_exceptions=True,
    )
    for result in results:
        assert isinstance(result, StateError)
        assert "disk is full" in result.message
        assert result.hint == "Make room on it."
    assert results[0] is not results[1]
    assert await kept(store) == {"shard-0": at(1)}
    await on_connection(store, "PRAGMA max_page_count = 1000000")
    await store.save("orders", STREAM, at(2))
    assert await kept(store) == {"shard-0": at(2)}


async def test_another_program_that_locks_the_tables_is_named_as_the_cause(store: SqliteStateStore, path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="locked by another program") as caught:
            await store.save("orders", STREAM, at(1))
        assert "sqlite3 shell" in caught.value.hint
        other.execute("ROLLBACK")
    await store.save("orders", STREAM, at(1))
    assert await kept(store) == {"shard-0": at(1)}


async def test_a_file_that_became_read_only_is_said_to_be(store: SqliteStateStore):
    await on_connection(store, "PRAGMA query_only = ON")
    with pytest.raises(StateError, match="cannot be written") as caught:
        await store.save("orders", STREAM, at(1))
    assert "the right to write" in caught.value.hint


async def test_a_row_that_makes_no_sense_is_said_to_be_damaged(store: SqliteStateStore):
    await store.save("orders", STREAM, at(1))
    await on_connection(store, "UPDATE shards SET sequence_number = NULL")
    with pytest.raises(StateError, match="damaged: the position of shard shard-0"):
        await store.load("orders", STREAM.arn)
    with pytest.raises(StateError, match="damaged"):
        await store.save("orders", STREAM, at(2))


async def test_a_defect_in_a_call_does_not_leave_a_transaction_open(store: SqliteStateStore):
    def defect(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM streams")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._do(defect)
    await store.save("orders", STREAM, at(1))
    assert await kept(store) == {"shard-0": at(1)}


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (OSError(errno.ENOSPC, ""), "the disk is full", "room"),
        (OSError(errno.EDQUOT, ""), "the disk is full", "room"),
        (OSError(errno.EACCES, ""), "cannot be written", "right to write"),
        (OSError(errno.EPERM, ""), "cannot be written", "right to write"),
        (OSError(errno.EROFS, ""), "cannot be written", "right to write"),
        (OSError(errno.ENOTDIR, ""), "cannot be used", "folder"),
        (OSError("odd"), r"cannot be used \(odd\)", "folder"),
        (sqlite3.OperationalError("odd"), r"cannot be used \(odd\)", "folder"),
    ],
)
def test_errors_of_the_system_are_explained(error: OSError | sqlite3.Error, message: str, hint: str):
    explained = explain(error, Path("/state/esmd.db"))
    with pytest.raises(StateError, match=message):
        raise explained
    assert "/state/esmd.db" in explained.message
    assert hint in explained.hint


# --- opening


@pytest.mark.parametrize("content", [b"hello " * 500, b"SQLite format 3\x00" + b"\xff" * 4096], ids=["text", "garbage"])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes):
    fill(path, content)
    with pytest.raises(StateError, match=r"is not a state file|is damaged"):
        await SqliteStateStore.open(path)
    assert content_of(path) == content


async def test_another_programs_database_is_refused_and_left_alone(path: Path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE albums (name TEXT)")
    content = content_of(path)
    with pytest.raises(StateError, match="is not a state file of esmd") as caught:
        await SqliteStateStore.open(path)
    assert "left as it is" in caught.value.hint
    assert content_of(path) == content


async def test_a_path_that_cannot_be_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot be used \((Not a directory|File exists)\)"):
        await SqliteStateStore.open(tmp_path / "file" / "esmd.db")
    with pytest.raises(StateError, match="cannot be used"):
        await SqliteStateStore.open(tmp_path)


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    return folder


async def test_a_folder_that_may_not_be_written_is_explained(closed_folder: Path):
    with pytest.raises(StateError, match="cannot be written"):
        await SqliteStateStore.open(closed_folder / "esmd.db")


async def test_a_second_store_is_refused_also_through_a_link(store: SqliteStateStore, path: Path, tmp_path: Path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(StateInUseError) as caught:
            await SqliteStateStore.open(name)
        assert caught.value.pid == os.getpid()
    await store.save("orders", STREAM, at(1))


async def test_a_holder_that_has_not_named_itself_is_another_process(store: SqliteStateStore, path: Path):
    path.with_name("esmd.db.lock").write_text("")
    with pytest.raises(StateInUseError, match="in use by another process") as caught:
        await SqliteStateStore.open(path)
    assert caught.value.pid is None


async def test_a_failed_open_leaves_the_file_to_others(path: Path):
    fill(path, b"hello " * 500)
    for _ in range(2):
        with pytest.raises(StateError, match="is not a state file"):
            await SqliteStateStore.open(path)
    fill(path, b"")
    await (await SqliteStateStore.open(path)).close()


async def test_a_cancelled_open_leaves_the_file_to_others(path: Path, monkeypatch: pytest.MonkeyPatch):
    begun, go = threading.Event(), threading.Event()
    original = SqliteStateStore.open.__globals__["Database"].open

    def slow(database: Any) -> None:
        begun.set()
        assert go.wait(30)
        original(database)

    monkeypatch.setattr("esmd.state.sqlite.Database.open", slow)
    opening = asyncio.ensure_future(SqliteStateStore.open(path))
    await asyncio.to_thread(begun.wait)
    opening.cancel()
    await asyncio.sleep(0)
    assert not opening.done(), "whoever opens the file next would find it in use"
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    monkeypatch.undo()
    await (await SqliteStateStore.open(path)).close()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, "/state/esmd/esmd.db"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/me"}, "/home/me/.local/state/esmd/esmd.db"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/esmd/esmd.db"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/esmd/esmd.db"),
    ],
)
def test_the_default_path(environ: dict[str, str], expected: str):
    assert default_path(environ) == Path(expected)


def test_the_default_path_without_any_variable_is_in_the_users_home():
    assert default_path({}) == Path.home() / ".local/state/esmd/esmd.db"


# --- versions


def versions(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        return tuple(connection.execute(f"PRAGMA {n}").fetchone()[0] for n in ("application_id", "user_version"))


async def test_a_new_file_has_our_mark_and_the_newest_version(store: SqliteStateStore, path: Path):
    assert versions(path) == (APPLICATION_ID, NEWEST)


NEWEST = len(MIGRATIONS)
FOREIGN = "is not a state file of esmd"
NEWER = f"has version {NEWEST + 1}, this esmd knows versions up to {NEWEST}. A newer esmd has written it"
FILES = {
    ("0", "0", "none"): (0, 0, False, None),
    ("ours", "up to ours", "any"): (APPLICATION_ID, NEWEST, True, None),
    ("ours", "above ours", "any"): (APPLICATION_ID, NEWEST + 1, True, NEWER),
    ("0", "0", "some"): (0, 0, True, FOREIGN),
    ("another", "any", "any"): (7, 0, False, FOREIGN),
    ("0", "above 0", "any"): (0, NEWEST, False, FOREIGN),
}


def rows_of_the_table() -> list[tuple[str, ...]]:
    lines = [line for line in (schema.__doc__ or "").splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")[:3]) for line in lines[1:]]


@pytest.mark.parametrize("row", rows_of_the_table(), ids=", ".join)
def test_every_row_of_the_table_of_files(path: Path, row: tuple[str, str, str]):
    application, version, tables, refusal = FILES[row]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if tables:
            upgrade(connection)
        connection.execute(f"PRAGMA application_id = {application}")
        connection.execute(f"PRAGMA user_version = {version}")
        if refusal is None:
            check(connection, path)
            upgrade(connection)
            assert connection.execute("SELECT count(*) FROM shards").fetchone() == (0,)
        else:
            with pytest.raises(StateError, match=refusal):
                check(connection, path)
    assert versions(path) == ((APPLICATION_ID, NEWEST) if refusal is None else (application, version))


def test_no_file_is_without_its_row():
    assert set(FILES) == set(rows_of_the_table())


async def test_a_newer_file_is_refused_at_opening(path: Path):
    await (await SqliteStateStore.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
    with pytest.raises(StateError, match=NEWER):
        await SqliteStateStore.open(path)
    assert versions(path) == (APPLICATION_ID, NEWEST + 1)


async def test_an_older_file_is_brought_up_to_date_with_its_progress(path: Path):
    store = await SqliteStateStore.open(path)
    await store.begin("orders", STREAM)
    await store.save("orders", STREAM, at(7))
    await store.close()
    newer = (*MIGRATIONS, ("ALTER TABLE shards ADD COLUMN lane INTEGER NOT NULL DEFAULT 3",))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        check(connection, path, newest=len(newer))
        upgrade(connection, newer)
        upgrade(connection, newer)
        assert connection.execute("SELECT sequence_number, lane FROM shards").fetchall() == [("7", 3)]
    assert versions(path) == (APPLICATION_ID, len(newer))


def test_a_step_that_fails_leaves_the_version_before_it(path: Path):
    broken = (*MIGRATIONS, ("ALTER TABLE shards ADD COLUMN lane INTEGER", "no SQL"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="syntax error"):
            upgrade(connection, broken)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(shards)")]
    assert "lane" not in columns
    assert versions(path) == (APPLICATION_ID, NEWEST)
