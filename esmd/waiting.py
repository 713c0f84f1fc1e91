"""The two waits of every loop: for a stop until a deadline, and for a wake-up until a deadline."""

from __future__ import annotations

import asyncio
import contextlib


async def stopped_before(stop: asyncio.Event, deadline: float) -> bool:
    """Wait until `deadline` (loop time) or stop, whichever is first; whether it was the stop."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await stop.wait()
    return stop.is_set()


async def woken(wake: asyncio.Event, deadline: float | None) -> None:
    """Wait until somebody sets `wake`; at `deadline` (loop time) it is set by itself."""
    loop = asyncio.get_running_loop()
    timer = None if deadline is None else loop.call_at(deadline, wake.set)
    try:
        await wake.wait()
    finally:
        if timer is not None:
            timer.cancel()
