"""What every form of function promises when the handler raises, exits, crashes or does not end."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from esmd.mappings.outcomes import FunctionError, Success, Throttled
from esmd.observe.events import EnvironmentKilled, FunctionInit, HandlerCrashed, HandlerOutput, HandlerTimeout

from support.forms import needs, only
from support.invocations import ID, answer, call, is_running, kill_unseen, until

TIMED_OUT = "Task timed out after 1.00 seconds"


def ended(form, outcome, kind, error_type, text):
    """Whether the outcome tells of the end of an environment in Lambda's words, with the id that the handler had."""
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type) == (kind, error_type)
    if form.has("at hand"):
        assert outcome.message == f"RequestId: {ID} Error: {text}"
    return outcome.message.endswith(text)


# --- exceptions


@pytest.mark.parametrize("handler", ["refuse", pytest.param("refuse_async", id="async")])
async def test_an_exception_is_reported_with_the_handlers_own_frames_only(form, make, handler):
    if handler == "refuse_async" and not form.has("async"):
        pytest.skip(form.lacks["async"])
    outcome = await call(await make(f"failing:{handler}"))
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type, outcome.message) == ("exception", "OrderRefusedError", "no stock")
    (frame,) = outcome.stack
    assert f"in {handler}\n" in frame
    assert 'raise OrderRefusedError("no stock")' in frame


@needs("our runtime", "at hand")
@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("odd_arguments", "OrderRefusedError", "(1, ('two', 3))"),
        ("unprintable", "UnprintableError", "<UnprintableError that cannot be printed>"),
        ("cancelled", "CancelledError", ""),
        ("wordy", "OrderRefusedError", "x" * 32_765 + "..."),
        ("no_arguments", "TypeError", "no_arguments() takes 0 positional arguments but 2 were given"),
    ],
)
async def test_every_exception_has_a_type_and_a_text(make, handler, error_type, message):
    outcome = await call(await make(f"failing:{handler}"))
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type, outcome.message) == ("exception", error_type, message)


@pytest.mark.parametrize("handler", ["odd_arguments", "wordy", "no_arguments"])
async def test_an_odd_exception_is_a_function_error_all_the_same(make, handler):
    invoker = await make(f"failing:{handler}")
    assert isinstance(await call(invoker), FunctionError)
    assert isinstance(await call(invoker), FunctionError)


async def test_an_exception_costs_the_environment_nothing(make, said_there):
    invoker = await make("failing:refuse")
    await call(invoker)
    await call(invoker)
    assert len(said_there.of(FunctionInit)) == 1


# --- exits and crashes


@pytest.mark.parametrize(
    ("handler", "status", "text"),
    [
        ("leave", None, "Runtime exited without providing a reason"),
        ("leave", 0, "Runtime exited without providing a reason"),
        ("leave", 3, "Runtime exited with error: exit status 3"),
        ("leave", "out of paper", "Runtime exited with error: exit status 1"),
        ("leave_async", 4, "Runtime exited with error: exit status 4"),
        ("interrupt", None, "Runtime exited with error: signal: interrupt"),
    ],
)
async def test_sys_exit_ends_the_environment_and_nothing_else(form, make, said_there, handler, status, text):
    if handler == "leave_async" and not form.has("async"):
        pytest.skip(form.lacks["async"])
    invoker = await make(f"failing:{handler}")
    assert ended(form, await call(invoker, status), "exit", "Runtime.ExitError", text)
    (crash,) = said_there.of(HandlerCrashed)
    assert (crash.request_id == ID) == form.has("our id")
    if isinstance(status, str):
        assert status in [line.message for line in said_there.of(HandlerOutput)]
    assert invoker.running == 0
    assert isinstance(await call(invoker, status), FunctionError)  # in a new environment


@needs("processes")
@pytest.mark.parametrize(
    ("crash", "status", "text"),
    [
        (("leave_at_once", 127), 127, "Runtime exited with error: exit status 127"),
        (("by_signal", int(signal.SIGSEGV)), -11, "Runtime exited with error: signal: segmentation fault"),
        (("by_signal", int(signal.SIGKILL)), -9, "Runtime exited with error: signal: killed"),
    ],
)
async def test_a_crash_is_reported_and_the_environment_replaced(form, make, said_there, crash, status, text):
    handler, event = crash
    invoker = await make(f"failing:{handler}")
    for _ in range(2):
        assert ended(form, await call(invoker, event), "exit", "Runtime.ExitError", text)
    crashes = said_there.of(HandlerCrashed)
    pids = [event.pid for event in said_there.of(FunctionInit)]
    assert [(crash.exit_status, crash.pid) for crash in crashes] == [(status, pid) for pid in pids]
    assert len(set(pids)) == 2


@needs("processes", "at hand")
async def test_an_environment_that_dies_idle_costs_no_invocation(make, said_there):
    invoker = await make("answering:count")
    pid = (await answer(invoker))["pid"]
    kill_unseen(pid)
    assert (await answer(invoker))["count"] == 1
    await until(lambda: said_there.of(HandlerCrashed))
    assert [(crash.pid, crash.request_id) for crash in said_there.of(HandlerCrashed)] == [(pid, None)]


@needs("processes", "at hand")
async def test_an_environment_seen_to_die_idle_is_forgotten(make, said_there):
    invoker = await make("answering:count")
    os.kill((await answer(invoker))["pid"], signal.SIGKILL)
    await until(lambda: said_there.of(HandlerCrashed))
    assert (await answer(invoker))["count"] == 1


@needs("processes")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process has")
async def test_a_handler_that_takes_too_much_memory_is_ended(form, make, said_there):
    invoker = await make("meddling:take_memory", memory_limit=150)
    outcome = await call(invoker, 300)
    assert ended(form, outcome, "exit", "Runtime.OutOfMemory", "Runtime exited with error: signal: killed")
    (killed,) = said_there.of(EnvironmentKilled)
    assert killed.reason == "memory"
    assert killed.memory_mb > 150
    assert not is_running(killed.pid)


# --- timeouts


async def test_a_handler_that_does_not_end_is_a_timeout(form, make):
    handler = "failing:hang" if not form.has("async") else "failing:hang_async"
    invoker = await make(handler, timeout=1.0)
    await invoker.start()
    assert ended(form, await call(invoker, 60), "timeout", "Sandbox.Timedout", TIMED_OUT)
    assert invoker.running == 0


@needs("processes")
async def test_at_the_timeout_the_process_and_all_it_started_are_gone(form, make, said_there, tmp_path):
    pid_file = tmp_path / "pid"
    invoker = await make("meddling:start_child_and_hang", timeout=1.0)
    await invoker.start()
    outcome = await call(invoker, str(pid_file))
    assert ended(form, outcome, "timeout", "Sandbox.Timedout", TIMED_OUT)
    (late,) = said_there.of(HandlerTimeout)
    assert (late.timeout_s, late.still_running) == (1.0, None)
    assert (late.request_id == ID) == form.has("our id")
    assert late.pid is not None
    assert not is_running(late.pid)
    (killed,) = said_there.of(EnvironmentKilled)
    assert (killed.pid, killed.reason, killed.request_id) == (late.pid, "timeout", late.request_id)
    await until(lambda: not is_running(int(pid_file.read_text())))
    assert said_there.of(HandlerCrashed) == []


@needs("processes")
async def test_after_a_timeout_the_next_invocation_has_a_new_environment(make):
    invoker = await make("answering:nap_or_count", timeout=1.0)
    first = await answer(invoker, 0)
    assert isinstance(await call(invoker, 60), FunctionError)
    second = await answer(invoker, 0)
    assert (first["count"], second["count"]) == (1, 1)
    assert first["pid"] != second["pid"]


@needs("output")
async def test_what_was_printed_before_the_timeout_is_not_lost(make, said):
    await call(await make("failing:hang", timeout=0.5), 60)
    assert [(line.message, line.request_id) for line in said.of(HandlerOutput)] == [("about to hang", ID)]


@needs("async")
async def test_an_async_handler_is_ended_at_its_timeout(make, said_there):
    invoker = await make("failing:hang_async", timeout=0.2)
    outcome = await call(invoker, 60)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "timeout"
    assert said_there.of(HandlerTimeout)[0].still_running is None
    assert invoker.running == 0


@only("inline")
@pytest.mark.parametrize("handler", ["failing:hang", "failing:ignore_cancellation"])
async def test_a_handler_that_cannot_be_stopped_times_out_and_keeps_its_place(make, said, handler):
    invoker = await make(handler, timeout=0.05, stop_seconds=0.01)
    freed = []
    invoker.on_freed(lambda: freed.append(invoker.running))
    outcome = await call(invoker, 0.3)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "timeout"
    assert said.of(HandlerTimeout)[0].still_running is True
    assert await call(invoker, 0) == Throttled()
    await until(lambda: freed)
    assert freed == [0]
    assert await call(invoker, 0) == Success(b"null")


@only("http", "lambda")
async def test_a_function_that_does_not_answer_in_time_is_a_timeout_and_cut_off(make, said, said_there):
    """The daemon's own deadline, where the function's is further away, or is not kept."""
    invoker = await make("failing:hang", timeout=60.0, patience=1.0)
    outcome = await call(invoker, 60)
    assert outcome == FunctionError("timeout", "Sandbox.Timedout", f"RequestId: {ID} Error: {TIMED_OUT}")
    assert invoker.running == 0
    (late,) = said.of(HandlerTimeout)
    assert (late.request_id, late.timeout_s, late.pid) == (ID, 1.0, None)
    # The server that saw its caller leave ends what it ran for it.
    await until(lambda: said_there.of(EnvironmentKilled))
    assert [killed.reason for killed in said_there.of(EnvironmentKilled)] == ["cancelled"]
