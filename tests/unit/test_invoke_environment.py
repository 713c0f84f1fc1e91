"""Worker processes: loading that takes too long, leaving that takes too long, and systems without pidfd."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from esmd.invoke import runtime
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.pool import EnvironmentPool
from esmd.invoke.process import HandlerProcess
from esmd.invoke.protocol import StartFailed
from esmd.mappings.outcomes import FunctionError, Success
from esmd.observe.events import FunctionInit, HandlerCrashed, HandlerOutput, HandlerTimeout

from support.invocations import Recorder, function, is_running, kill_unseen, until, wait_unseen

ID = "8f3c5d0e-0000-4000-8000-000000000001"


@pytest.fixture
def telemetry():
    return Recorder()


def pool(spec, **options):
    return EnvironmentPool(spec, launch=PythonEnvironment.launch, **options)


def module(folder, text, **changes):
    (folder / "app.py").write_text(text)
    return function("app:handle", python_path=(str(folder),), **changes)


async def test_a_function_that_takes_too_long_to_load_is_killed(tmp_path, telemetry):
    spec = module(tmp_path, "print('loading', flush=True)\nimport time; time.sleep(60)")
    invoker = pool(spec, telemetry=telemetry, init_seconds=0.5)
    with pytest.raises(StartFailed, match=r"Loading app:handle timed out after 0\.50 seconds") as failed:
        await invoker.start()
    assert failed.value.error_type == "Sandbox.Timedout"
    outcome = await invoker.invoke(b"1", request_id=ID)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "init"
    assert outcome.message.startswith(f"RequestId: {ID} Error: ")
    assert telemetry.of(HandlerTimeout) == telemetry.of(HandlerCrashed) == []
    assert {(line.message, line.request_id) for line in telemetry.of(HandlerOutput)} <= {("loading", None)}
    await invoker.close()


async def test_loading_does_not_count_against_the_timeout(tmp_path, telemetry):
    spec = module(tmp_path, "import time; time.sleep(0.6)\ndef handle(event, context): return 1", timeout=0.5)
    invoker = pool(spec, telemetry=telemetry)
    assert await invoker.invoke(b"1", request_id=ID) == Success(b"1")
    await invoker.close()


async def test_cancelling_a_start_leaves_no_process(tmp_path, telemetry):
    spec = module(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    invoker = pool(spec, telemetry=telemetry)
    start = asyncio.create_task(invoker.start())
    await until(lambda: telemetry.of(HandlerOutput))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not is_running(int(telemetry.of(HandlerOutput)[0].message))
    assert invoker.running == 0
    await invoker.close()


IGNORE_HANGUP = "import atexit, os, signal, threading; atexit.register(threading.Event().wait); "
LEAVING = {
    "when asked": ("import atexit; atexit.register(print, 'bye')", 0, ["bye"]),
    "at SIGTERM": (IGNORE_HANGUP + "signal.signal(signal.SIGTERM, lambda *_: os._exit(5))", 5, []),
    "when killed": (IGNORE_HANGUP + "signal.signal(signal.SIGTERM, signal.SIG_IGN)", -9, []),
}


@pytest.mark.parametrize("how", LEAVING)
async def test_an_idle_worker_leaves(tmp_path, telemetry, how):
    text, status, printed = LEAVING[how]
    spec = module(tmp_path, f"{text}\ndef handle(event, context): return 1")
    grace = 5.0 if how == "when asked" else 0.2
    invoker = pool(spec, telemetry=telemetry, leave_seconds=grace)
    await invoker.start()
    (environment,) = [member.environment for member in invoker._members]
    await invoker.close()
    assert environment.ended.result() == status
    assert [line.message for line in telemetry.of(HandlerOutput) if line.stream == "stdout"] == printed
    assert telemetry.of(HandlerCrashed) == []


async def test_a_close_that_is_cancelled_still_kills(tmp_path, telemetry):
    spec = module(tmp_path, f"{LEAVING['when killed'][0]}\ndef handle(event, context): return 1")
    invoker = pool(spec, telemetry=telemetry, leave_seconds=30.0)
    await invoker.start()
    (environment,) = [member.environment for member in invoker._members]
    close = asyncio.create_task(invoker.close())
    await asyncio.sleep(0.01)
    close.cancel()
    with pytest.raises(asyncio.CancelledError):
        await close
    assert environment.ended.result() == -signal.SIGKILL


@pytest.fixture
def no_pidfd(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.mark.usefixtures("no_pidfd")
async def test_without_pidfd_the_end_of_a_process_is_seen_all_the_same(telemetry):
    invoker = pool(function("failing:leave_at_once"), telemetry=telemetry)
    outcome = await invoker.invoke(b"3", request_id=ID)
    assert isinstance(outcome, FunctionError)
    assert outcome.message.endswith("exit status 3")
    await invoker.close()

    invoker = pool(function("failing:hang", timeout=0.2), telemetry=telemetry)
    outcome = await invoker.invoke(b"60", request_id=ID)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "timeout"
    assert not any(is_running(event.pid) for event in telemetry.of(FunctionInit))
    await invoker.close()

    invoker = pool(function("answering:echo"), telemetry=telemetry)
    await invoker.start()
    await invoker.close()
    assert not any(is_running(event.pid) for event in telemetry.of(FunctionInit))


@pytest.mark.parametrize(
    "frame",
    [
        runtime.FRAME.pack(runtime.ANSWER, 0, 2**31),
        runtime.FRAME.pack(runtime.ANSWER, 0, 1) + b"11",
    ],
)
async def test_a_handler_that_writes_into_the_channel_is_ended(tmp_path, telemetry, frame):
    text = (
        "import os, sys, time\n"
        "def handle(event, context):\n"
        "    for descriptor in range(3, 50):\n"
        "        try: os.write(descriptor, bytes(event))\n"
        "        except OSError: pass\n"
        "    time.sleep(60)\n"
    )
    invoker = pool(module(tmp_path, text), telemetry=telemetry)
    outcome = await invoker.invoke(str(list(frame)).encode(), request_id=ID)
    assert isinstance(outcome, FunctionError)
    assert outcome.error_type == "Runtime.ExitError"
    await invoker.close()


async def test_a_handler_that_closes_the_channel_is_ended(tmp_path, telemetry):
    text = "import os, time\ndef handle(event, context):\n    os.closerange(3, 50)\n    time.sleep(60)\n"
    invoker = pool(module(tmp_path, text), telemetry=telemetry)
    outcome = await invoker.invoke(b"1", request_id=ID)
    assert isinstance(outcome, FunctionError)
    assert outcome.message.endswith("Error: Runtime exited with error: signal: killed")
    await invoker.close()


async def test_a_fresh_environment_that_dies_before_its_first_event_is_a_crash(monkeypatch, telemetry):
    async def load(self, **options):
        kill_unseen(self.pid)

    monkeypatch.setattr(PythonEnvironment, "load", load)
    invoker = pool(function("answering:echo"), telemetry=telemetry)
    outcome = await invoker.invoke(b"1", request_id=ID)
    assert outcome == FunctionError(
        "exit", "Runtime.ExitError", f"RequestId: {ID} Error: Runtime exited with error: signal: killed"
    )
    await invoker.close()


async def test_a_process_that_ends_before_it_is_told_what_to_load_is_a_failed_start(telemetry):
    environment = PythonEnvironment.launch(
        function("answering:echo"), telemetry=telemetry, initialization_type="on-demand", on_end=lambda _: None
    )
    kill_unseen(environment.pid)
    failure = await environment.load(limit=10.0, request_id=ID)
    assert failure is not None
    assert failure.kind == "init"
    assert failure.message.endswith("signal: killed")


async def test_an_answer_counts_though_the_process_ended_right_after_it(tmp_path, telemetry):
    text = (
        "import os\n"
        "def handle(event, context):\n"
        "    write = os.write\n"
        "    def write_and_leave(*arguments):\n"
        "        write(*arguments)\n"
        "        os._exit(7)\n"
        "    os.write = write_and_leave\n"
        "    return 'answered'\n"
    )
    invoker = pool(module(tmp_path, text), telemetry=telemetry)
    await invoker.start()
    (environment,) = [member.environment for member in invoker._members]
    outcome = asyncio.create_task(invoker.invoke(b"1", request_id=ID))
    await asyncio.sleep(0)
    wait_unseen(environment.pid)  # the loop finds the answer and the end together
    assert await outcome == Success(b'"answered"')
    await until(lambda: telemetry.of(HandlerCrashed))
    assert [(crash.exit_status, crash.request_id) for crash in telemetry.of(HandlerCrashed)] == [(7, None)]
    await invoker.close()


async def test_a_worker_that_dies_while_a_large_event_is_sent_is_a_crash(telemetry):
    invoker = pool(function("answering:echo"), telemetry=telemetry)
    await invoker.start()
    (environment,) = [member.environment for member in invoker._members]
    os.kill(environment.pid, signal.SIGSTOP)
    outcome = asyncio.create_task(invoker.invoke(b" " * 5_000_000, request_id=ID))
    await asyncio.sleep(0)
    kill_unseen(environment.pid)
    assert await outcome == FunctionError(
        "exit", "Runtime.ExitError", f"RequestId: {ID} Error: Runtime exited with error: signal: killed"
    )
    await invoker.close()


async def test_a_process_that_cannot_be_killed_holds_nobody_up(monkeypatch, telemetry):
    monkeypatch.setattr("esmd.invoke.process.REAP_SECONDS", 0.05)
    invoker = pool(function("failing:hang", timeout=0.05), telemetry=telemetry, leave_seconds=0.01)
    await invoker.start()
    (environment,) = [member.environment for member in invoker._members]
    with monkeypatch.context() as stuck:
        stuck.setattr(HandlerProcess, "_signal_group", lambda *_: None)
        outcome = await invoker.invoke(b"60", request_id=ID)
        assert isinstance(outcome, FunctionError)
        assert outcome.kind == "timeout"
        assert environment.status == -signal.SIGKILL
        await invoker.close()
    kill_unseen(environment.pid)
    await environment.ended


async def test_no_secret_of_the_daemon_reaches_a_handler(monkeypatch, telemetry):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the daemon's own")
    invoker = pool(function("answering:environment"), telemetry=telemetry)
    outcome = await invoker.invoke(b"1", request_id=ID)
    assert isinstance(outcome, Success)
    assert b"the daemon's own" not in outcome.payload
    assert b'"AWS_LAMBDA_FUNCTION_NAME": "orders"' in outcome.payload
    await invoker.close()


async def test_a_worker_starts_in_its_working_directory(tmp_path, telemetry):
    spec = function("answering:working_directory", working_directory=str(tmp_path))
    invoker = pool(spec, telemetry=telemetry)
    outcome = await invoker.invoke(b"1", request_id=ID)
    assert isinstance(outcome, Success)
    assert outcome.payload.decode().strip('"') == os.path.realpath(tmp_path)  # noqa: ASYNC240  quick enough
    await invoker.close()
