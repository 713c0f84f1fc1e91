"""What the walk of `test_cancellation.py` found in the state file, a test for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

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
