"""What the walk of `test_cancellation.py` found in the state file, a test for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from esmd.state.lazy import LazyStateStore
from esmd.state.sqlite import SqliteStateStore

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_file_whose_opening_was_cancelled_can_be_opened_at_once(tmp_path: Path) -> None:
    # The thread was still opening it: "the state file is in use by process ...", which was this one.
    opening = asyncio.create_task(SqliteStateStore.open(tmp_path / "esmd.db"))
    await asyncio.sleep(0)
    opening.cancel()
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
    await store.close()
    await saving
    again = await SqliteStateStore.open(tmp_path / "esmd.db")
    await again.close()


async def test_a_look_that_is_cancelled_while_it_gives_the_file_back_does_so(tmp_path: Path) -> None:
    # Whoever opened it next found it in use, by this process.
    await (await SqliteStateStore.open(tmp_path / "esmd.db")).close()
    store = LazyStateStore(tmp_path / "esmd.db")
    looking = asyncio.create_task(store.look())
    while not store.is_open:
        await asyncio.sleep(0)
    while store.is_open and not looking.done():
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])
    again = await SqliteStateStore.open(tmp_path / "esmd.db")
    await again.close()
    await store.close()
