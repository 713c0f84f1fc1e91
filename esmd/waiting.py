"""The two waits of every loop: for a stop until a deadline, and for a wake-up until a deadline."""

from __future__ import annotations

import asyncio
import contextlib

_SLACK = 0.001
"""Seconds after a deadline at which a wait for it ends. A loop may wake up to its clock's resolution too early; whoever then
finds the deadline still ahead would wait for it again and again, without time going on."""


async def stopped_before(stop: asyncio.Event, deadline: float) -> bool:
    """Wait until `deadline` (loop time) or stop, whichever is first; whether it was the stop."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline + _SLACK):
            await stop.wait()
    return stop.is_set()


async def woken(wake: asyncio.Event, deadline: float | None) -> None:
    """Wait until somebody sets `wake`; at `deadline` (loop time) it is set by itself."""
    loop = asyncio.get_running_loop()
    timer = None if deadline is None else loop.call_at(deadline + _SLACK, wake.set)
    try:
        await wake.wait()
    finally:
        if timer is not None:
            timer.cancel()
