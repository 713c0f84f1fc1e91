"""What the walk of `test_cancellation.py` found in the control of mappings and in the daemon, a test for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from esmd.control.protocol import Reloaded
from esmd.control.slot import _first_of
from esmd.control.triggers import watched

from support.control_lab import ControlLab, config, mapping
from support.mapping_lab import Collector
from support.walked_control import ControlScenario, SlowStore
from support.walker import Walk, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("function", "without_the_care"),
    [
        ("Slot._watch", "the mapping was enabling for ever: nobody who waited for it, not even the daemon, went on"),
        ("Slot._work", "the mapping ran no more, and was said to be enabled"),
        ("Slot._rest", "the mapping never ran again"),
        ("Roster._forget", "a mapping that was deleted stayed, and who waited for its end did for ever"),
        ("Retired._close", "the function's processes stayed, and the mappings that waited for its end never began"),
        ("Daemon._report", "no statistics any more"),
        ("Daemon._become_ready", "tasks were left"),
        ("MappingSet.create", "it was kept, and came with the next start, but whoever asked for it had an error"),
        ("MappingSet.delete", "it was kept no more, and ran on"),
    ],
)
def test_what_is_cut_off_is_made_good(function: str, without_the_care: str) -> None:
    scenario = ControlScenario()
    look = run(scenario, Walk())
    at = next(n for n, places in enumerate(look.suspensions, 1) if function in {place.function for place in places})
    assert run(scenario, Walk(at=at, how="cut")).hit is not None, without_the_care


@pytest.mark.parametrize("function", ["Daemon._stop_when_idle"])
def test_a_daemon_whose_look_for_idleness_is_cut_off_looks_again(function: str) -> None:
    # It went on for ever, with nothing to do.
    scenario = ControlScenario(idle=20.0, hasty=True)
    look = run(scenario, Walk())
    at = next(n for n, places in enumerate(look.suspensions, 1) if function in {place.function for place in places})
    assert run(scenario, Walk(at=at, how="cut")).hit is not None


@pytest.mark.parametrize("function", ["Retired.close", "MappingSet.close"])
def test_a_close_that_is_cut_off_closes_all_the_same(function: str) -> None:
    # Functions that nobody used any more were left open, with their processes.
    scenario = ControlScenario(ends_changing=True, grace=1.0)
    look = run(scenario, Walk())
    at = next(n for n, places in enumerate(look.suspensions, 1) if function in {place.function for place in places})
    assert run(scenario, Walk(at=at, how="cut")).hit is not None


@pytest.mark.looptime
async def test_a_change_that_is_asked_for_while_the_daemon_is_cancelled_begins_nothing() -> None:
    # The mapping began after all others had been ended, and nobody ended it.
    lab = ControlLab(config(mapping("a")), store=SlowStore())
    await lab.begin()
    made = mapping("api", queue="other")
    creating = asyncio.create_task(lab.set.create(made, uuid=UUID(int=7), tags={}))
    await asyncio.sleep(0.05)
    lab.slots.halt()
    entry = await creating
    await asyncio.gather(*lab.slots.tasks, return_exceptions=True)
    assert lab.runs == ["a"]
    assert entry.name in lab.states()
    await lab.set.close()


async def test_a_wait_for_the_first_of_events_is_not_over_when_a_task_of_it_is_cancelled() -> None:
    # A mapping began anew while what it had run before still drained.
    one, other = asyncio.Event(), asyncio.Event()
    waiting = asyncio.create_task(_first_of(one, other))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {waiting, asyncio.current_task()}:
        task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    other.set()
    await waiting


@pytest.mark.looptime
async def test_a_change_of_the_files_is_loaded_though_the_watch_is_cut_off(tmp_path: Path) -> None:
    # Nobody watched the files any more, and nobody said so.
    file = tmp_path / "esmd.yaml"
    loaded: list[str] = []

    async def changes(_: object) -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(1)
            yield None

    async def reload() -> Reloaded:
        if not loaded:
            loaded.append("cut off")
            watching = asyncio.current_task()
            assert watching is not None
            watching.cancel()
            await asyncio.sleep(0)
        loaded.append(file.read_text())
        return Reloaded(applied=True)

    async with watched([file], changes, reload, Collector()):
        for text in ("a", "ab"):
            file.write_text(text)
            await asyncio.sleep(3)
    assert loaded == ["cut off", "a", "ab"]
