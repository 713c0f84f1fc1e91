"""What every invoker promises, whichever way it runs a handler."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from esmd.invoke.factory import make_invoker
from esmd.invoke.protocol import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, StartFailed
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.observe.events import (
    FunctionInit,
    FunctionThrottled,
    HandlerCrashed,
    HandlerOutput,
    HandlerTimeout,
)

from support.invocations import Recorder, function, has_zombies, is_running, kill_unseen, until

ID = "8f3c5d0e-0000-4000-8000-000000000001"


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture(params=["worker", "inline"])
def isolation(request):
    return request.param


@pytest.fixture
async def make(isolation, telemetry):
    """Makes invokers; at the end all are closed, and nothing is left of them."""
    made = []

    def build(handler, *, isolation=isolation, **changes):
        invoker = make_invoker(function(handler, **changes), isolation=isolation, telemetry=telemetry)
        made.append(invoker)
        return invoker

    descriptors = open_descriptors()
    yield build
    for invoker in made:
        await invoker.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [event.pid for event in telemetry.of(FunctionInit) if event.pid and is_running(event.pid)] == []
    if made and isolation == "worker":
        assert open_descriptors() == descriptors
        assert not has_zombies()


@pytest.fixture
def worker_only(isolation):
    if isolation != "worker":
        pytest.skip("an inline handler shares the daemon's process")


@pytest.fixture
def inline_only(isolation):
    if isolation != "inline":
        pytest.skip("a worker can be killed")


def open_descriptors():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


async def call(invoker, event=None, request_id=ID):
    return await invoker.invoke(json.dumps(event).encode(), request_id=request_id)


async def answer(invoker, event=None):
    outcome = await call(invoker, event)
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.payload)


# --- answers


async def test_the_handler_gets_the_event_and_its_answer_comes_back(make):
    event = {"Records": [{"body": "naïve \U0001f600", "attributes": {"n": 2**80}}], "none": None}
    assert await answer(make("answering:echo"), event) == event


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        ("none", b"null"),
        ("true", b"true"),
        ("text", '"héllo 世界 \U0001f600"'.encode()),
        ("half a surrogate", rb'"\ud800"'),
        ("nested", b'{"a": [1, {"b": [2.5, null]}]}'),
        ("huge integer", b"1208925819614629174706176"),
        ("not a number", b"NaN"),
        ("decimal", b"[3, 0.5]"),
        ("bytes", b"not json"),
    ],
)
async def test_every_answer_that_has_a_json_form_succeeds(make, value, payload):
    assert await call(make("answering:value"), value) == Success(payload)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("object", "Object of type object is not JSON serializable"),
        ("set", "Object of type set is not JSON serializable"),
        ("circular", "Circular reference detected"),
    ],
)
async def test_an_answer_without_a_json_form_is_a_marshal_error(make, value, reason):
    outcome = await call(make("answering:value"), value)
    assert outcome == FunctionError("exception", "Runtime.MarshalError", f"Unable to marshal response: {reason}")


async def test_an_answer_may_be_as_long_as_lambda_allows_and_no_longer(make):
    invoker = make("answering:sized")
    longest = await call(invoker, MAX_RESPONSE_BYTES)
    assert isinstance(longest, Success)
    assert len(longest.payload) == MAX_RESPONSE_BYTES
    assert await call(invoker, MAX_RESPONSE_BYTES + 1) == FunctionError(
        "exception",
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    )


async def test_a_6_mb_event_makes_the_round_trip_and_a_larger_one_is_never_sent(make):
    invoker = make("answering:echo")
    event = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
    assert await invoker.invoke(event, request_id=ID) == Success(event)
    outcome = await invoker.invoke(event + b" ", request_id=ID)
    assert isinstance(outcome, Rejected)
    assert outcome.error_type == "RequestTooLargeException"
    assert "6291456 bytes" in outcome.message


@pytest.mark.parametrize("event", [b"{", b"\xff", b"9" * 5000])
async def test_an_event_that_is_not_json_is_an_unmarshal_error(make, event):
    outcome = await make("answering:echo").invoke(event, request_id=ID)
    assert isinstance(outcome, FunctionError)
    assert outcome.error_type == "Runtime.UnmarshalError"
    assert outcome.message.startswith("Unable to unmarshal input: ")


@pytest.mark.parametrize(
    ("handler", "result"), [("table.handle", "bound"), ("table", "called"), ("partial_of", None), ("wrapped", "awake")]
)
async def test_anything_that_can_be_called_is_a_handler(make, handler, result):
    assert await answer(make(f"answering:{handler}")) == result


async def test_an_async_handler_keeps_its_state_and_its_loop_between_invocations(make):
    invoker = make("answering:remember", name="remember")
    first = await answer(invoker)
    assert await answer(invoker) == {"calls": first["calls"] + 1, "loops": first["loops"]}


async def test_the_context_is_lambdas(make):
    invoker = make(
        "answering:describe",
        memory_size=512,
        timeout=7.0,
        environment={"ANSWERING_VARIABLE": "yes"},
        aws_environment={"AWS_ENDPOINT_URL_ANSWERING": "http://127.0.0.1:4566"},
    )
    context = await answer(invoker)
    assert 0 < context.pop("remaining") <= 7000
    log_stream = context.pop("log_stream")
    day, _, stream = log_stream.rpartition("/")
    assert len(day.split("/")) == 3
    assert stream.startswith("[$LATEST]")
    assert len(bytes.fromhex(stream.removeprefix("[$LATEST]"))) == 16
    assert context == {
        "request_id": ID,
        "name": "orders",
        "version": "$LATEST",
        "arn": "arn:aws:lambda:eu-west-1:000000000000:function:orders",
        "memory": "512",
        "log_group": "/aws/lambda/orders",
        "identity": None,
        "client_context": None,
        "tenant_id": None,
        "variable": "yes",
        "endpoint": "http://127.0.0.1:4566",
    }


# --- failures of the handler


@pytest.mark.parametrize("handler", ["refuse", "refuse_async"])
async def test_an_exception_is_reported_with_the_handlers_own_frames_only(make, handler):
    outcome = await call(make(f"failing:{handler}"))
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type, outcome.message) == ("exception", "OrderRefusedError", "no stock")
    (frame,) = outcome.stack
    assert f"in {handler}\n" in frame
    assert 'raise OrderRefusedError("no stock")' in frame


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
    outcome = await call(make(f"failing:{handler}"))
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type, outcome.message) == ("exception", error_type, message)


async def test_an_exception_costs_the_environment_nothing(make, telemetry):
    invoker = make("failing:refuse")
    await call(invoker)
    await call(invoker)
    assert len(telemetry.of(FunctionInit)) == 1


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
async def test_sys_exit_ends_the_environment_and_nothing_else(make, telemetry, handler, status, text):
    invoker = make(f"failing:{handler}")
    assert await call(invoker, status) == FunctionError("exit", "Runtime.ExitError", f"RequestId: {ID} Error: {text}")
    (crash,) = telemetry.of(HandlerCrashed)
    assert crash.request_id == ID
    if isinstance(status, str):
        assert status in [line.message for line in telemetry.of(HandlerOutput)]
    assert invoker.running == 0
    assert isinstance(await call(invoker, status), FunctionError)  # in a new environment


@pytest.mark.usefixtures("worker_only")
@pytest.mark.parametrize(
    ("crash", "status", "text"),
    [
        (("leave_at_once", 127), 127, "Runtime exited with error: exit status 127"),
        (("by_signal", int(signal.SIGSEGV)), -11, "Runtime exited with error: signal: segmentation fault"),
        (("by_signal", int(signal.SIGKILL)), -9, "Runtime exited with error: signal: killed"),
    ],
)
async def test_a_crash_is_reported_and_the_environment_replaced(make, telemetry, crash, status, text):
    handler, event = crash
    invoker = make(f"failing:{handler}")
    expected = FunctionError("exit", "Runtime.ExitError", f"RequestId: {ID} Error: {text}")
    assert await call(invoker, event) == expected
    assert await call(invoker, event) == expected
    crashes = telemetry.of(HandlerCrashed)
    pids = [event.pid for event in telemetry.of(FunctionInit)]
    assert [(crash.exit_status, crash.pid) for crash in crashes] == [(status, pid) for pid in pids]
    assert len(set(pids)) == 2


@pytest.mark.usefixtures("worker_only")
async def test_an_environment_that_dies_idle_costs_no_invocation(make, telemetry):
    invoker = make("answering:count")
    pid = (await answer(invoker))["pid"]
    kill_unseen(pid)
    assert (await answer(invoker))["count"] == 1
    await until(lambda: telemetry.of(HandlerCrashed))
    assert [(crash.pid, crash.request_id) for crash in telemetry.of(HandlerCrashed)] == [(pid, None)]


@pytest.mark.usefixtures("worker_only")
async def test_an_environment_seen_to_die_idle_is_forgotten(make, telemetry):
    invoker = make("answering:count")
    os.kill((await answer(invoker))["pid"], signal.SIGKILL)
    await until(lambda: telemetry.of(HandlerCrashed))
    assert (await answer(invoker))["count"] == 1


# --- timeouts


@pytest.mark.usefixtures("worker_only")
async def test_at_the_timeout_the_process_and_all_it_started_are_gone(make, telemetry, tmp_path):
    pid_file = tmp_path / "pid"
    invoker = make("meddling:start_child_and_hang", timeout=1.0)
    await invoker.start()
    outcome = await call(invoker, str(pid_file))
    assert outcome == FunctionError(
        "timeout", "Sandbox.Timedout", f"RequestId: {ID} Error: Task timed out after 1.00 seconds"
    )
    (late,) = telemetry.of(HandlerTimeout)
    assert (late.request_id, late.timeout_s, late.still_running) == (ID, 1.0, None)
    assert late.pid is not None
    assert not is_running(late.pid)
    await until(lambda: not is_running(int(pid_file.read_text())))
    assert telemetry.of(HandlerCrashed) == []


@pytest.mark.usefixtures("worker_only")
async def test_what_was_printed_before_the_timeout_is_not_lost(make, telemetry):
    await call(make("failing:hang", timeout=0.5), 60)
    assert [(line.message, line.request_id) for line in telemetry.of(HandlerOutput)] == [("about to hang", ID)]


async def test_an_async_handler_is_ended_at_its_timeout(make, telemetry):
    invoker = make("failing:hang_async", timeout=0.2)
    outcome = await call(invoker, 60)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "timeout"
    assert telemetry.of(HandlerTimeout)[0].still_running is None
    assert invoker.running == 0


@pytest.mark.usefixtures("inline_only")
@pytest.mark.parametrize("handler", ["failing:hang", "failing:ignore_cancellation"])
async def test_a_handler_that_cannot_be_stopped_times_out_and_keeps_its_place(telemetry, handler):
    from esmd.invoke.inline import InlineInvoker

    invoker = InlineInvoker(function(handler, timeout=0.05), telemetry=telemetry, stop_seconds=0.01)
    outcome = await call(invoker, 0.3)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "timeout"
    assert telemetry.of(HandlerTimeout)[0].still_running is True
    assert await call(invoker, 0) == Throttled()
    await until(lambda: invoker.running == 0)
    assert await call(invoker, 0) == Success(b"null")
    await invoker.close()


# --- loading

LOADING = {
    "needs_missing.py": "import a_package_nobody_has",
    "has_error.py": "def handle(event, context)\n    pass\n",
    "raises.py": "import json\nlimit = int('many')\n",
    "exits.py": "import sys\nsys.exit(3)",
    "is_interrupted.py": "raise KeyboardInterrupt",
    "needs_name.py": "from json import nothing_of_the_kind",
    "orders_of_tests.py": "def process(event, context): return 'found'\nlimit = 3\n",
}


@pytest.fixture
def modules(tmp_path):
    for name, text in LOADING.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in LOADING:
        sys.modules.pop(name.removesuffix(".py"), None)
    sys.path[:] = [folder for folder in sys.path if folder != str(tmp_path)]


@pytest.mark.parametrize(
    ("handler", "error_type", "texts"),
    [
        (
            "order_of_tests:process",
            "Runtime.ImportModuleError",
            ["Unable to import module 'order_of_tests': No module named", "{folder}", "mean 'orders_of_tests'?"],
        ),
        (
            "orders_of_tests.deep:process",
            "Runtime.ImportModuleError",
            ["Unable to import module 'orders_of_tests.deep'", "'orders_of_tests' is not a package"],
        ),
        (
            "needs_missing:process",
            "Runtime.ImportModuleError",
            ["No module named 'a_package_nobody_has'", "packages installed in"],
        ),
        (
            "has_error:handle",
            "Runtime.UserCodeSyntaxError",
            ["Syntax error in module 'has_error'", "{folder}/has_error.py, line 1"],
        ),
        ("raises:handle", "ValueError", ["invalid literal for int()"]),
        ("exits:handle", "Runtime.ExitError", ["Runtime exited with error: exit status 3"]),
        ("is_interrupted:handle", "Runtime.ExitError", ["Runtime exited with error: signal: interrupt"]),
        ("needs_name:handle", "Runtime.ImportModuleError", ["cannot import name 'nothing_of_the_kind'", "{folder}"]),
        (
            "orders_of_tests:proces",
            "Runtime.HandlerNotFound",
            ["Handler 'proces' missing on module 'orders_of_tests' ({folder}/orders_of", "Did you mean 'process'?"],
        ),
        (
            "orders_of_tests:limit",
            "Runtime.HandlerNotFound",
            ["Handler 'limit' of module 'orders_of_tests' is not callable (int)."],
        ),
    ],
)
async def test_a_function_that_cannot_start_says_what_was_searched(make, modules, handler, error_type, texts):
    invoker = make(handler, python_path=(str(modules),))
    with pytest.raises(StartFailed) as failed:
        await invoker.start()
    assert failed.value.error_type == error_type
    for text in texts:
        assert text.format(folder=modules) in str(failed.value)
    outcome = await call(invoker)
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type) == ("init", error_type)


async def test_the_stack_of_a_failed_import_starts_in_the_users_code(make, modules):
    outcome = await call(make("raises:handle", python_path=(str(modules),)))
    assert isinstance(outcome, FunctionError)
    (frame,) = outcome.stack
    assert "limit = int('many')" in frame


async def test_a_function_that_could_not_start_heals(make, modules):
    invoker = make("arrives_late:handle", python_path=(str(modules),))
    with pytest.raises(StartFailed):
        await invoker.start()
    (modules / "arrives_late.py").write_text("def handle(event, context): return 'here'")
    await invoker.start()
    assert await answer(invoker) == "here"
    sys.modules.pop("arrives_late", None)


@pytest.mark.usefixtures("worker_only")
async def test_a_folder_that_is_not_there_is_a_failed_start(make, tmp_path):
    missing = str(tmp_path / "missing")
    invoker = make("answering:echo", working_directory=missing)
    with pytest.raises(StartFailed, match=f"Cannot start a process in {missing}"):
        await invoker.start()


async def test_start_loads_once_and_the_first_invocation_finds_it_warm(make, telemetry):
    invoker = make("answering:count", name="counting")
    await invoker.start()
    await invoker.start()
    first = await answer(invoker)
    assert (await answer(invoker))["count"] == first["count"] + 1
    (init,) = telemetry.of(FunctionInit)
    assert init.function == "counting"
    assert init.duration_ms > 0


# --- output


@pytest.mark.usefixtures("worker_only")
async def test_each_printed_line_is_an_event_of_its_request(make, telemetry):
    assert await call(make("meddling:say")) == Success(b"null")
    lines = telemetry.of(HandlerOutput)
    assert {line.request_id for line in lines} == {ID}
    assert {line.function for line in lines} == {"orders"}
    assert [line.message for line in lines if line.stream == "stdout"] == ["first", "second", "no end"]
    assert [line.message for line in lines if line.stream == "stderr"] == ["to stderr"]


@pytest.mark.usefixtures("worker_only")
@pytest.mark.parametrize(
    ("handler", "event", "messages"),
    [
        ("log_it", "A-1", ["[INFO]\torders\tshipped A-1"]),
        ("raw", None, ["café �"]),
        ("long_line", 1_048_576, ["x" * 65_536] * 16),
        ("flood", 30_000, [str(number) for number in range(30_000)]),
        ("replace_streams", None, ["through a buffer of its own"]),
    ],
)
async def test_all_that_was_printed_is_there_when_the_outcome_is(make, telemetry, handler, event, messages):
    assert await call(make(f"meddling:{handler}"), event) == Success(b"null")
    assert [line.message for line in telemetry.of(HandlerOutput)] == messages


@pytest.mark.usefixtures("worker_only")
async def test_what_a_background_thread_prints_later_belongs_to_no_request(make, telemetry, tmp_path):
    go_on = tmp_path / "go on"
    assert await call(make("meddling:print_later"), str(go_on)) == Success(b"null")
    assert telemetry.of(HandlerOutput) == []
    go_on.touch()
    await until(lambda: telemetry.of(HandlerOutput))
    (line,) = telemetry.of(HandlerOutput)
    assert (line.message, line.request_id) == ("from the background", None)


# --- meddlers


@pytest.mark.usefixtures("worker_only")
@pytest.mark.parametrize("handler", ["close_streams", "replace_streams", "fork_twice", "change_folder", "start_child"])
async def test_a_handler_that_meddles_with_its_process_can_still_be_invoked(make, telemetry, handler):
    invoker = make(f"meddling:{handler}")
    if handler == "close_streams":
        assert isinstance(await call(invoker), Success)
    else:
        first, second = await call(invoker), await call(invoker)
        assert isinstance(first, Success)
        assert isinstance(second, Success)
        assert len(telemetry.of(FunctionInit)) == 1
    assert telemetry.of(HandlerCrashed) == []


@pytest.mark.usefixtures("worker_only")
async def test_closing_ends_what_the_handler_left_running(make):
    invoker = make("meddling:start_child")
    child = await answer(invoker)
    assert is_running(child)
    await invoker.close()
    await until(lambda: not is_running(child))


# --- places


async def test_above_its_concurrency_a_function_is_throttled_at_once(make, telemetry):
    invoker = make("answering:nap_async", concurrency=2)
    running = [asyncio.create_task(call(invoker, 0.3)) for _ in range(2)]
    await asyncio.sleep(0)
    assert (invoker.running, invoker.limit) == (2, 2)
    assert await call(invoker, 0) == Throttled()
    assert [event.limit for event in telemetry.of(FunctionThrottled)] == [2]
    assert await asyncio.gather(*running) == [Success(b'"awake"')] * 2
    assert invoker.running == 0


async def test_a_concurrency_of_zero_stops_a_function(make):
    invoker = make("answering:echo", concurrency=0)
    await invoker.start()
    assert await call(invoker) == Throttled()


async def test_200_invocations_at_a_concurrency_of_8_each_get_their_own_answer(make, telemetry):
    invoker = make("answering:echo", concurrency=8)
    places = asyncio.Semaphore(8)

    async def one(number):
        async with places:
            return await answer(invoker, {"number": number})

    assert await asyncio.gather(*map(one, range(200))) == [{"number": number} for number in range(200)]
    assert len(telemetry.of(FunctionInit)) <= 8
    assert telemetry.of(FunctionThrottled) == []


@pytest.mark.usefixtures("worker_only")
async def test_the_environment_used_last_is_used_first(make):
    invoker = make("answering:count", concurrency=2)
    one, other = await asyncio.gather(answer(invoker), answer(invoker))
    assert one["pid"] != other["pid"]
    pids = {(await answer(invoker))["pid"] for _ in range(3)}
    assert len(pids) == 1


# --- the end


@pytest.mark.usefixtures("worker_only")
async def test_a_cancelled_invocation_leaves_no_process(make, telemetry, tmp_path):
    pid_file = tmp_path / "pid"
    invoker = make("failing:hang")
    task = asyncio.create_task(call(invoker, {"seconds": 60, "file": str(pid_file)}))
    await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(int(pid_file.read_text()))
    assert invoker.running == 0
    assert telemetry.of(HandlerCrashed) == []


@pytest.mark.usefixtures("inline_only")
async def test_a_cancelled_invocation_cancels_an_async_handler(make):
    invoker = make("failing:hang_async")
    task = asyncio.create_task(call(invoker, 60))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert invoker.running == 0


@pytest.mark.parametrize("handler", ["failing:hang_async", "answering:nap"])
async def test_closing_during_an_invocation_is_not_the_handlers_failure(make, handler):
    invoker = make(handler, concurrency=2)
    await invoker.start()
    task = asyncio.create_task(call(invoker, 0.5))
    await asyncio.sleep(0.02)
    await asyncio.gather(invoker.close(), invoker.close())
    assert await task == Unreachable("Function orders is shutting down.")
    assert await call(invoker, 0) == Unreachable("Function orders is shutting down.")
    await invoker.close()


async def test_an_invoker_that_never_ran_can_be_closed(make):
    await make("answering:echo").close()
