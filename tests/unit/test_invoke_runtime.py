"""The Python runtime, as a module and as a script."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from esmd.invoke import protocol, runtime
from esmd.invoke.environment import WORKER

from support.invocations import HANDLERS, is_running

FACTS = {"name": "orders", "arn": "arn", "memory_size": 128, "log_stream": "stream"}


WHERE_AT_HAND = {"pydantic_core"}
"""Tried for large events; `test_invoke_worker_events.py` does without."""


@pytest.mark.parametrize("file", [runtime.__file__, WORKER])
def test_it_imports_nothing_but_the_standard_library(file):
    tree = ast.parse(Path(file).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names - WHERE_AT_HAND <= sys.stdlib_module_names


def test_its_limit_is_the_contracts():
    assert runtime.MAX_RESPONSE_BYTES == protocol.MAX_RESPONSE_BYTES


def test_the_remaining_time_follows_the_clock_and_is_never_negative():
    now = 100.0
    context = runtime.LambdaContext(**FACTS, request_id="id", deadline=101.5, clock=lambda: now)
    assert context.get_remaining_time_in_millis() == 1500
    now = 102.0
    assert context.get_remaining_time_in_millis() == 0
    assert repr(context) == "LambdaContext(function_name='orders', aws_request_id='id')"


def test_a_context_like_another_shares_nothing_that_a_handler_could_change():
    pattern = runtime.LambdaContext(**FACTS, request_id="", deadline=0.0, clock=lambda: 100.0)
    first = runtime.context_like(pattern, "one", 101.5)
    first.identity.cognito_identity_id = first.mine = "mine"
    second = runtime.context_like(pattern, "two", 103.0)
    made = runtime.LambdaContext(**FACTS, request_id="two", deadline=103.0, clock=lambda: 100.0)
    assert vars(second).keys() == vars(made).keys()
    assert second.identity.cognito_identity_id is None
    assert (repr(second), second.get_remaining_time_in_millis()) == (repr(made), 3000)


def public(thing):
    return {name: type(getattr(thing, name)) for name in dir(thing) if not name.startswith("_")}


def test_the_context_has_all_that_lambdas_own_has(monkeypatch):
    lambda_context = pytest.importorskip("awslambdaric.lambda_context")
    monkeypatch.setenv("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/orders")
    monkeypatch.setenv("AWS_LAMBDA_LOG_STREAM_NAME", FACTS["log_stream"])
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
    theirs = lambda_context.LambdaContext("id", None, None, 0, "arn")
    ours = runtime.LambdaContext(**FACTS, request_id="id", deadline=0.0)
    expected = public(theirs)
    assert expected.pop("identity") is lambda_context.CognitoIdentity
    assert expected.items() <= public(ours).items()
    for name in expected:
        value = getattr(theirs, name)
        if not callable(value):
            assert getattr(ours, name) == value, name
    for method in ("get_remaining_time_in_millis", "w3c"):
        assert getattr(ours, method)() == getattr(theirs, method)()
    assert {name: getattr(ours.identity, name) for name in public(theirs.identity)} == {
        "cognito_identity_id": None,
        "cognito_identity_pool_id": None,
    }


def test_a_context_logs_what_it_is_given_as_it_is(capsys):
    context = runtime.LambdaContext(**FACTS, request_id="id", deadline=0.0)
    context.log("one")
    context.log(2)
    assert capsys.readouterr().out == "one2"


@pytest.mark.parametrize(
    ("request_id", "root", "parent"),
    [
        ("8f3c5d0e-0000-4000-8000-000000000001", "8f3c5d0e0000400080000000", "8000000000000001"),
        ("1", "6b86b273ff34fce19d6b804e", "9d6b804eff5a3f57"),
        ("X" * 32, None, None),
    ],
)
def test_a_trace_header_is_made_of_the_request_id(monkeypatch, request_id, root, parent):
    monkeypatch.setattr(runtime.time, "time", lambda: 1_700_000_000.9)
    header = runtime.trace_header(request_id)
    assert re.fullmatch(r"Root=1-6553f100-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", header)
    assert header == runtime.trace_header(request_id)
    if parent is not None:
        assert header == f"Root=1-6553f100-{root};Parent={parent};Sampled=0"


class Worker:
    """The runtime as the daemon runs it, with us in the daemon's place."""

    def __init__(self, handler, prelude="", folder=HANDLERS):
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(10)
        numbers = [str(theirs.fileno()), str(os.getpid())]
        command = [sys.executable, "-P", "-u", WORKER, *numbers]
        if prelude:
            run = f"import runpy; runpy.run_path({WORKER!r}, run_name='__main__')"
            command = [sys.executable, "-P", "-c", f"{prelude}; {run}", *numbers]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self.send(runtime.INIT, {"handler": handler, "python_path": [str(folder)], "function": FACTS}, b"")

    def send(self, kind, head, body):
        text = json.dumps(head).encode()
        self.channel.sendall(runtime.FRAME.pack(kind, len(text), len(body)) + text + body)

    def receive(self):
        header = self.channel.recv(runtime.FRAME.size, socket.MSG_WAITALL)
        kind, head, length = runtime.FRAME.unpack(header)
        assert head == 0
        return kind, self.channel.recv(length, socket.MSG_WAITALL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.process.kill()
        self.process.wait()


def test_it_speaks_frames_and_leaves_when_the_daemon_hangs_up():
    with Worker("answering:echo") as worker:
        assert worker.receive() == (runtime.READY, b"")
        worker.send(runtime.INVOKE, {"request_id": "1", "deadline": 0}, b'{"a": 1}')
        assert worker.receive() == (runtime.ANSWER, b'{"a": 1}')
        worker.channel.shutdown(socket.SHUT_WR)
        assert worker.process.wait(10) == 0


def test_each_invocation_has_a_trace_of_its_own():
    with Worker("answering:environment") as worker:
        assert worker.receive()[0] == runtime.READY
        for number in "12":
            worker.send(runtime.INVOKE, {"request_id": number, "deadline": 0}, b"null")
            found = json.loads(worker.receive()[1])["_X_AMZN_TRACE_ID"]
            assert found.partition("Root=1-")[2][8:] == runtime.trace_header(number).partition("Root=1-")[2][8:]


def test_a_module_may_have_any_name_though_the_runtime_has_it(tmp_path):
    for name in ("runtime", "worker", "memory"):
        (tmp_path / f"{name}.py").write_text("def handle(event, context): return __file__")
        with Worker(f"{name}:handle", folder=tmp_path) as worker:
            assert worker.receive()[0] == runtime.READY
            worker.send(runtime.INVOKE, {"request_id": "1", "deadline": 0}, b"null")
            assert json.loads(worker.receive()[1]) == str(tmp_path / f"{name}.py")


def test_it_answers_a_handler_that_does_not_load_with_an_error_object():
    with Worker("answering:missing") as worker:
        kind, body = worker.receive()
        assert kind == runtime.ERROR
        error = json.loads(body)
        assert error["errorType"] == "Runtime.HandlerNotFound"
        assert error["requestId"] == ""
        assert worker.process.wait(10) == 1


def test_where_there_is_no_parent_death_signal_a_watcher_ends_it_in_the_middle_of_an_invocation():
    with Worker("failing:hang", prelude="import sys; sys.platform = 'darwin'") as worker:
        assert worker.receive()[0] == runtime.READY
        worker.send(runtime.INVOKE, {"request_id": "1", "deadline": 0}, b"60")
        worker.channel.close()
        assert worker.process.wait(10) == -9


DAEMON = """
import asyncio, sys
from support.invocations import Recorder, function
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.pool import EnvironmentPool

async def main():
    spec = function("failing:hang", timeout=60.0)
    invoker = EnvironmentPool(spec, launch=PythonEnvironment.launch, telemetry=Recorder())
    event = '{"seconds": 60, "file": "%s"}' % sys.argv[1]
    await invoker.invoke(event.encode(), request_id="1")

asyncio.run(main())
"""


def test_kill_9_of_the_daemon_leaves_no_worker(tmp_path):
    pid_file = tmp_path / "pid"
    paths = os.pathsep.join([str(HANDLERS.parents[1]), str(Path(protocol.__file__).parents[2])])
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, str(pid_file)], env={**os.environ, "PYTHONPATH": paths})
    try:
        wait_for(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        worker = int(pid_file.read_text())
        assert is_running(worker)
    finally:
        daemon.kill()
        daemon.wait()
    wait_for(lambda: not is_running(worker))


def wait_for(true):
    import time

    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_worker_whose_daemon_is_gone_already_does_not_start():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = [str(theirs.fileno()), "1"]  # its parent is this process, not init
        command = [sys.executable, "-P", WORKER, *arguments]
        finished = subprocess.run(command, pass_fds=[theirs.fileno()], timeout=10, check=False)
    assert finished.returncode == 1
