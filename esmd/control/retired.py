"""Functions that no mapping is to use any more: closed when the last batch that they run has come to its end."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING

from esmd.observe.daemon_events import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry


class Retired:
    """Closes functions. Make it inside the running loop."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._left: dict[asyncio.Task[None], Function] = {}

    def take(self, function: Function, *, after: Iterable[asyncio.Event]) -> asyncio.Event:
        """Close `function` once all of `after` are set; the event is set when it is closed."""
        closed = asyncio.Event()
        task = asyncio.create_task(self._close(function, tuple(after), closed), name=f"function {function.name}")
        self._left[task] = function
        task.add_done_callback(self._left.pop)
        return closed

    async def close(self) -> None:
        """Close all that are left, now."""
        left = dict(self._left)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.gather(*(function.close() for function in left.values()))

    async def _close(self, function: Function, after: tuple[asyncio.Event, ...], closed: asyncio.Event) -> None:
        for event in after:
            await event.wait()
        try:
            await function.close()
        except Exception as error:  # noqa: BLE001 - the mappings that wait for this must go on
            self._telemetry.emit(
                InternalError(
                    where=f"function {function.name}",
                    error_type=type(error).__name__,
                    error_message=str(error),
                    stack=tuple(line.rstrip() for line in traceback.format_exception(error)),
                )
            )
        closed.set()
