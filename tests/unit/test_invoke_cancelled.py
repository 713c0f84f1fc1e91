"""What the walk of `test_cancellation.py` found in invokers, a test for each."""

from __future__ import annotations

import asyncio

import pytest

from support.environments import Stage, call, later
from support.walked_invoke import SCENARIOS
from support.walker import Walk, run


@pytest.mark.looptime
async def test_an_environment_whose_loading_is_given_up_before_it_began_is_gone() -> None:
    # It was loading for ever: its process stayed, and so did its place; with a concurrency of 1 nothing ever ran again.
    stage = Stage()
    pool = stage.pool()
    calling = later(pool)
    asyncio.get_running_loop().call_soon(calling.cancel)
    await asyncio.wait([calling])
    assert stage.alive == []
    assert pool.environments == 0
    async with asyncio.timeout(10):
        assert await call(pool)
    await pool.close()


@pytest.mark.looptime
async def test_an_environment_whose_loading_is_given_up_twice_keeps_its_place_until_it_is_gone() -> None:
    # The second one who gave up cut off the wait for its end: for a moment there was a process more than there may be.
    stage = Stage()
    stage.kill_seconds = 2.0
    pool = stage.pool(concurrency=2)
    for _ in range(2):
        callings = [later(pool), later(pool)]
        await asyncio.sleep(0.5)
        for calling in callings:
            calling.cancel()
            await asyncio.sleep(0.1)
    async with asyncio.timeout(10):
        assert await call(pool)
    assert stage.most_alive == 2
    await pool.close()
    assert stage.alive == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("scenario", "function"),
    [
        ("pool", "EnvironmentPool._load"),  # whoever waited for that environment did so for ever
        ("pool whose environments do not leave", "see_off"),  # it stayed, and kept its place
        ("inline, late", "InlineInvoker._end_late"),  # the invocation had no outcome, ever
        ("inline, late and obstinate", "InlineInvoker._end_late"),
    ],
)
def test_an_invocation_comes_to_an_outcome_whatever_is_cut_off(scenario: str, function: str) -> None:
    walked = SCENARIOS[scenario]
    look = run(walked, Walk())
    hits = [n for n, places in enumerate(look.suspensions, 1) if function in {place.function for place in places}]
    assert hits
    for at in hits:
        assert run(walked, Walk(at=at, how="cut")).hit is not None
