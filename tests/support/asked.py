"""Calls of a scenario that somebody may cancel: each in a task of its own, and made again where that was cancelled.

A walk strikes once. So a call that is cancelled twice has been cancelled by what was cancelled before, or hangs on to it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

MOST = 3
"""Calls until there is an answer, at most."""


async def asked(call: Callable[[], Awaitable[T]], *, again: tuple[type[Exception], ...] = ()) -> T:
    """What a call brings in the end.

    Args:
        call: makes it.
        again: errors that a call may end with whose work, elsewhere, was cancelled.
    """
    for left in reversed(range(MOST)):
        task: asyncio.Future[T] = asyncio.ensure_future(_own(call))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # of the scenario's own doing
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if task.cancelled():
            assert left, "it is cancelled again and again"
            continue
        error = task.exception()
        if error is None:
            return task.result()
        if not left or not isinstance(error, again):
            raise error
        await asyncio.sleep(0.01)
    raise AssertionError("unreachable")


async def _own(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()
