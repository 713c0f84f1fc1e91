"""Who may speak to an environment's Runtime API: its own processes, and nobody else on this host."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys

import pytest

from esmd.invoke import command as command_module
from esmd.observe.events import (
    EnvironmentIntruder,
    EnvironmentStarted,
)

from support.invocations import answer
from support.programs import EXAMPLES, RECORDS, needs_curl, needs_node

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a token in the address does it")

TELLS_ITS_ADDRESS = """
    import subprocess, threading
    while True:
        id, event = ask()
        command = json.loads(event)
        if command == "address":
            said = address
        elif command == "work":
            time.sleep(0.1)
            said = "done"
        else:  # a request to this address, from here or from a child of ours
            at, by = command
            code = f'''if True:
                import http.client
                other = http.client.HTTPConnection("{at}", timeout=5)
                other.request("GET", "{base}invocation/next")
                print(other.getresponse().status)'''
            argv = {"child": [sys.executable, "-c", code], "orphan": ["setsid", sys.executable, "-c", code]}[by]
            said = int(subprocess.check_output(argv))
        post(f"invocation/{id}/response", json.dumps(said))
"""


def ask_from_here(address):
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/2018-06-01/runtime/invocation/next")
        response = connection.getresponse()
        return response.status, json.loads(response.read())["errorType"]
    finally:
        connection.close()


@linux
async def test_another_process_of_this_host_is_refused_and_takes_no_event(by_hand, telemetry):
    pool = by_hand(TELLS_ITS_ADDRESS)
    address = await answer(pool, "address")
    for _ in range(3):
        assert await asyncio.to_thread(ask_from_here, address) == (403, "AccessDenied")
    (intruder,) = telemetry.of(EnvironmentIntruder)
    assert intruder.pid == telemetry.of(EnvironmentStarted)[0].pid
    assert await answer(pool, "work") == "done"
    working = asyncio.create_task(answer(pool, "work"))
    await asyncio.sleep(0.02)
    assert await asyncio.to_thread(ask_from_here, address) == (403, "AccessDenied")
    assert await working == "done"


@linux
async def test_a_handler_cannot_take_another_environments_event(by_hand, telemetry):
    pool = by_hand(TELLS_ITS_ADDRESS, concurrency=2)
    first = asyncio.create_task(answer(pool, "work"))
    second = asyncio.create_task(answer(pool, "work"))
    assert await asyncio.gather(first, second) == ["done", "done"]
    pids = [event.pid for event in telemetry.of(EnvironmentStarted)]
    assert len(set(pids)) == 2
    address = await answer(pool, "address")  # of one, idle again by now
    working = asyncio.create_task(answer(pool, "work"))  # keeps that one busy
    await asyncio.sleep(0)
    assert await answer(pool, [address, "child"]) == 403
    assert await working == "done"
    (intruder,) = telemetry.of(EnvironmentIntruder)
    assert intruder.pid in pids


@linux
@pytest.mark.parametrize("by", ["child", "orphan"])
async def test_what_a_handler_started_may_speak_for_it(by_hand, by):
    pool = by_hand(TELLS_ITS_ADDRESS)
    address = await answer(pool, "address")
    assert await answer(pool, [address, by]) == 200  # the same event again: it has not been answered


async def test_where_clients_cannot_be_told_apart_the_address_has_a_token(by_hand, monkeypatch):
    monkeypatch.setattr(command_module.peers, "can_tell", lambda: False)
    pool = by_hand(
        """
        token = address.partition("/")[2]
        while True:
            connection.request("GET", base + "invocation/next")
            refused = connection.getresponse()
            refused.read()
            connection.request("GET", f"/{token}{base}invocation/next")
            response = connection.getresponse()
            response.read()
            id = response.headers["Lambda-Runtime-Aws-Request-Id"]
            connection.request("POST", f"/{token}{base}invocation/{id}/response", json.dumps([refused.status, len(token)]))
            connection.getresponse().read()
        """
    )
    status, length = await answer(pool)
    assert status == 404
    assert length >= 32


@needs_node
async def test_the_bootstrap_can_live_with_a_token(make_program, monkeypatch):
    monkeypatch.setattr(command_module.peers, "can_tell", lambda: False)
    pool = make_program(["node", "bootstrap.mjs"], handler="audit.handler", working_directory=str(EXAMPLES))
    assert await answer(pool, RECORDS) == {"records": 2}


@needs_curl
async def test_so_can_the_shell_handler(make_program, monkeypatch):
    monkeypatch.setattr(command_module.peers, "can_tell", lambda: False)
    pool = make_program(["./handler.sh"], working_directory=str(EXAMPLES))
    assert await answer(pool, RECORDS) == {"records": 2}
