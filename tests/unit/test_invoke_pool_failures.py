"""The pool when environments do not load, are lost or cancelled, or their code changes. No process is started."""

from __future__ import annotations

import asyncio

import pytest

from esmd.invoke import attempts
from esmd.invoke.protocol import StartFailed
from esmd.mappings.outcomes import FunctionError, Success
from esmd.observe.events import (
    FunctionInit,
    FunctionInitFailed,
    FunctionReloaded,
)

from support.environments import BROKEN, Fake, Stage, call, later, now

pytestmark = pytest.mark.looptime


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(
        attempts, "delay", lambda failures, *, initial, maximum: min(maximum, initial * 2 ** (failures - 1))
    )
    return Stage()


# --- failures to load


async def test_every_invocation_gets_the_failure_and_launches_are_spaced(stage):
    stage.failure = BROKEN
    pool = stage.pool(concurrency=1)
    for _ in range(8):
        assert await call(pool) == BROKEN
    assert stage.gaps() == pytest.approx([1.2, 1.4, 1.8, 2.6, 4.2, 6.0, 6.0])  # a second is that of loading
    await pool.close()


async def test_a_reason_is_said_once_until_it_works_again(stage):
    stage.failure = BROKEN
    pool = stage.pool()
    await call(pool)
    await call(pool)
    stage.failure = FunctionError("init", "KeyError", "TABLE")
    await call(pool)
    stage.failure = BROKEN
    await call(pool)
    stage.failure = None
    assert await call(pool) == Success(b"5")
    stage.environments[-1].end()
    stage.failure = BROKEN
    await call(pool)
    assert [
        (said.error_type, said.error_message, said.retry_in_s) for said in stage.telemetry.of(FunctionInitFailed)
    ] == [
        ("ValueError", "no limit is set", 0.2),
        ("KeyError", "TABLE", 0.8),
        ("ValueError", "no limit is set", 0.2),
    ]
    assert [init.after_failures for init in stage.telemetry.of(FunctionInit)] == [4]
    await pool.close()


async def test_a_request_id_makes_no_new_reason_and_each_invocation_reads_its_own(stage):
    stage.load_seconds = 100.0
    pool = stage.pool(concurrency=2, provisioned_concurrency=1)
    start = asyncio.create_task(pool.start())
    await asyncio.sleep(0.1)
    outcome = later(pool, request_id="one")
    await asyncio.sleep(0.1)
    stage.environments[0].end()
    assert await outcome == FunctionError("init", "Runtime.ExitError", "RequestId: one Error: it was ended")
    with pytest.raises(StartFailed, match="it was ended"):
        await start
    outcome = later(pool, request_id="two")
    await asyncio.sleep(1)
    stage.environments[1].end()
    assert (await outcome).message == "RequestId: two Error: it was ended"
    assert [said.error_message for said in stage.telemetry.of(FunctionInitFailed)] == ["it was ended"]
    await pool.close()


async def test_after_a_failure_one_launch_answers_for_all_that_wait(stage):
    stage.failure = BROKEN
    pool = stage.pool(concurrency=50)
    assert await call(pool) == BROKEN
    assert await asyncio.gather(*(call(pool) for _ in range(50))) == [BROKEN] * 50
    assert len(stage.environments) == 2
    stage.failure = None
    outcomes = await asyncio.gather(*(call(pool, 1) for _ in range(50)))
    assert {type(outcome) for outcome in outcomes} == {Success}
    assert len(stage.alive) == 50
    await pool.close()


async def test_a_failure_is_no_others_as_long_as_another_environment_loads_for_them(stage):
    pool = stage.pool(concurrency=2)
    outcomes = [later(pool, request_id="one"), later(pool, request_id="two")]
    await asyncio.sleep(0.5)
    stage.environments[0].end()
    assert await outcomes[0] == FunctionError("init", "Runtime.ExitError", "RequestId: one Error: it was ended")
    assert await outcomes[1] == Success(b"2")
    await pool.close()


async def test_a_process_that_cannot_be_started_is_a_failure_to_load(stage):
    stage.refusal = FileNotFoundError(2, "No such file or directory", "/nowhere")
    pool = stage.pool(working_directory="/nowhere", provisioned_concurrency=1, concurrency=2)
    with pytest.raises(StartFailed, match=r"Cannot start a process in /nowhere: .*No such file") as failed:
        await pool.start()
    assert failed.value.error_type == "Runtime.InvalidEntrypoint"
    stage.refusal = None
    assert await call(pool) == Success(b"1")
    assert now() == pytest.approx(1.2)
    await pool.close()


async def test_a_variable_that_no_process_can_have_is_a_failure_to_load(stage):
    stage.refusal = ValueError("embedded null byte")
    pool = stage.pool()
    outcome = await call(pool)
    assert (outcome.kind, outcome.error_type) == ("init", "Runtime.InvalidEntrypoint")
    assert outcome.message.endswith("embedded null byte")
    await pool.close()


async def test_start_fails_as_often_as_it_is_asked_and_heals(stage):
    stage.failure = BROKEN
    pool = stage.pool()
    for _ in range(2):
        with pytest.raises(StartFailed, match="no limit is set"):
            await pool.start()
    stage.failure = None
    await pool.start()
    assert await call(pool) == Success(b"3")
    await pool.close()


async def test_provisioned_environments_heal_by_themselves(stage):
    stage.failure = BROKEN
    pool = stage.pool(concurrency=3, provisioned_concurrency=2)
    with pytest.raises(StartFailed, match="no limit is set"):
        await pool.start()
    await asyncio.sleep(60)
    assert len(stage.telemetry.of(FunctionInitFailed)) == 1
    assert len(stage.environments) <= 15
    stage.failure = None
    await asyncio.sleep(8)
    assert len(stage.alive) == 2
    await pool.close()


async def test_a_defect_in_loading_is_a_failure_and_nobody_waits_for_ever(stage):
    stage.failure = RuntimeError("a defect")
    pool = stage.pool()
    assert await call(pool) == FunctionError("init", "RuntimeError", "a defect")
    assert stage.alive == []
    await pool.close()


async def test_a_fresh_environment_that_ends_before_its_first_event_is_a_crash(stage, monkeypatch):
    async def run(self, event, *, request_id):
        self.kill("protocol")

    pool = stage.pool()
    monkeypatch.setattr(Fake, "run", run)
    outcome = await call(pool)
    assert outcome == FunctionError(
        "exit", "Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed"
    )
    await call(pool)
    assert stage.gaps() == pytest.approx([1.2])
    await pool.close()


async def test_one_that_ends_as_soon_as_it_is_loaded_is_a_failure_to_load(stage, monkeypatch):
    async def load(self, *, limit, request_id):
        await asyncio.sleep(1)
        self.end()

    pool = stage.pool()
    monkeypatch.setattr(Fake, "load", load)
    assert (await call(pool)).kind == "init"
    await call(pool)
    assert stage.gaps() == pytest.approx([1.2])
    await pool.close()


async def test_one_that_was_lost_idle_costs_no_invocation(stage):
    pool = stage.pool()
    await call(pool)
    stage.environments[0].usable = False  # its end was not seen yet
    outcome = later(pool)
    await asyncio.sleep(0.5)
    stage.environments[0].end()
    assert await outcome == Success(b"2")
    await pool.close()


# --- cancelled


async def test_a_cancelled_invocation_ends_what_ran_and_gives_its_place_back(stage):
    pool = stage.pool()
    running = later(pool, 60)
    await asyncio.sleep(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (pool.running, stage.alive) == (0, [])
    assert await call(pool) == Success(b"2")
    await pool.close()


async def test_a_cancelled_wait_ends_the_load_that_was_for_it_alone(stage):
    pool = stage.pool(concurrency=2, provisioned_concurrency=1)
    start = asyncio.create_task(pool.start())
    await asyncio.sleep(0.1)
    both = [later(pool), later(pool)]
    await asyncio.sleep(0.1)
    assert stage.alive == [1, 2]
    both[0].cancel()
    assert await both[1] == Success(b"1")
    await start
    assert stage.alive == [1]
    await pool.close()


async def test_a_cancelled_start_ends_its_load(stage):
    pool = stage.pool()
    start = asyncio.create_task(pool.start())
    await asyncio.sleep(0.5)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert stage.alive == []
    await pool.close()


async def test_an_environment_handed_to_one_who_is_cancelled_in_that_moment_is_not_lost(stage, monkeypatch):
    async def load(self, *, limit, request_id):
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_soon(waiting.cancel)

    monkeypatch.setattr(Fake, "load", load)
    pool = stage.pool()
    waiting = later(pool)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stage.environments[0].ran == []
    assert await call(pool) == Success(b"1")
    await pool.close()


# --- reload


async def test_a_reload_replaces_idle_environments_at_once_and_busy_ones_when_they_are_done(stage):
    pool = stage.pool(concurrency=3)
    await pool.start()
    busy = later(pool, 10)
    await call(pool)
    stage.code = 2
    pool.reload(["orders.py"])
    assert await call(pool) == Success(b"3")
    assert stage.environments[2].code == 2
    assert await busy == Success(b"1")
    await asyncio.sleep(1)
    assert stage.alive == [3]
    assert [each.cause for each in stage.environments[:2]] == ["reloaded", "reloaded"]
    (said,) = stage.telemetry.of(FunctionReloaded)
    assert (said.files, said.environments) == (("orders.py",), 2)
    await pool.close()


async def test_a_reload_during_a_load_uses_the_new_code(stage):
    pool = stage.pool()
    outcome = later(pool)
    await asyncio.sleep(0.5)
    stage.code = 2
    pool.reload(["orders.py"])
    assert await outcome == Success(b"2")
    assert stage.environments[1].code == 2
    assert stage.telemetry.of(FunctionInitFailed) == []
    await pool.close()


async def test_a_reload_shows_a_mistake_at_once_and_heals_with_the_next(stage):
    pool = stage.pool()
    await pool.start()
    stage.failure = BROKEN
    for _ in range(2):
        pool.reload(["orders.py"])
        await asyncio.sleep(2)
    assert len(stage.telemetry.of(FunctionInitFailed)) == 2  # new code, said anew
    await asyncio.sleep(60)
    assert len(stage.environments) == 3
    stage.failure = None
    pool.reload(["orders.py"])
    assert await call(pool) == Success(b"4")
    await pool.close()


async def test_a_reload_before_anything_ran_loads_nothing(stage):
    pool = stage.pool()
    pool.reload(["orders.py"])
    await asyncio.sleep(5)
    assert stage.launched_at == []
    await pool.close()
    pool.reload(["orders.py"])
    assert len(stage.telemetry.of(FunctionReloaded)) == 1


async def test_provisioned_environments_are_provisioned_again_after_a_reload(stage):
    pool = stage.pool(concurrency=4, provisioned_concurrency=2)
    await pool.start()
    await asyncio.sleep(1)
    pool.reload(["orders.py"])
    await asyncio.sleep(2)
    assert stage.alive == [3, 4]
    assert {each.initialization_type for each in stage.environments} == {"provisioned-concurrency"}
    await pool.close()
