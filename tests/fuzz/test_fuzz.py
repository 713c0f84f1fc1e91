"""No reader of foreign bytes lets an undocumented exception out, hangs, or keeps more than it may.

A few cases for each target run with every test run; `make fuzz CASES=100000` spreads as many over them. A find goes
into the regression tests of its reader, by name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fuzz.mutations import inputs
from fuzz.targets import TARGETS

QUICK_CASES = 40
HANG_SECONDS = 60
"""Nothing takes a thousandth of that; a case that does is not slow but stuck."""

CASES = int(os.environ.get("FUZZ_CASES", "0"))
BY_NAME = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


class Hang(BaseException):
    """A case that does not come to an end; no reader's own `except Exception` hides it."""


@contextlib.contextmanager
def no_hang():
    """Break off what is stuck, where there are signals to do it with."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stuck(_signal, _frame):
        raise Hang

    former = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def explore(target, **options):
    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **options)
    @given(inputs(target))
    def case(data):
        with no_hang():
            target.run(data)

    case()


@BY_NAME
def test_the_seeds_are_read(target):
    for seed in target.seeds:
        with no_hang():
            target.run(seed)


@pytest.mark.thorough
@BY_NAME
def test_bad_input_is_taken_as_documented(target):
    explore(target, max_examples=QUICK_CASES, phases=[Phase.generate, Phase.shrink], derandomize=True)


@pytest.mark.slow
@pytest.mark.skipif(not CASES, reason="make fuzz CASES=100000")
@BY_NAME
def test_much_bad_input_is_taken_as_documented(target):
    explore(target, max_examples=-(-CASES // len(TARGETS)), derandomize=False, print_blob=True)
