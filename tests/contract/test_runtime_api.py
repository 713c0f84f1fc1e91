"""Programs that speak the Runtime API by hand: how they load, answer, fail and end."""

from __future__ import annotations

import asyncio

import pytest

from esmd.invoke.command import CommandEnvironment
from esmd.invoke.pool import EnvironmentPool
from esmd.invoke.protocol import StartFailed
from esmd.mappings.outcomes import FunctionError, Success
from esmd.observe.events import (
    EnvironmentKilled,
    EnvironmentStarted,
    EnvironmentStopped,
    HandlerCrashed,
)

from support.invocations import ID, answer, call, command, is_running, kill_unseen, until
from support.programs import lines

# --- loading


async def test_a_program_that_exits_at_once_cannot_be_loaded(make_program):
    with pytest.raises(StartFailed, match="exit status 3") as caught:
        await make_program(["sh", "-c", "exit 3"]).start()
    assert caught.value.error_type == "Runtime.ExitError"


async def test_a_program_that_asks_for_nothing_is_not_waited_for_long(telemetry):
    spec = command(["sleep", "60"])
    pool = EnvironmentPool(spec, launch=CommandEnvironment.launch, telemetry=telemetry, init_seconds=0.1)
    with pytest.raises(StartFailed, match=r"Loading sleep 60 timed out after 0\.10 seconds"):
        await pool.start()
    assert [event.reason for event in telemetry.of(EnvironmentKilled)] == ["init"]
    await pool.close()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["no-such-program"], "no program 'no-such-program' in PATH (/bin); write ./no-such-program for one beside"),
        (["./missing"], "'./missing' does not exist"),
        (["./plain"], "'./plain' is not executable: chmod +x ./plain"),
        (["./headless"], "'./headless' is no program: a script needs a first line such as #!/bin/sh"),
        (["./misled"], "the interpreter that the first line of './misled' names does not exist"),
    ],
)
async def test_a_program_that_cannot_be_started_says_why(make_program, tmp_path, argv, message):
    for name, text, mode in (
        ("plain", "#!/bin/sh\n", 0o644),
        ("headless", "exit 0\n", 0o755),
        ("misled", "#!/no/such/interpreter\n", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    with pytest.raises(StartFailed) as caught:
        await make_program(argv, working_directory=str(tmp_path), environment={"PATH": "/bin"}).start()
    assert caught.value.error_type == "Runtime.InvalidEntrypoint"
    assert caught.value.message.startswith(f"Cannot start a process in {tmp_path}: {message}")


async def test_a_folder_that_does_not_exist_is_said(make_program, tmp_path):
    with pytest.raises(StartFailed, match="there is no such folder"):
        await make_program(["true"], working_directory=str(tmp_path / "gone")).start()


async def test_an_init_error_is_the_reason_and_the_program_is_ended(by_hand, telemetry):
    pool = by_hand(
        """
        post("init/error", '{"errorMessage": "no stock", "errorType": "ShopError", "stackTrace": ["a"]}')
        time.sleep(60)
        """
    )
    outcome = await call(pool)
    assert outcome == FunctionError("init", "ShopError", "no stock", ("a",))
    assert not is_running(telemetry.of(EnvironmentStarted)[0].pid)


async def test_an_init_error_counts_though_the_program_ends_at_once(by_hand):
    # The connection is known by then: a client whose process has gone cannot be told from anybody else's.
    pool = by_hand('post("no/such/path", ""); connection.request("POST", base + "init/error", "no stock"); os._exit(1)')
    outcome = await call(pool)
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.message) == ("init", "no stock")


# --- invocations


async def test_the_program_finds_what_lambda_gives_it(by_hand, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the daemon")
    pool = by_hand(
        """
        while True:
            id, event = ask()
            post(f"invocation/{id}/response", json.dumps(dict(os.environ, folder=os.getcwd())))
        """,
        handler="function.handler",
        environment={"AWS_LAMBDA_RUNTIME_API": "elsewhere:1", "SHOP": "7"},
    )
    found = await answer(pool)
    assert found["_HANDLER"] == "function.handler"
    assert found["LAMBDA_TASK_ROOT"] == found["folder"] == str(tmp_path)
    assert found["SHOP"] == "7"
    assert found["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")
    assert "AWS_SECRET_ACCESS_KEY" not in found
    assert "AWS_EXECUTION_ENV" not in found


async def test_an_answer_counts_though_the_program_ends_before_it_asks_again(by_hand, telemetry):
    pool = by_hand('id, event = ask(); post(f"invocation/{id}/response", "[7]"); sys.exit(3)')
    assert await call(pool) == Success(b"[7]")
    await until(lambda: telemetry.of(HandlerCrashed))
    assert telemetry.of(HandlerCrashed)[0].exit_status == 3
    assert await call(pool) == Success(b"[7]")  # in another environment


async def test_an_answer_counts_though_the_program_ends_before_it_is_confirmed(by_hand):
    pool = by_hand(
        'id, event = ask(); connection.request("POST", base + f"invocation/{id}/response", "[7]"); os._exit(3)'
    )
    assert await call(pool) == Success(b"[7]")


async def test_an_answer_counts_though_the_program_does_not_ask_again_in_time(by_hand, telemetry):
    pool = by_hand('id, event = ask(); post(f"invocation/{id}/response", "[7]"); time.sleep(60)', timeout=0.5)
    assert await call(pool) == Success(b"[7]")
    assert [event.reason for event in telemetry.of(EnvironmentKilled)] == ["timeout"]
    assert not is_running(telemetry.of(EnvironmentStarted)[0].pid)


async def test_half_an_answer_is_none(by_hand):
    pool = by_hand(
        """
        id, event = ask()
        connection.putrequest("POST", base + f"invocation/{id}/response")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
        connection.endheaders()
        connection.send(b"4\\r\\n[1, \\r\\n")
        os._exit(0)
        """
    )
    assert await call(pool) == FunctionError(
        "exit", "Runtime.ExitError", f"RequestId: {ID} Error: Runtime exited without providing a reason"
    )


async def test_a_program_that_asks_again_without_an_answer_gets_the_same_event(by_hand):
    pool = by_hand(
        """
        while True:
            first, second = ask(), ask()
            post(f"invocation/{first[0]}/response", json.dumps(first == second))
        """
    )
    assert await answer(pool) is True
    assert await answer(pool) is True


async def test_a_client_that_gives_up_waiting_loses_no_event(by_hand):
    pool = by_hand(
        """
        while True:
            waiting = socket.create_connection(address.split(":"))
            head = f"GET {base}invocation/next HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n"
            waiting.sendall(head.encode())
            time.sleep(0.02)
            waiting.close()
            id, event = ask()
            post(f"invocation/{id}/response", event)
        """
    )
    await pool.start()
    assert [await answer(pool, number) for number in range(3)] == [0, 1, 2]


async def test_an_environment_that_dies_idle_costs_no_invocation(by_hand, telemetry):
    pool = by_hand('id, event = ask(); post(f"invocation/{id}/response", str(os.getpid())); ask()')
    pid = await answer(pool)
    kill_unseen(pid)
    assert await answer(pool) != pid
    assert [(crash.pid, crash.request_id) for crash in telemetry.of(HandlerCrashed)] == [(pid, None)]


async def test_what_is_printed_after_the_answer_belongs_to_the_invocation_still(by_hand, telemetry):
    pool = by_hand(
        """
        while True:
            id, event = ask()
            print("before", flush=True)
            post(f"invocation/{id}/response", "{}")
            print("after", flush=True)
        """
    )
    await call(pool)
    assert lines(telemetry) == [("before", ID), ("after", ID)]


async def test_a_program_is_asked_to_leave_with_sigterm(by_hand, telemetry):
    pool = by_hand(
        """
        signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(0)))
        ask()
        """
    )
    await pool.start()
    await pool.close()
    assert lines(telemetry) == [("bye", None)]
    assert [event.reason for event in telemetry.of(EnvironmentStopped)] == ["shutdown"]


async def test_one_that_stays_is_killed(by_hand, telemetry):
    pool = by_hand("signal.signal(signal.SIGTERM, signal.SIG_IGN); ask()")
    await pool.start()
    await pool.close()
    (started,) = telemetry.of(EnvironmentStarted)
    assert not is_running(started.pid)
    assert [event.reason for event in telemetry.of(EnvironmentKilled)] == ["shutdown"]


async def test_a_cancelled_invocation_ends_the_program(by_hand, telemetry):
    pool = by_hand("ask(); time.sleep(60)")
    await pool.start()
    task = asyncio.create_task(call(pool))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(telemetry.of(EnvironmentStarted)[0].pid)


async def test_a_start_that_is_cancelled_ends_the_program(make_program, telemetry):
    task = asyncio.create_task(make_program(["sleep", "60"]).start())
    await until(lambda: telemetry.of(EnvironmentStarted))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not is_running(telemetry.of(EnvironmentStarted)[0].pid))
