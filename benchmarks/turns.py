"""Rounds for the guard: the floor and the daemon, each with a fake AWS of its own, in turns of a quarter of a second.

Both are started once. Whose turn it is not is stopped (SIGSTOP), so that a round costs no new start, and what else the
machine does meets both alike. Each function gives the shares of one round after another: the floor's figure by the daemon's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks import meters, moments
from benchmarks.run import SETTLING, RunError, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.fake.spec import FakeSpec
    from benchmarks.run import Running
    from benchmarks.subjects import Subject

_WINDOW = 0.25
_CATCHING_UP = 0.02
"""Seconds for what came while it was stopped."""

_LATENCY_SECONDS = 1.5

_WARM_UP = 20


def throughput(name: str, floor: Subject, daemon: Subject, spec: FakeSpec) -> Iterator[dict[str, float]]:
    """By the CPU of the first process per message."""
    with contextlib.ExitStack() as stack:
        both = [_at_work(stack, subject, spec) for subject in (floor, daemon)]
        while True:
            base, ours = (_turn(each) for each in both)
            yield {name: base / ours}


def _at_work(stack: contextlib.ExitStack, subject: Subject, spec: FakeSpec) -> Running:
    """Start one, let it settle, stop it; at the end let it go on, drain and be checked."""
    at_work = stack.enter_context(running(subject, spec))
    stack.callback(_finish, at_work)
    at_work.wait_for(lambda: at_work.done > 0, what="message came through")
    at_work.settle(SETTLING)
    os.kill(at_work.process.pid, signal.SIGSTOP)
    return at_work


def _finish(at_work: Running) -> None:
    if at_work.process.poll() is None:
        os.kill(at_work.process.pid, signal.SIGCONT)
        at_work.stop()
        at_work.check()


def _turn(at_work: Running) -> float:
    """CPU seconds per message in one window."""
    pid = at_work.process.pid
    os.kill(pid, signal.SIGCONT)
    time.sleep(_CATCHING_UP)
    used, done, until = meters.cpu_of(pid), at_work.done, time.monotonic() + _WINDOW
    # On a busy machine it may be long before it runs at all.
    at_work.wait_for(lambda: time.monotonic() > until and at_work.done > done, what="progress")
    used, done = meters.cpu_of(pid) - used, at_work.done - done
    os.kill(pid, signal.SIGSTOP)
    return used / done


def latency(name: str, floor: Subject, daemon: Subject, spec: FakeSpec) -> Iterator[dict[str, float]]:
    """By the lower quartile of the latencies, both at work at once: together they need a few percent of a core.

    The quartile, because what other work on the machine adds is in the greater ones; and new processes for each round,
    because two of them differ more than two moments of one.
    """
    while True:
        with contextlib.ExitStack() as stack:
            both = [stack.enter_context(running(subject, spec)) for subject in (floor, daemon)]
            for each in both:
                each.wait_for(lambda each=each: each.fake.count("first_poll_ns") > 0, what="first poll")  # type: ignore[misc]
            time.sleep(spec.start_after + _LATENCY_SECONDS)
            ages = [each.tally.samples[_WARM_UP:] for each in both]
            if min(map(len, ages)) < spec.rate * _LATENCY_SECONDS / 2:
                came = " and ".join(str(len(each)) for each in ages)
                raise RunError(f"{daemon.name}: only {came} messages came through\n{both[1].log[-2000:]}")
        base, ours = (statistics.quantiles(each, n=4)[0] for each in ages)
        yield {name: base / ours}


def calls(both: Subject, spec: FakeSpec) -> Iterator[dict[str, float]]:
    """By the CPU of each kind of call of `floor` and `wire`, which `both` is: blocks of one process, then of another."""
    while True:
        found = moments.blocks_of_calls(both, spec)
        for number in range(len(found["floor"]["receive_us"])):
            yield {
                kind.removesuffix("_us").replace("_", "-"): base[number] / found["wire"][kind][number]
                for kind, base in found["floor"].items()
            }
