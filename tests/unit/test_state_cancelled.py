"""What the walk of `test_cancellation.py` found in the state file, a test for each."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from esmd.state.database import Database
from esmd.state.lazy import LazyStateStore
from esmd.state.sqlite import SqliteStateStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.mark.parametrize("times", [1, 2])
async def test_a_file_whose_opening_was_cancelled_can_be_opened_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    # The thread was still opening it: "the state file is in use by process ...", which was this one.
    begun, go_on = threading.Event(), threading.Event()
    open_it = Database.open

    def slowly(database: Database) -> None:
        open_it(database)
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr(Database, "open", slowly)
    opening = asyncio.create_task(SqliteStateStore.open(tmp_path / "esmd.db"))
    while not begun.is_set():
        await asyncio.sleep(0)
    for _ in range(times):
        opening.cancel()
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await opening
    store = await SqliteStateStore.open(tmp_path / "esmd.db")
    await store.close()


async def test_a_store_whose_closing_was_cancelled_closes_all_the_same(tmp_path: Path) -> None:
    # Its file stayed open for as long as the process lived, and every later call of `close` raised CancelledError.
    store = await SqliteStateStore.open(tmp_path / "esmd.db")
    saving = asyncio.ensure_future(store.mappings())
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task(), saving}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    # Nor may whoever opens it next, once that has ended, find it in use, by this process.
    again = await SqliteStateStore.open(tmp_path / "esmd.db")
    await again.close()
    await store.close()
    await saving


@pytest.mark.parametrize("everything", [False, True])
async def test_a_look_that_is_cancelled_while_it_gives_the_file_back_does_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    # Whoever opened it next found it in use, by this process.
    await (await SqliteStateStore.open(tmp_path / "esmd.db")).close()
    store = LazyStateStore(tmp_path / "esmd.db")
    closing, go_on = threading.Event(), threading.Event()
    close = Database.close

    def slowly(database: Database) -> None:
        closing.set()
        assert go_on.wait(10)
        close(database)

    monkeypatch.setattr(Database, "close", slowly)
    looking = asyncio.create_task(store.look())
    while not closing.is_set():
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()} if everything else [looking]:
        task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, go_on.set)
    await asyncio.wait([looking])
    again = await SqliteStateStore.open(tmp_path / "esmd.db")
    await again.close()
    await store.close()


async def test_a_file_that_is_looked_into_twice_is_closed_under_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The later look found the store closed by the earlier one.
    await (await SqliteStateStore.open(tmp_path / "esmd.db")).close()
    store = LazyStateStore(tmp_path / "esmd.db")
    asked = asyncio.Event()
    pauses = SqliteStateStore.pauses

    async def announced(opened: SqliteStateStore) -> Mapping[str, float]:
        asked.set()
        return await pauses(opened)

    monkeypatch.setattr(SqliteStateStore, "pauses", announced)
    earlier = asyncio.create_task(store.look())
    await asked.wait()
    assert await store.look() is None
    assert await earlier is None
    await store.close()
