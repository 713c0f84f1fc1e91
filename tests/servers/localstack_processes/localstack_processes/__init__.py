"""Lets LocalStack run Python functions of Lambda as processes of this host, where it would ask for Docker.

LAMBDA_RUNTIME_EXECUTOR=processes chooses it. Nothing is isolated and layers are left out: it is for tests only.
"""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired

from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

WORKER = [sys.executable, "-s", "-u", str(Path(__file__).with_name("worker.py"))]


class ProcessExecutor(RuntimeExecutor):
    """One execution environment: a process that is started for an invocation, and anew after it ended."""

    process = None

    def start(self, env_vars):
        self.prepare_version(self.function_version)
        folder = str(self.function_version.config.code.get_unzipped_code_location())
        given = {"PATH": os.environ["PATH"], **env_vars, "PYTHONPATH": folder}
        self.place = {"cwd": folder, "env": {name: str(value) for name, value in given.items()}}

    def invoke(self, payload):
        request_id, seconds = payload["invoke-id"], self.function_version.config.timeout
        self.process = process = self.process or Popen(WORKER, stdin=PIPE, stdout=PIPE, **self.place)
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), process.kill()))
        timer.start()
        answer = ask(process, payload)
        timer.cancel()
        if answer is None:
            exited = f"Runtime exited with error: exit status {self.stop(patience=1)}"
            timed_out = f"Task timed out after {seconds:.2f} seconds"
            kind, text = ("Sandbox.Timedout", timed_out) if late.is_set() else ("Runtime.ExitError", exited)
            error = {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {text}"}
            answer = {"payload": json.dumps(error), "is_error": True, "logs": ""}
        log = f"START RequestId: {request_id} Version: $LATEST\n{answer['logs']}END RequestId: {request_id}\n"
        return InvocationResult(request_id, answer["payload"].encode(), is_error=answer["is_error"], logs=log)

    def stop(self, patience=0):
        """The exit status of the process, which has `patience` seconds to end by itself."""
        process, self.process = self.process, None
        try:
            return process and process.wait(patience)
        except TimeoutExpired:
            process.kill()
            return process.wait()

    def get_address(self):
        return "127.0.0.1"

    get_endpoint_from_executor = get_address

    def get_logs(self):
        return ""

    get_runtime_endpoint = get_logs  # a process is asked through its pipes

    @classmethod
    def prepare_version(cls, function_version):
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version):
        function_version.config.code.destroy_cached()


def ask(process, question):
    """The worker's answer; None if it ended instead."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
    line = process.stdout.readline()
    return json.loads(line) if line.endswith(b"\n") else None


class Plugin(RuntimeExecutorPlugin):
    name = "processes"

    def load(self, *_, **__):
        return ProcessExecutor
