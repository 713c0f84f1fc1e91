"""Hundreds of kills. `ESMD_TEST_KILLS` says how many, `ESMD_TEST_KILL_SECONDS` when to end at the latest."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from support.stream_kills import assert_nothing_lost, kill_again_and_again
from support.stream_world import World

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.server]

KILLS = int(os.environ.get("ESMD_TEST_KILLS", "500"))
SECONDS = float(os.environ.get("ESMD_TEST_KILL_SECONDS", "1800"))


def test_many_kills_while_somebody_writes_lose_and_disorder_nothing(
    ministack: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with World(kinesis=ministack, others=ministack) as world:
        tally, rounds, kills = kill_again_and_again(world, tmp_path, kills=KILLS, seed=500, pause=0.2, seconds=SECONDS)
    with capsys.disabled():
        sys.stdout.write(f"\n{kills} kills, {rounds} rounds of 7 records, {tally.duplicates} records came again\n")
    assert kills
    assert_nothing_lost(tally, rounds, kills)
