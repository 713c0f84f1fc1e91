"""The memory limit: what a process and its children hold, and what becomes of one that holds too much."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from esmd.invoke import process as process_module
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.memory import MEGABYTE, resident_bytes
from esmd.invoke.pool import EnvironmentPool
from esmd.mappings.outcomes import FunctionError, Success
from esmd.observe.events import EnvironmentKilled, FunctionInitFailed, HandlerCrashed

from support.invocations import ID, Recorder, function, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process holds")

TOO_MUCH = f"RequestId: {ID} Error: Runtime exited with error: signal: killed"


@pytest.fixture
def telemetry():
    return Recorder()


def pool(folder, telemetry, text, **changes):
    (folder / "app.py").write_text(text)
    spec = function("app:handle", python_path=(str(folder),), **changes)
    return EnvironmentPool(spec, launch=PythonEnvironment.launch, telemetry=telemetry)


@linux
def test_a_process_is_counted_with_its_children():
    alone = resident_bytes(os.getpid(), above=1 << 40)
    hold = "import sys; held = bytearray(64 * 1024 * 1024); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        together = resident_bytes(os.getpid(), above=1 << 40)
        child.stdin.close()
    assert alone > 5 * MEGABYTE
    assert together - alone > 60 * MEGABYTE


FORK = """
import os, sys
held = bytearray(b"x") * (64 * 1024 * 1024)
for _ in range(3):
    if not os.fork():
        sys.stdin.read()
        os._exit(0)
print(flush=True)
sys.stdin.read()
"""


@linux
def test_pages_that_forked_children_share_count_once_where_it_matters():
    with subprocess.Popen([sys.executable, "-c", FORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        parent.stdout.readline()
        quick = resident_bytes(parent.pid, above=1 << 40)
        exact = resident_bytes(parent.pid, above=128 * MEGABYTE)
        parent.stdin.close()
    assert quick > 4 * 64 * MEGABYTE
    assert 64 * MEGABYTE < exact < 128 * MEGABYTE


def test_of_a_process_that_does_not_exist_nothing_is_known():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert resident_bytes(child.pid, above=0) is None


@linux
async def test_an_invocation_above_the_limit_is_out_of_memory(tmp_path, telemetry):
    text = """
import time
def handle(event, context):
    held = bytearray(b"x") * (event * 1024 * 1024)
    time.sleep(0 if event < 128 else 60)
"""
    invoker = pool(tmp_path, telemetry, text, memory_limit=128)
    assert await invoker.invoke(b"1", request_id=ID) == Success(b"null")
    outcome = await invoker.invoke(b"192", request_id=ID)
    assert outcome == FunctionError("exit", "Runtime.OutOfMemory", TOO_MUCH)
    (killed,) = telemetry.of(EnvironmentKilled)
    assert (killed.reason, killed.request_id) == ("memory", ID)
    assert 128 <= killed.memory_mb < 400
    assert telemetry.of(HandlerCrashed) == []
    assert await invoker.invoke(b"1", request_id=ID) == Success(b"null")
    await invoker.close()


@linux
async def test_a_child_of_the_handler_counts(tmp_path, telemetry):
    text = """
import subprocess, sys
def handle(event, context):
    subprocess.run([sys.executable, "-c", "held = bytearray(192 * 1024 * 1024); import time; time.sleep(60)"])
"""
    invoker = pool(tmp_path, telemetry, text, memory_limit=128)
    assert await invoker.invoke(b"1", request_id=ID) == FunctionError("exit", "Runtime.OutOfMemory", TOO_MUCH)
    await invoker.close()


@linux
async def test_loading_above_the_limit_is_out_of_memory(tmp_path, telemetry):
    invoker = pool(tmp_path, telemetry, "held = bytearray(192 << 20); import time; time.sleep(60)", memory_limit=128)
    assert await invoker.invoke(b"1", request_id=ID) == FunctionError("init", "Runtime.OutOfMemory", TOO_MUCH)
    (said,) = telemetry.of(FunctionInitFailed)
    assert said.error_type == "Runtime.OutOfMemory"
    await invoker.close()


@pytest.fixture
def looks(monkeypatch):
    """How often memory was looked at, and never found."""
    count = []
    monkeypatch.setattr(process_module, "resident_bytes", lambda pid, above: count.append(pid))
    monkeypatch.setattr(process_module, "MEMORY_SECONDS", 0.001)
    return count


async def test_memory_is_looked_at_only_during_work(tmp_path, telemetry, looks):
    text = "import time\ndef handle(event, context): time.sleep(event)"
    invoker = pool(tmp_path, telemetry, text, memory_limit=128)
    await invoker.start()
    await until(lambda: looks)
    await asyncio.sleep(0.01)
    looks.clear()
    await asyncio.sleep(0.02)
    assert looks == []
    assert await invoker.invoke(b"0.05", request_id=ID) == Success(b"null")  # what cannot be found is no failure
    assert looks != []
    await invoker.close()


async def test_without_a_limit_nobody_looks(tmp_path, telemetry, looks):
    invoker = pool(tmp_path, telemetry, "import time\ndef handle(event, context): time.sleep(event)")
    await invoker.invoke(b"0.02", request_id=ID)
    assert looks == []
    await invoker.close()
