"""A function that routes to versions: shares, places, and what its outcomes say."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from esmd.invoke.protocol import StartFailed
from esmd.invoke.routing import RoutedInvoker
from esmd.mappings.outcomes import FunctionError, Success, Throttled, Unreachable, version_of

from support.functions import function_of
from support.mapping_lab import ScriptedInvoker

pytestmark = pytest.mark.looptime

EVENT = b'{"Records": []}'


def version(name: str, *, limit: int = 10, outcome=None, duration: float = 1.0):
    return function_of(ScriptedInvoker(lambda _: outcome, limit=limit, duration=duration), name=name)


def routed(shares, *, seed: int = 7):
    return function_of(RoutedInvoker(shares, chance=random.Random(seed)), name="orders")


async def test_every_version_gets_its_share():
    function = routed({version("blue", duration=0): 90, version("green", duration=0): 10, version("old"): 0})
    drawn = Counter(
        [version_of(await function.invoke(EVENT, request_id=str(number))) for number in range(2000)],
    )
    assert set(drawn) == {"blue", "green"}
    assert 150 < drawn["green"] < 250


@pytest.mark.parametrize(
    ("outcome", "named"),
    [
        (Success(b"null"), Success(b"null", "blue")),
        (Success(b"null", "3"), Success(b"null", "blue:3")),
        (FunctionError("exception", "ValueError", "no"), FunctionError("exception", "ValueError", "no", (), "blue")),
        (Unreachable("gone"), Unreachable("gone")),
        (Throttled("CallerRateLimitExceeded"), Throttled("CallerRateLimitExceeded")),
    ],
)
async def test_an_outcome_names_the_version_that_ran(outcome, named):
    function = routed({version("blue", outcome=outcome): 100})
    assert await function.invoke(EVENT, request_id="a") == named


async def test_a_place_is_offered_only_while_every_version_has_one():
    blue, green = version("blue", limit=2), version("green", limit=3)
    function = routed({blue: 50, green: 50})
    assert (function.limit, function.room) == (5, 2)
    elsewhere = asyncio.create_task(blue.invoke(EVENT, request_id="elsewhere"))
    await asyncio.sleep(0)
    assert function.room == 1
    also = asyncio.create_task(blue.invoke(EVENT, request_id="also"))
    await asyncio.sleep(0)
    assert function.room == 0
    assert await function.invoke(EVENT, request_id="here") == Throttled()
    await asyncio.gather(elsewhere, also)
    assert function.room == 2


async def test_a_version_without_a_share_costs_no_places():
    function = routed({version("blue", limit=2): 100, version("old", limit=0): 0})
    assert function.room == 2


async def test_who_waits_is_woken_when_the_full_version_has_a_place_again():
    blue, green = version("blue", limit=1, duration=5), version("green")
    function = routed({blue: 1, green: 99})
    busy = asyncio.create_task(blue.invoke(EVENT, request_id="elsewhere"))
    await asyncio.sleep(0)
    started = asyncio.get_running_loop().time()
    assert await function.take_place(100)
    assert asyncio.get_running_loop().time() - started == pytest.approx(5)
    assert await busy
    await function.invoke_in_place(EVENT, request_id="waited")
    assert function.busy == 0


async def test_all_versions_are_started_and_one_that_cannot_run_keeps_it_from_routing():
    class Broken(ScriptedInvoker):
        async def start(self) -> None:
            raise StartFailed("Runtime.ImportModuleError", "no green")

    started = []

    class Fine(ScriptedInvoker):
        async def start(self) -> None:
            started.append("blue")

    blue, green = function_of(Fine(lambda _: None), name="blue"), function_of(Broken(lambda _: None), name="green")
    function = routed({green: 50, blue: 50})
    with pytest.raises(StartFailed, match="no green"):
        await function.start()
    assert started == ["blue"]
