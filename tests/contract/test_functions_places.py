"""What every form of function promises about many invocations at once."""

from __future__ import annotations

import asyncio
import json
from itertools import accumulate

import pytest

from esmd.mappings.outcomes import Success, Throttled
from esmd.observe.events import EnvironmentStarted, FunctionInit, FunctionThrottled, HandlerCrashed

from support.forms import needs
from support.functions import function_of
from support.invocations import answer, call, until

CROWDS = [
    pytest.param(200, 10, id="200-at-10"),
    pytest.param(1000, 50, id="1000-at-50", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("crowd", "places"), CROWDS)
async def test_invocations_of_a_crowd_each_run_once_and_get_their_own_answer(
    crowd, places, form, make, said_there, tmp_path
):
    """As mappings do it: a place is waited for, then used. The handlers themselves write down who came and who left."""
    journal, door = tmp_path / "journal", tmp_path / "door"
    journal.touch()
    invoker = await make("answering:crowd", concurrency=places, timeout=60.0)
    function = function_of(invoker)

    async def one(number):
        assert await function.take_place(60.0)
        event = json.dumps({"number": number, "journal": str(journal), "door": str(door)}).encode()
        return await function.invoke_in_place(event, request_id=f"request-{number}")

    invocations = [asyncio.create_task(one(number)) for number in range(crowd)]
    await until(lambda: journal.read_text().count("+") >= places, seconds=60.0)
    assert (function.busy, function.room) == (places, 0)
    assert await function.invoke(b"{}", request_id="one too many") == Throttled()
    door.touch()
    outcomes = await asyncio.gather(*invocations)

    assert [outcome for outcome in outcomes if not isinstance(outcome, Success)] == []
    answers = [json.loads(outcome.payload) for outcome in outcomes]
    assert [given["number"] for given in answers] == list(range(crowd))
    if form.has("our id"):
        assert [given["request_id"] for given in answers] == [f"request-{number}" for number in range(crowd)]
    assert len({given["request_id"] for given in answers}) == crowd
    lines = journal.read_text().splitlines()
    assert sorted(int(line[1:]) for line in lines if line[0] == "+") == list(range(crowd))
    assert max(accumulate(1 if line[0] == "+" else -1 for line in lines)) == places
    assert (function.busy, invoker.running) == (0, 0)
    assert len(said_there.of(EnvironmentStarted)) <= places
    assert said_there.of(HandlerCrashed) == []


async def test_a_burst_beyond_the_limit_is_throttled_at_once_and_runs_nothing(make, said, tmp_path):
    journal, door = tmp_path / "journal", tmp_path / "door"
    journal.touch()
    function = function_of(await make("answering:crowd", concurrency=2), telemetry=said)

    async def one(number):
        event = json.dumps({"number": number, "journal": str(journal), "door": str(door)}).encode()
        return await function.invoke(event, request_id=f"request-{number}")

    running = [asyncio.create_task(one(number)) for number in range(2)]
    await asyncio.sleep(0)
    assert [await one(number) for number in range(2, 12)] == [Throttled()] * 10
    assert [event.request_id for event in said.of(FunctionThrottled)] == [f"request-{n}" for n in range(2, 12)]
    assert {event.limit for event in said.of(FunctionThrottled)} == {2}
    door.touch()
    assert all(isinstance(outcome, Success) for outcome in await asyncio.gather(*running))
    assert sorted(journal.read_text().split()) == ["+0", "+1", "-0", "-1"]


async def test_above_its_concurrency_an_invoker_is_throttled_itself(form, make):
    handler = "answering:nap" if not form.has("async") else "answering:nap_async"
    invoker = await make(handler, concurrency=2)
    running = [asyncio.create_task(call(invoker, 0.3)) for _ in range(2)]
    await asyncio.sleep(0)
    assert (invoker.running, invoker.limit) == (2, 2)
    assert await call(invoker, 0) == Throttled()
    assert await asyncio.gather(*running) == [Success(b'"awake"')] * 2
    assert invoker.running == 0


async def test_a_concurrency_of_zero_stops_a_function(make, said_there):
    invoker = await make("answering:echo", concurrency=0)
    await invoker.start()
    assert await call(invoker) == Throttled()
    assert said_there.events == []


async def test_200_invocations_at_a_concurrency_of_8_need_no_more_than_8_environments(make, said_there):
    invoker = await make("answering:echo", concurrency=8)
    places = asyncio.Semaphore(8)

    async def one(number):
        async with places:
            return await answer(invoker, {"number": number})

    assert await asyncio.gather(*map(one, range(200))) == [{"number": number} for number in range(200)]
    assert 1 <= len(said_there.of(FunctionInit)) <= 8


@needs("processes", "at hand")
async def test_the_environment_used_last_is_used_first(make):
    invoker = await make("answering:nap_or_count", concurrency=2)
    for _ in range(20):  # where one is back before the other has started, that has started by the next time
        one, other = await asyncio.gather(answer(invoker, 0.2), answer(invoker, 0.2))
        if one["pid"] != other["pid"]:
            break
    assert one["pid"] != other["pid"]
    pids = {(await answer(invoker, 0))["pid"] for _ in range(3)}
    assert len(pids) == 1
