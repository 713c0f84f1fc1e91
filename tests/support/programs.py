"""Functions of programs that speak the Runtime API: made, watched, and gone at the end of a test."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from esmd.invoke import keeper
from esmd.invoke.command import CommandEnvironment
from esmd.invoke.pool import EnvironmentPool
from esmd.observe.events import EnvironmentStarted, HandlerOutput

from support.invocations import Recorder, command, has_zombies, is_running, until

EXAMPLES = Path(__file__).parents[2] / "examples" / "runtime-api"
RECORDS = {
    "Records": [
        {"messageId": "a", "body": '{"order": 7}', "eventSource": "aws:sqs"},
        {"messageId": "b", "body": "{}", "eventSource": "aws:sqs"},
    ]
}

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None, reason="needs Lambda's Python client: pip install awslambdaric"
)
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node 18 or later: install nodejs")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: install curl")

# A runtime by hand, for what no honest one does: `ask` returns an event, `post` a status.
BY_HAND = """
    import http.client, json, os, signal, socket, sys, time
    base = "/2018-06-01/runtime/"
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    connection = http.client.HTTPConnection(address.partition("/")[0])
    def ask(connection=connection):
        connection.request("GET", base + "invocation/next")
        response = connection.getresponse()
        return response.headers["Lambda-Runtime-Aws-Request-Id"], response.read()
    def post(path, body, headers={}, connection=connection):
        connection.request("POST", base + path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status
"""


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture
async def make_program(telemetry):
    """Makes functions of programs; at the end all are closed, and nothing is left of them."""
    pools = []
    keeper.ensure()  # one for all functions of the process: it stays
    descriptors = open_descriptors()

    def build(argv, **changes):
        pool = EnvironmentPool(command(argv, **changes), launch=CommandEnvironment.launch, telemetry=telemetry)
        pools.append(pool)
        return pool

    yield build
    for pool in pools:
        await pool.close()
    await until(lambda: open_descriptors() <= descriptors, seconds=2.0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [event.pid for event in telemetry.of(EnvironmentStarted) if is_running(event.pid)] == []
    assert not has_zombies()


@pytest.fixture
def by_hand(make_program, tmp_path):
    """Makes a function of a Python program that speaks the Runtime API by hand."""

    def build(program, **changes):
        file = tmp_path / "runtime.py"
        file.write_text(textwrap.dedent(BY_HAND) + textwrap.dedent(program))
        return make_program([sys.executable, str(file)], working_directory=str(tmp_path), **changes)

    return build


def open_descriptors():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def lines(telemetry):
    return [(event.message, event.request_id) for event in telemetry.of(HandlerOutput)]
