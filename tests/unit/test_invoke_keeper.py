"""The keeper: what lives when the daemon ends is killed, whatever becomes of the keeper in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.invocations import is_running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server  # it starts processes

OWNER = """
import subprocess, sys
from esmd.invoke import keeper
programs = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(3)]
for program in programs:
    keeper.watch(program.pid)
programs[2].kill()
programs[2].wait()
keeper.forget(programs[2].pid)
print(keeper._keeper._process.pid, *(program.pid for program in programs), flush=True)
for line in sys.stdin:
    keeper.watch(programs[0].pid)
    print(keeper._keeper._process.pid, flush=True)
"""


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    """A process that has started three programs, one of which has ended; it prints the pids, the keeper's first."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        yield process
        process.kill()


def pids(owner: subprocess.Popen[str]) -> list[int]:
    assert owner.stdout is not None
    return [int(word) for word in owner.stdout.readline().split()]


def ask(owner: subprocess.Popen[str]) -> int:
    """Let the owner name a group again; the keeper's pid."""
    assert owner.stdin is not None
    owner.stdin.write("again\n")
    owner.stdin.flush()
    (keeper,) = pids(owner)
    return keeper


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_programs_end_with_the_process_that_started_them_however_it_ends(
    owner: subprocess.Popen[str], how: signal.Signals
) -> None:
    keeper, first, second, _ = pids(owner)
    assert is_running(first)
    assert is_running(second)
    owner.send_signal(how)
    await until(lambda: not any(is_running(pid) for pid in (first, second, keeper)))


async def test_an_orderly_end_takes_them_along_too(owner: subprocess.Popen[str]) -> None:
    _, first, second, _ = pids(owner)
    assert owner.stdin is not None
    owner.stdin.close()
    assert owner.wait(20) == 0
    assert not any(is_running(pid) for pid in (first, second))


async def test_signals_to_the_group_of_the_terminal_do_not_reach_the_keeper(owner: subprocess.Popen[str]) -> None:
    keeper, *_ = pids(owner)
    os.kill(keeper, signal.SIGTERM)
    os.kill(keeper, signal.SIGINT)
    assert os.getsid(keeper) == keeper
    assert ask(owner) == keeper


async def test_a_keeper_that_was_killed_is_replaced_and_kills_nothing(owner: subprocess.Popen[str]) -> None:
    keeper, first, second, _ = pids(owner)
    os.kill(keeper, signal.SIGKILL)
    await until(lambda: ask(owner) != keeper)
    assert is_running(first)
    assert is_running(second)
    owner.kill()
    await until(lambda: not any(is_running(pid) for pid in (first, second)))
