"""A registered function as its mappings see it: started once, invoked by many, fair when places are few."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from esmd.mappings.outcomes import Outcome, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.invoke.protocol import Invoker


class Function:
    """Shares one invoker among mappings.

    Its concurrency is a limit over all of them. Without a free place `invoke` is throttled at once, as on Lambda;
    `take_place` then waits its turn, first come first served, so that no mapping starves another.
    """

    def __init__(self, name: str, invoker: Invoker) -> None:
        self.name = name
        self._invoker = invoker
        self._busy = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._listeners: list[Callable[[], None]] = []
        self._starting = asyncio.Lock()

    @property
    def limit(self) -> int:
        """Most invocations at once."""
        return self._invoker.limit

    @property
    def busy(self) -> int:
        """Places taken."""
        return self._busy

    @property
    def room(self) -> int:
        """Places that a new batch could take now; those who wait already come first."""
        # The invoker may count more than we do: a timed-out thread keeps its place until it ends.
        return max(0, self.limit - max(self._busy, self._invoker.running) - len(self._queue))

    def on_room(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever a place becomes free; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def start(self) -> None:
        """Make sure the function can run; mappings that share it start it one after the other.

        Raises:
            StartFailed: it cannot; the text says why.
        """
        if self.limit == 0:
            return
        async with self._starting:
            await self._invoker.start()

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Invoke now, or `Throttled`."""
        if not self.room:
            return Throttled()
        self._busy += 1
        return await self.invoke_in_place(event, request_id=request_id)

    async def take_place(self, patience: float) -> bool:
        """Wait up to `patience` seconds for a place, in turn; True if one was taken.

        A taken place must be used with `invoke_in_place`. Cancelling the wait takes none.
        """
        if self.room:
            self._busy += 1
            return True
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place was granted in the very moment we gave up
            else:
                with contextlib.suppress(ValueError):  # already passed over as cancelled
                    self._queue.remove(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    async def invoke_in_place(self, event: bytes, *, request_id: str) -> Outcome:
        """Invoke in a place that was taken before, and give it back."""
        try:
            return await self._invoker.invoke(event, request_id=request_id)
        finally:
            self._leave()

    async def close(self) -> None:
        """Let go of the environments."""
        await self._invoker.close()

    def _leave(self) -> None:
        """Hand the place to the first who waits, or free it."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1
        for listener in self._listeners:
            listener()
