"""Functions that no mapping is to use any more: closed when the last batch that they run has come to its end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from esmd.observe.daemon_events import InternalError
from esmd.observe.stacks import stack_of
from esmd.tasks import Lasting, all_ended

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry


class Retired:
    """Closes functions. Make it inside the running loop."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._left: dict[asyncio.Event, tuple[Function, Lasting]] = {}

    def take(self, function: Function, *, after: Iterable[asyncio.Event]) -> asyncio.Event:
        """Close `function` once all of `after` are set; the event is set when it is closed."""
        closed = asyncio.Event()
        work = partial(self._close, function, tuple(after), closed)
        self._left[closed] = function, Lasting(work, name=f"function {function.name}")
        return closed

    async def close(self) -> None:
        """Close all that are left, now; also where this is cancelled."""
        for _, closing in self._left.values():
            closing.cancel()
        try:
            if self._left:
                await asyncio.wait([closing.ended for _, closing in self._left.values()])
        finally:
            await all_ended(*(function.close() for function, _ in self._left.values()))
            self._left.clear()

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
                    stack=stack_of(error),
                )
            )
        self._left.pop(closed, None)
        closed.set()
