"""A SIGHUP reloads; one that comes while the daemon starts is neither its end nor forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from esmd.control.protocol import Reloaded
from esmd.control.triggers import hold_hangups, on_hangup
from esmd.shutdown import Shutdown

from support.invocations import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


class Reloads:
    """Counts the reloads that were asked for."""

    def __init__(self) -> None:
        self.count = 0
        self.asked = asyncio.Event()

    async def __call__(self) -> Reloaded:
        self.count += 1
        self.asked.set()
        return Reloaded(applied=True)


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


async def test_a_hangup_reloads():
    reloads = Reloads()
    with on_hangup(reloads, telemetry=Recorder(), shutdown=Shutdown()):
        hang_up()
        await reloads.asked.wait()
    assert reloads.count == 1


async def test_hangups_while_the_daemon_starts_become_one_reload_when_it_can():
    reloads = Reloads()
    hold_hangups()
    hang_up()
    hang_up()
    with on_hangup(reloads, telemetry=Recorder(), shutdown=Shutdown()):
        await reloads.asked.wait()
        await asyncio.sleep(0)
    assert reloads.count == 1


async def test_a_hangup_after_the_daemon_has_stopped_listening_does_not_end_the_process():
    reloads = Reloads()
    with on_hangup(reloads, telemetry=Recorder(), shutdown=Shutdown()):
        pass
    hang_up()
    with on_hangup(reloads, telemetry=Recorder(), shutdown=Shutdown()):
        await reloads.asked.wait()
    assert reloads.count == 1
