"""The Python runtime, as a module and as a script."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from esmd.invoke import protocol, runtime

from support.invocations import HANDLERS, is_running

FACTS = {"name": "orders", "arn": "arn", "memory_size": 128, "log_stream": "stream"}


def test_it_imports_nothing_but_the_standard_library():
    tree = ast.parse(Path(runtime.__file__).read_text())
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names <= sys.stdlib_module_names


def test_its_limit_is_the_contracts():
    assert runtime.MAX_RESPONSE_BYTES == protocol.MAX_RESPONSE_BYTES


def test_the_remaining_time_follows_the_clock_and_is_never_negative():
    now = 100.0
    context = runtime.LambdaContext(**FACTS, request_id="id", deadline=101.5, clock=lambda: now)
    assert context.get_remaining_time_in_millis() == 1500
    now = 102.0
    assert context.get_remaining_time_in_millis() == 0
    assert repr(context) == "LambdaContext(function_name='orders', aws_request_id='id')"


class Worker:
    """The runtime as the daemon runs it, with us in the daemon's place."""

    def __init__(self, handler, prelude=""):
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(10)
        numbers = [str(theirs.fileno()), str(os.getpid())]
        command = [sys.executable, "-P", "-u", runtime.__file__, *numbers]
        if prelude:
            run = f"import runpy; runpy.run_path({runtime.__file__!r}, run_name='__main__')"
            command = [sys.executable, "-P", "-c", f"{prelude}; {run}", *numbers]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self.send(runtime.INIT, {"handler": handler, "python_path": [str(HANDLERS)], "function": FACTS}, b"")

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
from esmd.invoke.workers import WorkerInvoker

async def main():
    invoker = WorkerInvoker(function("failing:hang", timeout=60.0), telemetry=Recorder())
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
        command = [sys.executable, "-P", runtime.__file__, *arguments]
        finished = subprocess.run(command, pass_fds=[theirs.fileno()], timeout=10, check=False)
    assert finished.returncode == 1
