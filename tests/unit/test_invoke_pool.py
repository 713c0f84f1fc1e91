"""The pool of environments: how many there are, which is used, when they come and go. No process is started."""

from __future__ import annotations

import asyncio

import pytest

from esmd.invoke import attempts
from esmd.invoke.protocol import MAX_REQUEST_BYTES, StartFailed
from esmd.mappings.outcomes import Rejected, Success, Throttled, Unreachable
from esmd.observe.events import (
    EnvironmentStarted,
    FunctionInit,
    FunctionThrottled,
)

from support.environments import BROKEN, Stage, call, later, now

pytestmark = pytest.mark.looptime

CLOSING = Unreachable("Function orders is shutting down.")


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(
        attempts, "delay", lambda failures, *, initial, maximum: min(maximum, initial * 2 ** (failures - 1))
    )
    return Stage()


# --- on demand


async def test_start_loads_one_and_the_first_invocation_finds_it_warm(stage):
    pool = stage.pool(concurrency=4)
    await pool.start()
    await pool.start()
    assert now() == 1
    assert await call(pool) == Success(b"1")
    assert now() == 1
    assert [each.initialization_type for each in stage.environments] == ["on-demand"]
    (started,) = stage.telemetry.of(EnvironmentStarted)
    assert (started.pid, started.initialization_type, started.environments) == (1, "on-demand", 1)
    (init,) = stage.telemetry.of(FunctionInit)
    assert (init.pid, init.duration_ms, init.after_failures) == (1, 1000.0, None)
    await pool.close()


async def test_environments_grow_with_the_invocations_up_to_the_concurrency(stage):
    pool = stage.pool(concurrency=3)
    running = [later(pool, 5) for _ in range(3)]
    await asyncio.sleep(0)
    assert pool.running == 3
    assert await call(pool) == Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    assert sorted(outcome.payload for outcome in await asyncio.gather(*running)) == [b"1", b"2", b"3"]
    assert pool.running == 0
    assert stage.telemetry.of(FunctionThrottled) == []  # that is the function's to say
    await pool.close()


async def test_an_invocation_runs_in_whichever_environment_is_free_first(stage):
    pool = stage.pool(concurrency=2)
    await pool.start()
    first = later(pool, 0.3)
    await asyncio.sleep(0)
    assert await call(pool) == Success(b"1")
    assert now() == 1.3  # without waiting for the second to load
    await first
    await asyncio.sleep(1)
    assert stage.alive == [1, 2]
    await pool.close()


async def test_an_invocation_waits_for_the_environment_that_start_is_loading(stage):
    pool = stage.pool(concurrency=1)
    start = asyncio.create_task(pool.start())
    await asyncio.sleep(0)
    assert pool.running == 0
    assert await call(pool) == Success(b"1")
    await start
    assert len(stage.environments) == 1
    await pool.close()


async def test_a_concurrency_of_zero_starts_nothing(stage):
    pool = stage.pool(concurrency=0, provisioned_concurrency=2)
    await pool.start()
    assert await call(pool) == Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    pool.reload(["app.py"])
    await asyncio.sleep(10)
    assert stage.launched_at == []
    await pool.close()


async def test_an_event_that_is_too_large_starts_nothing(stage):
    pool = stage.pool()
    assert isinstance(await pool.invoke(b" " * (MAX_REQUEST_BYTES + 1), request_id="1"), Rejected)
    assert stage.launched_at == []
    await pool.close()


# --- idle


async def test_the_environment_used_last_is_used_first_and_the_others_are_retired(stage):
    pool = stage.pool(concurrency=3, idle_timeout=60.0)
    await asyncio.gather(*(call(pool, 1) for _ in range(3)))
    assert stage.alive == [1, 2, 3]
    used = set()
    for _ in range(7):
        used.add((await call(pool)).payload)
        await asyncio.sleep(10)
    assert len(used) == 1
    assert [str(pid).encode() for pid in stage.alive] == list(used)
    assert {each.cause for each in stage.environments if each.ended.done()} == {"idle"}
    await pool.close()


async def test_the_last_environment_is_retired_exactly_when_its_time_is_over(stage):
    pool = stage.pool(idle_timeout=60.0)
    await pool.start()
    await asyncio.sleep(30)
    await call(pool)
    assert now() == 31
    await asyncio.sleep(59.9)
    assert stage.alive == [1]
    await asyncio.sleep(0.3)
    assert stage.alive == []
    assert await call(pool) == Success(b"2")
    await pool.close()


async def test_one_that_is_leaving_still_counts_as_a_process(stage):
    stage.leave_seconds = 0.4
    pool = stage.pool(concurrency=1, idle_timeout=60.0)
    await pool.start()
    await asyncio.sleep(60.1)
    assert stage.environments[0].cause == "idle"
    outcome = later(pool)
    await asyncio.sleep(0.2)
    assert stage.alive == [1]
    assert await outcome == Success(b"2")
    assert stage.launched_at[1] == pytest.approx(61.4, abs=0.01)
    await pool.close()


@pytest.mark.parametrize(("seconds", "terminated"), [(0.4, []), (0.9, [1]), (100.0, [1])])
async def test_one_that_does_not_leave_is_told_and_then_killed(stage, seconds, terminated):
    stage.leave_seconds = seconds
    pool = stage.pool(idle_timeout=60.0)
    await pool.start()
    await asyncio.sleep(61.1)
    assert stage.terminated == terminated
    assert stage.alive == []
    await pool.close()


# --- provisioned


async def test_provisioned_environments_load_at_the_start_and_are_never_retired(stage):
    pool = stage.pool(concurrency=5, provisioned_concurrency=2, idle_timeout=60.0)
    await pool.start()
    assert stage.launched_at == [0, 0]
    assert [each.initialization_type for each in stage.environments] == ["provisioned-concurrency"] * 2
    await asyncio.gather(*(call(pool, 1) for _ in range(4)))
    assert [each.initialization_type for each in stage.environments[2:]] == ["on-demand"] * 2
    await asyncio.sleep(200)
    assert stage.alive == [1, 2]
    await pool.close()


async def test_provisioned_environments_are_used_before_the_others(stage):
    pool = stage.pool(concurrency=3, provisioned_concurrency=1)
    await pool.start()
    await asyncio.gather(*(call(pool, 1) for _ in range(3)))
    assert {(await call(pool)).payload for _ in range(4)} == {b"1"}
    await pool.close()


async def test_start_returns_with_the_first_provisioned_environment(stage):
    pool = stage.pool(concurrency=5, provisioned_concurrency=2)
    start = asyncio.create_task(pool.start())
    await asyncio.sleep(0.5)
    stage.environments[1].end()  # one is lost while it loads: the other is enough
    await start
    assert now() == 1
    await asyncio.sleep(5)
    assert len(stage.alive) == 2
    await pool.close()


async def test_a_lost_provisioned_environment_is_replaced_at_once(stage):
    pool = stage.pool(concurrency=5, provisioned_concurrency=2)
    await pool.start()
    await call(pool)
    await asyncio.sleep(10)
    stage.environments[1].end()
    assert stage.launched_at == [0, 0, 11]
    assert stage.environments[2].initialization_type == "provisioned-concurrency"
    await pool.close()


async def test_one_that_ends_unused_again_and_again_is_replaced_further_and_further_apart(stage):
    pool = stage.pool(concurrency=1, provisioned_concurrency=1)
    await pool.start()
    for _ in range(7):
        stage.environments[-1].end()
        count = len(stage.environments)
        while len(stage.environments) == count or pool._members.loading:
            await asyncio.sleep(0.1)
    waits = [gap - 1 for gap in stage.gaps()]  # each takes a second to load
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], abs=0.11)
    await pool.close()


async def test_no_more_are_provisioned_than_may_run(stage):
    pool = stage.pool(concurrency=2, provisioned_concurrency=10)
    await pool.start()
    await asyncio.sleep(10)
    assert stage.alive == [1, 2]
    await pool.close()


async def test_invocations_wait_for_provisioned_environments_that_load(stage):
    pool = stage.pool(concurrency=2, provisioned_concurrency=2)
    start = asyncio.create_task(pool.start())
    await asyncio.sleep(0.5)
    outcomes = await asyncio.gather(call(pool), call(pool))
    assert now() == 1
    assert {outcome.payload for outcome in outcomes} == {b"1", b"2"}
    await start
    await pool.close()


# --- the end


async def test_closing_lets_idle_ones_leave_and_kills_the_others(stage):
    pool = stage.pool(concurrency=4, provisioned_concurrency=1)
    await pool.start()
    busy = later(pool, 60)
    await asyncio.sleep(0)
    loading = later(pool)
    await asyncio.sleep(0.5)
    await asyncio.gather(pool.close(), pool.close())
    assert await busy == await loading == await call(pool) == CLOSING
    assert stage.alive == []
    with pytest.raises(StartFailed, match="shutting down"):
        await pool.start()
    await pool.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_ends_a_start_and_what_waits_for_the_next_attempt(stage):
    stage.failure = BROKEN
    pool = stage.pool()
    await call(pool)
    waiting, start = later(pool), asyncio.create_task(pool.start())
    await asyncio.sleep(0.1)
    await pool.close()
    assert await waiting == CLOSING
    with pytest.raises(StartFailed, match="shutting down"):
        await start
    assert now() == pytest.approx(1.1)
    assert len(stage.launched_at) == 1


async def test_closing_waits_for_those_that_are_leaving(stage):
    pool = stage.pool(idle_timeout=60.0)
    await pool.start()
    await asyncio.sleep(60)
    stage.leave_seconds = 0.3
    await asyncio.sleep(0.05)
    await pool.close()
    assert stage.alive == []
    assert stage.environments[0].cause == "idle"


async def test_every_place_belongs_to_an_invocation(stage):
    freed = []
    pool = stage.pool(concurrency=2, provisioned_concurrency=2)
    pool.on_freed(lambda: freed.append(now()))
    await pool.start()
    await asyncio.gather(call(pool, 1), call(pool, 2))
    await pool.close()
    assert freed == []
