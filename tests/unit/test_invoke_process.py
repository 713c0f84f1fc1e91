"""A handler's process: what is said of its end, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from typing import get_args

import pytest

from esmd.invoke import process as module
from esmd.invoke.process import HandlerProcess
from esmd.observe.events import (
    EnvironmentKilled,
    EnvironmentStopped,
    HandlerCrashed,
    HandlerOutput,
    HandlerTimeout,
)

from support.invocations import Recorder, function, is_running, kill_unseen, until

SLEEP = "exec sleep 60"
READY_THEN = "echo ready; "


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture
async def start(telemetry):
    """Starts shell scripts; at the end all are gone."""
    started = []

    def start(script, *, on_end=lambda: None, on_exit=lambda: None, **changes):
        process = HandlerProcess.start(
            ["/bin/sh", "-c", script],
            spec=function("app:handle", **changes),
            environ={"PATH": os.environ["PATH"]},
            telemetry=telemetry,
            on_exit=on_exit,
            on_end=on_end,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        await process.gone()
        assert not is_running(process.pid)


@pytest.fixture(params=["pidfd", "waitid", "wait"])
def watch(request, monkeypatch):
    """The ways to see a process end: Linux, macOS, and macOS with an older Python."""
    if request.param != "pidfd":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    if request.param == "wait":
        monkeypatch.delattr(os, "waitid", raising=False)


def ends(telemetry):
    kinds = (EnvironmentKilled, EnvironmentStopped, HandlerCrashed)
    return [(type(event), getattr(event, "reason", None)) for event in telemetry.events if isinstance(event, kinds)]


def reply():
    return asyncio.get_running_loop().create_future()


async def kill(process, cause):
    process.kill(cause)


async def leave(process, cause):
    process.leave(cause)
    process.terminate()


async def stay(process, cause):
    process.leave(cause)
    process.kill("shutdown")


async def be_late(process, cause):
    if cause == "timeout":
        process.begin("1")
    assert await process.answer(reply(), seconds=0.01) is None


async def be_cancelled(process, cause):
    waiting = asyncio.create_task(process.answer(reply(), seconds=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.usefixtures("watch")
@pytest.mark.parametrize(
    ("script", "how", "cause", "said"),
    [
        ("exit 3", None, "itself", (HandlerCrashed, None)),
        (SLEEP, kill, "itself", (HandlerCrashed, None)),
        (SLEEP, leave, "idle", (EnvironmentStopped, "idle")),
        (SLEEP, leave, "reloaded", (EnvironmentStopped, "reloaded")),
        (SLEEP, leave, "shutdown", (EnvironmentStopped, "shutdown")),
        (SLEEP, stay, "idle", (EnvironmentKilled, "shutdown")),
        (SLEEP, be_late, "timeout", (EnvironmentKilled, "timeout")),
        (SLEEP, be_late, "init", (EnvironmentKilled, "init")),
        (SLEEP, be_cancelled, "cancelled", (EnvironmentKilled, "cancelled")),
        (SLEEP, kill, "memory", (EnvironmentKilled, "memory")),
        (SLEEP, kill, "shutdown", (EnvironmentKilled, "shutdown")),
        (SLEEP, kill, "protocol", (EnvironmentKilled, "protocol")),
        (SLEEP, kill, "unloaded", None),
    ],
)
async def test_one_event_at_most_says_why_a_process_ended(start, telemetry, script, how, cause, said):
    ended = []
    process = start(script, on_end=lambda: ended.append(True))
    if how is not None:
        await how(process, cause)
        assert process.ending
    await asyncio.wait_for(process.ended, 10)
    await process.gone("shutdown")
    process.kill("timeout")
    assert process.cause == cause
    assert ends(telemetry) == ([] if said is None else [said])
    assert ended == [True]


def test_the_table_has_every_cause():
    table = module.__doc__.partition("| cause ")[2]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:] if "|" in line)))
    causes = {cause for kind in get_args(module.Cause) for cause in get_args(kind)}
    assert named == causes


async def test_what_is_said_first_stays_the_cause(start, telemetry):
    process = start(SLEEP)
    process.kill("memory", memory_mb=300)
    process.kill("timeout")
    process.leave("idle")
    await process.ended
    (killed,) = telemetry.of(EnvironmentKilled)
    assert (killed.pid, killed.reason, killed.memory_mb, killed.request_id) == (process.pid, "memory", 300, None)


async def test_a_crash_a_kill_and_a_timeout_name_their_invocation(start, telemetry):
    crashing, late = start("read nothing; sleep 0.05; exit 4"), start(SLEEP)
    crashing.begin("one")
    late.begin("two")
    assert await late.answer(reply(), seconds=0.01) is None
    await crashing.ended
    (timeout,) = telemetry.of(HandlerTimeout)
    (killed,) = telemetry.of(EnvironmentKilled)
    (crash,) = telemetry.of(HandlerCrashed)
    assert (timeout.request_id, timeout.timeout_s, timeout.pid) == ("two", 0.01, late.pid)
    assert killed.request_id == "two"
    assert (crash.request_id, crash.exit_status) == ("one", 4)


async def test_one_that_stopped_says_how_much_it_did(start, telemetry):
    process = start(SLEEP)
    for number in range(3):
        process.begin(str(number))
        process.finish()
    await leave(process, "idle")
    await process.ended
    (stopped,) = telemetry.of(EnvironmentStopped)
    assert (stopped.pid, stopped.invocations) == (process.pid, 3)
    assert stopped.age_s >= 0


async def test_output_belongs_to_the_invocation_under_way(start, telemetry):
    process = start("echo before; read nothing; sleep 0.05; echo during; exec sleep 60")
    await until(lambda: telemetry.of(HandlerOutput))
    process.begin("1")
    await until(lambda: len(telemetry.of(HandlerOutput)) == 2)
    process.finish()
    assert [(line.message, line.request_id) for line in telemetry.of(HandlerOutput)] == [
        ("before", None),
        ("during", "1"),
    ]


async def test_an_answer_that_comes_in_time_is_returned_and_the_process_lives(start, telemetry):
    process = start(SLEEP)
    waiting = reply()
    asyncio.get_running_loop().call_soon(waiting.set_result, "answer")
    assert await process.answer(waiting, seconds=60) == "answer"
    assert not process.ending


async def test_who_waits_is_told_of_the_end_after_what_was_sent_is_taken(start):
    waiting = reply()
    process = start("exit 0", on_exit=lambda: waiting.set_result("sent before"))
    assert await process.answer(waiting, seconds=60) == "sent before"
    assert await process.ended == 0


@pytest.mark.usefixtures("watch")
async def test_what_it_left_running_in_its_group_goes_with_it(start, telemetry):
    start("sleep 60 & echo $!; exit 0")
    await until(lambda: telemetry.of(HandlerCrashed))
    if sys.platform == "linux" and hasattr(os, "waitid"):
        await until(lambda: not is_running(int(telemetry.of(HandlerOutput)[0].message)))


async def test_one_that_cannot_be_killed_is_given_up_once(start, telemetry, monkeypatch):
    monkeypatch.setattr(module, "REAP_SECONDS", 0.02)
    given_up = []
    process = start(SLEEP, on_end=lambda: given_up.append(True))
    with monkeypatch.context() as stuck:
        stuck.setattr(HandlerProcess, "_signal_group", lambda *_: None)
        process.begin("1")
        assert await process.answer(reply(), seconds=0.01) is None
        assert process.status == -signal.SIGKILL
        assert not process.ended.done()
    kill_unseen(process.pid)
    await process.ended
    assert given_up == [True]


async def test_a_program_that_does_not_exist_is_an_error(telemetry):
    with pytest.raises(FileNotFoundError):
        HandlerProcess.start(
            ["./no-such-program"], spec=function("a:b"), environ={}, telemetry=telemetry, on_end=lambda: None
        )
