"""Stopping in two steps: every row of the table, in every order that matters."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from esmd.shutdown import Shutdown

INT, TERM = signal.SIGINT, signal.SIGTERM


def state(shutdown: Shutdown) -> tuple[bool, bool, str, bool]:
    return (shutdown.drain.is_set(), shutdown.halt.is_set(), shutdown.reason, shutdown.interrupted)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], (False, False, "", False)),
        ([INT], (True, False, "SIGINT", False)),
        ([TERM], (True, False, "SIGTERM", False)),
        (["idle"], (True, False, "idle", False)),
        ([INT, INT], (True, True, "SIGINT", True)),
        ([TERM, TERM], (True, True, "SIGTERM", False)),
        ([TERM, INT], (True, True, "SIGTERM", True)),
        ([INT, TERM], (True, True, "SIGINT", False)),
        # who drains because it is idle and is then interrupted was asked twice
        (["idle", INT], (True, True, "idle", True)),
        (["idle", TERM], (True, True, "idle", False)),
        # the program's own wish never halts, and the first reason stays
        ([TERM, "idle"], (True, False, "SIGTERM", False)),
        (["fail-fast", "idle"], (True, False, "fail-fast", False)),
        # what comes after the halt changes nothing about how it ended
        ([INT, INT, TERM], (True, True, "SIGINT", True)),
        ([TERM, TERM, INT], (True, True, "SIGTERM", False)),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
async def test_what_is_asked_decides(asked, expected):
    shutdown = Shutdown()
    for each in asked:
        if isinstance(each, signal.Signals):
            shutdown.received(each)
        else:
            shutdown.request(each)
    assert state(shutdown) == expected


async def test_a_stop_asked_for_before_anybody_waits_is_not_lost():
    shutdown = Shutdown()
    shutdown.received(TERM)
    async with asyncio.timeout(1):
        await shutdown.drain.wait()


@pytest.mark.parametrize("number", [INT, TERM])
async def test_signals_are_heard_inside_and_left_alone_outside(number):
    shutdown = Shutdown()
    before = signal.getsignal(number)
    with shutdown.signals():
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await shutdown.drain.wait()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await shutdown.halt.wait()
    assert shutdown.interrupted is (number is INT)
    restored = signal.getsignal(number)
    assert restored in {before, signal.default_int_handler, signal.SIG_DFL}
