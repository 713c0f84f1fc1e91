"""Attempts to load a function: when the next may begin, and what is said."""

from __future__ import annotations

import asyncio

import pytest

from esmd.invoke.attempts import FIRST_SECONDS, LONGEST_SECONDS, Attempts
from esmd.mappings.outcomes import FunctionError
from esmd.observe.events import FunctionInit, FunctionInitFailed

from support.invocations import Recorder

pytestmark = pytest.mark.looptime


def failure(text):
    return FunctionError("init", "ValueError", text)


def said(telemetry):
    return [event.error_message for event in telemetry.of(FunctionInitFailed)]


async def test_pauses_double_up_to_the_longest_and_end_with_a_success():
    attempts = Attempts("orders", Recorder())
    assert attempts.pause == 0
    most = FIRST_SECONDS
    for number in range(1, 12):
        attempts.failed(failure("no"))
        assert attempts.failures == number
        assert 0.75 * most <= attempts.pause <= most
        most = min(LONGEST_SECONDS, 2 * most)
    await asyncio.sleep(LONGEST_SECONDS)
    assert (attempts.pause, attempts.failures) == (0, 11)
    attempts.succeeded(pid=7, seconds=0.25)
    assert (attempts.pause, attempts.failures) == (0, 0)


async def test_it_is_said_how_long_the_next_attempt_waits():
    telemetry = Recorder()
    attempts = Attempts("orders", telemetry)
    attempts.failed(failure("RequestId: 1 Error: no"), request_id="1")
    (event,) = telemetry.of(FunctionInitFailed)
    assert (event.function, event.error_type, event.error_message) == ("orders", "ValueError", "no")
    assert event.retry_in_s == pytest.approx(attempts.pause, abs=0.001)


async def test_a_reason_is_said_once_until_a_success_or_other_code():
    telemetry = Recorder()
    attempts = Attempts("orders", telemetry)
    for text in ("one", "two", "one", "two"):
        attempts.failed(failure(text))
    assert said(telemetry) == ["one", "two"]
    attempts.renew()
    assert (attempts.pause, attempts.failures) == (0, 4)
    attempts.failed(failure("one"))
    attempts.succeeded(pid=None, seconds=1.0)
    attempts.failed(failure("one"))
    assert said(telemetry) == ["one", "two", "one", "one"]
    (init,) = telemetry.of(FunctionInit)
    assert (init.function, init.pid, init.duration_ms, init.after_failures) == ("orders", None, 1000.0, 5)


async def test_reasons_that_never_repeat_are_not_kept_for_ever():
    attempts = Attempts("orders", Recorder())
    for number in range(1000):
        attempts.failed(failure(f"<object at {number:#x}>"))
    assert len(attempts._said) <= 32
