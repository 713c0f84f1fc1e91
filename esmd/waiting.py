"""The waits that everybody has: for a stop or a wake-up until a deadline, and for answers within a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from typing import Any

T = TypeVar("T")

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


async def answers_within(seconds: float, questions: Iterable[Coroutine[Any, Any, T]]) -> list[T | None]:
    """Ask all side by side; the answers in the order of the questions, None for those that took too long.

    None of them runs on afterwards, also where this is cancelled.
    """
    asking = [asyncio.create_task(question) for question in questions]
    if not asking:
        return []
    try:
        await asyncio.wait(asking, timeout=seconds)
    finally:
        for task in asking:
            task.cancel()
    return [task.result() if task.done() and not task.cancelled() else None for task in asking]
