"""Runtimes of three kinds, run for real: Lambda's own client, our bootstrap for Node, and a shell script."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import textwrap

import pytest

from esmd.invoke.protocol import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, StartFailed
from esmd.invoke.runtime_session import RESPONSE_TOO_LARGE
from esmd.mappings.outcomes import FunctionError, Success
from esmd.observe.events import (
    EnvironmentIntruder,
    EnvironmentStopped,
    FunctionInit,
    HandlerCrashed,
    HandlerTimeout,
)

from support.invocations import ID, answer, call, is_running
from support.programs import EXAMPLES, RECORDS, lines, needs_client, needs_curl, needs_node


@pytest.fixture
def official(make_program):
    """Makes a function of a handler that Lambda's own Python client runs."""

    def build(handler, **changes):
        return make_program([sys.executable, "-m", "awslambdaric", handler], handler=handler, **changes)

    return build


# --- Lambda's own client, as it is


@needs_client
class TestOfficialClient:
    async def test_runs_a_handler_many_times_over_ten_environments(self, official, telemetry):
        pool = official("answering.echo", concurrency=10)
        waiting = asyncio.Semaphore(10)

        async def one(number):
            async with waiting:
                event = {"number": number, "text": "naïve \U0001f600"}
                outcome = await pool.invoke(json.dumps(event).encode(), request_id=f"{ID[:-4]}{number:04}")
                assert isinstance(outcome, Success)
                assert json.loads(outcome.payload) == event

        await asyncio.gather(*(one(number) for number in range(200)))
        assert len(telemetry.of(FunctionInit)) <= 10
        assert telemetry.of(HandlerCrashed) == []
        assert telemetry.of(EnvironmentIntruder) == []

    async def test_gives_the_handler_its_context(self, official):
        context = await answer(official("answering.describe", memory_size=512, timeout=7.0))
        assert 0 < context["remaining"] <= 7000
        assert context["request_id"] == ID
        assert context["memory"] == "512"
        assert context["arn"] == "arn:aws:lambda:eu-west-1:000000000000:function:orders"

    async def test_reports_an_exception_and_is_used_again(self, official, telemetry):
        pool = official("failing.refuse")
        for _ in range(2):
            outcome = await call(pool)
            assert isinstance(outcome, FunctionError)
            assert (outcome.kind, outcome.error_type, outcome.message) == ("exception", "OrderRefusedError", "no stock")
            assert "in refuse" in outcome.stack[-1]
        assert len(telemetry.of(FunctionInit)) == 1

    async def test_reports_why_a_handler_cannot_be_loaded(self, official):
        with pytest.raises(StartFailed, match="Unable to import module 'no_such_module'") as caught:
            await official("no_such_module.handle").start()
        assert caught.value.error_type == "Runtime.ImportModuleError"

    async def test_a_handler_that_exits_is_an_exit(self, official):
        outcome = await call(official("failing.leave"), 3)
        assert outcome == FunctionError(
            "exit", "Runtime.ExitError", f"RequestId: {ID} Error: Runtime exited with error: exit status 3"
        )

    async def test_a_handler_that_hangs_is_killed_and_what_it_printed_kept(self, official, telemetry):
        outcome = await call(official("failing.hang", timeout=0.5), 60)
        assert isinstance(outcome, FunctionError)
        assert outcome.kind == "timeout"
        (late,) = telemetry.of(HandlerTimeout)
        assert not is_running(late.pid)
        assert ("about to hang", ID) in lines(telemetry)

    async def test_takes_a_6_mb_event(self, official):
        event = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
        assert await official("answering.echo").invoke(event, request_id=ID) == Success(event)

    async def test_the_longest_answer_arrives_and_a_longer_one_is_too_large(self, official):
        pool = official("answering.sized")
        longest = await call(pool, MAX_RESPONSE_BYTES)
        assert isinstance(longest, Success)
        assert len(longest.payload) == MAX_RESPONSE_BYTES
        assert await call(pool, MAX_RESPONSE_BYTES + 1) == RESPONSE_TOO_LARGE
        assert await call(pool, 10) == Success(b'"xxxxxxxx"')

    async def test_the_example_runs(self, official):
        pool = official("orders.handler", working_directory=str(EXAMPLES))
        assert await answer(pool, RECORDS) == {"batchItemFailures": [{"itemIdentifier": "b"}]}


def test_the_configuration_of_the_examples_is_valid():
    lint = [sys.executable, "-m", "esmd", "lint", "--strict", str(EXAMPLES / "esmd.yaml")]
    linted = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


# --- Node, through our bootstrap


@needs_node
class TestNode:
    @pytest.fixture
    def node(self, make_program, tmp_path):
        """Makes a function of a handler in JavaScript; the file's ending says what kind of module it is."""

        def build(file, program, *, handler=None, **changes):
            shutil.copy(EXAMPLES / "bootstrap.mjs", tmp_path)
            (tmp_path / file).write_text(textwrap.dedent(program))
            name = file.partition(".")[0]
            handler = handler or f"{name}.handler"
            return make_program(["node", "bootstrap.mjs"], handler=handler, working_directory=str(tmp_path), **changes)

        return build

    def test_the_bootstrap_is_short(self):
        assert len((EXAMPLES / "bootstrap.mjs").read_text().splitlines()) <= 80

    @pytest.mark.parametrize(
        ("file", "program"),
        [
            ("orders.mjs", "export const handler = async (event) => event;"),
            ("orders.mjs", "export const handler = (event) => event;"),
            ("orders.cjs", "exports.handler = async (event) => event;"),
            ("orders.js", "module.exports = { handler(event) { return event; } };"),
            ("orders.cjs", "const all = { handler: (event) => event }; module.exports = Object.assign({}, all);"),
        ],
    )
    async def test_runs_handlers_of_both_kinds_of_module(self, node, file, program):
        event = {"text": "naïve \U0001f600 \u2028", "n": [1, None]}
        pool = node(file, program)
        assert [await answer(pool, event) for _ in range(3)] == [event] * 3

    async def test_an_answer_of_nothing_is_null(self, node):
        assert await call(node("orders.mjs", "export const handler = () => {};")) == Success(b"null")

    async def test_a_handler_may_be_inside_an_object(self, node):
        program = "export const shop = { handler: async () => 1 };"
        assert await answer(node("orders.mjs", program, handler="orders.shop.handler")) == 1

    async def test_gives_the_handler_its_context(self, node):
        program = """
            export const handler = async (event, context) =>
              ({ ...context, remaining: context.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID });
        """
        context = await answer(node("orders.mjs", program, timeout=7.0, memory_size=512))
        assert 0 < context.pop("remaining") <= 7000
        assert context.pop("trace").startswith("Root=1-")
        assert "/[$LATEST]" in context.pop("logStreamName")
        assert context == {
            "awsRequestId": ID,
            "invokedFunctionArn": "arn:aws:lambda:eu-west-1:000000000000:function:orders",
            "functionName": "orders",
            "functionVersion": "$LATEST",
            "memoryLimitInMB": "512",
            "logGroupName": "/aws/lambda/orders",
        }

    @pytest.mark.parametrize(
        ("program", "error_type", "message"),
        [
            ("export const handler = async () => { throw new RangeError('no stock') };", "RangeError", "no stock"),
            ("export const handler = () => { throw new RangeError('no stock') };", "RangeError", "no stock"),
            ("export const handler = async () => { throw 'no stock' };", "string", "no stock"),
            ("export const handler = async () => { throw undefined };", "undefined", "undefined"),
            ("export const handler = async () => 1n;", "TypeError", "Do not know how to serialize a BigInt"),
        ],
    )
    async def test_an_error_is_a_function_error_and_costs_no_environment(
        self, node, telemetry, program, error_type, message
    ):
        pool = node("orders.mjs", program)
        for _ in range(2):
            outcome = await call(pool)
            assert isinstance(outcome, FunctionError)
            assert (outcome.kind, outcome.error_type, outcome.message) == ("exception", error_type, message)
        assert len(telemetry.of(FunctionInit)) == 1

    @pytest.mark.parametrize(
        ("program", "handler", "message"),
        [
            ("import 'no-such-package';", "orders.handler", "Cannot find package 'no-such-package'"),
            ("throw new Error('no stock');", "orders.handler", "no stock"),
            ("export const handler = 5;", "orders.handler", "has no function handler"),
            ("export const handler = () => {};", "audit.handler", "There is no audit.mjs, .js or .cjs in "),
            ("export const handler = () => {};", "orders", "The handler has to be file.function, not 'orders'"),
        ],
    )
    async def test_says_why_a_handler_cannot_be_loaded(self, node, program, handler, message):
        with pytest.raises(StartFailed, match=message):
            await node("orders.mjs", program, handler=handler).start()

    async def test_a_promise_that_nobody_awaits_and_fails_ends_it(self, node):
        program = "export const handler = () => { Promise.reject(new Error('lost')); return new Promise(() => {}); };"
        outcome = await call(node("orders.mjs", program))
        assert isinstance(outcome, FunctionError)
        assert outcome.kind == "exit"

    async def test_is_killed_at_its_timeout(self, node, telemetry):
        pool = node("orders.mjs", "export const handler = () => { for (;;); };", timeout=0.5)
        await pool.start()
        outcome = await call(pool)
        assert isinstance(outcome, FunctionError)
        assert outcome.kind == "timeout"
        assert not is_running(telemetry.of(HandlerTimeout)[0].pid)

    async def test_6_mb_come_and_go(self, node):
        event = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
        pool = node("orders.mjs", "export const handler = async (event) => event;")
        assert await pool.invoke(event, request_id=ID) == Success(event)

    async def test_an_answer_that_is_too_large_is_a_function_error(self, node):
        pool = node("orders.mjs", "export const handler = async (event) => 'x'.repeat(event);")
        assert await call(pool, MAX_RESPONSE_BYTES) == RESPONSE_TOO_LARGE

    async def test_what_is_printed_belongs_to_its_invocation(self, node, telemetry):
        program = "console.log('loading'); export const handler = async (event) => console.log('working');"
        await call(node("orders.mjs", program))
        assert lines(telemetry) == [("loading", None), ("working", ID)]

    @pytest.mark.parametrize(
        ("handler", "result"),
        [("orders.handler", {"batchItemFailures": [{"itemIdentifier": "b"}]}), ("audit.handler", {"records": 2})],
    )
    async def test_the_examples_run(self, make_program, handler, result):
        pool = make_program(["node", "bootstrap.mjs"], handler=handler, working_directory=str(EXAMPLES))
        assert await answer(pool, RECORDS) == result


# --- a shell script


@needs_curl
class TestShell:
    @pytest.fixture
    def shell(self, make_program, tmp_path):
        """Makes the example's function with another `handle`."""

        def build(handle=None, **changes):
            text = (EXAMPLES / "handler.sh").read_text()
            if handle is not None:
                own = next(line for line in text.splitlines() if line.startswith("handle()"))
                text = text.replace(own, f"handle() {{ {handle}; }}")
            script = tmp_path / "handler.sh"
            script.write_text(text)
            script.chmod(0o755)
            changes.setdefault("environment", {"TMPDIR": str(tmp_path)})
            return make_program(["./handler.sh"], working_directory=str(tmp_path), **changes)

        return build

    def test_the_handler_is_short(self):
        assert len((EXAMPLES / "handler.sh").read_text().splitlines()) <= 20

    async def test_answers(self, shell, telemetry):
        pool = shell()
        assert [await answer(pool, RECORDS) for _ in range(5)] == [{"records": 2}] * 5
        assert len(telemetry.of(FunctionInit)) == 1
        assert telemetry.of(EnvironmentIntruder) == []

    async def test_a_handler_that_fails_is_a_function_error(self, shell, telemetry):
        pool = shell("echo out of paper >&2; false")
        assert await call(pool) == FunctionError("exception", "Handler.Failed", "see the log")
        assert lines(telemetry) == [("out of paper", ID)]

    async def test_takes_6_mb_and_gives_them_back(self, shell):
        event = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
        assert await shell("cat").invoke(event, request_id=ID) == Success(event)

    async def test_an_answer_that_is_too_large_is_a_function_error(self, shell):
        assert await call(shell(f"head -c {MAX_RESPONSE_BYTES + 1} /dev/zero")) == RESPONSE_TOO_LARGE

    async def test_at_the_timeout_all_it_started_is_gone(self, shell, telemetry, tmp_path):
        pool = shell("echo $$ > shell; exec sleep 60", timeout=0.5)
        outcome = await call(pool)
        assert isinstance(outcome, FunctionError)
        assert outcome.kind == "timeout"
        assert not is_running(telemetry.of(HandlerTimeout)[0].pid)
        assert not is_running(int((tmp_path / "shell").read_text()))

    async def test_leaves_cleanly(self, shell, telemetry, tmp_path):
        pool = shell()
        await pool.start()
        assert list(tmp_path.glob("tmp.*"))
        await pool.close()
        assert list(tmp_path.glob("tmp.*")) == []
        assert lines(telemetry) == []
        assert [event.reason for event in telemetry.of(EnvironmentStopped)] == ["shutdown"]
