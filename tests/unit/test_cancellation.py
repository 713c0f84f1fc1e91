"""Whatever is cancelled wherever it waits: nothing is lost, nothing hangs, nothing is left.

Each scenario is run once for each place at which it waits as none before it did, and cancelled there. `make test-slow`
does it at every suspension (`tests/slow/test_cancellation_everywhere.py`).
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from support.awaits import at, awaits_of
from support.unwalked import ROOMS, UNWALKED
from support.walked import QUICK, SCENARIOS
from support.walker import How, Tour

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def tour() -> Iterator[Tour]:
    """One for all tests here: what one has done, another need not do again."""
    tour = Tour(SCENARIOS)
    _keep()
    tour.chosen()
    _keep()  # by now all is loaded that any run loads
    yield tour
    gc.unfreeze()
    _keep()  # what there was before this; the runs' own goes


def _keep() -> None:
    """Have each run collect its own garbage, and not look through what is there before it."""
    gc.collect()
    gc.freeze()


@pytest.mark.parametrize(("name", "how"), QUICK)
def test_nothing_is_lost_wherever_it_is_cancelled(name: str, how: How, tour: Tour) -> None:
    tour.sampled(name, how)


def test_every_await_is_cancelled_by_a_scenario(tour: Tour) -> None:
    places = {place for name in SCENARIOS for place in tour.sampled(name, "cut")}
    awaits = awaits_of(ROOMS)
    missed = {each.name for each in set(awaits) - at(places, awaits)}
    assert sorted(set(UNWALKED) - {each.name for each in awaits}) == [], "these are gone"
    assert sorted(missed - set(UNWALKED)) == [], (
        "walk it, or say in `support.unwalked` what makes that nothing can wait there"
    )
    assert sorted(set(UNWALKED) - missed) == [], "these are walked: strike them from `support.unwalked`"
