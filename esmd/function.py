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

_LOOK_AGAIN = 0.25
"""Seconds between two looks at an invoker whose places are held by handlers that nobody awaits any more."""


class Function:
    """Shares one invoker among mappings.

    Its concurrency is a limit over all of them. Without a free place `invoke` is throttled at once, as on Lambda;
    `take_place` then waits its turn, first come first served, so that no mapping starves another.

    The invoker may count more places than we do: an environment that is loading, an inline handler that runs on after
    its timeout. Nobody awaits the latter and the invoker does not tell when it ends, so that it is looked for, as long
    as somebody could use its place.
    """

    def __init__(self, name: str, invoker: Invoker) -> None:
        self.name = name
        self._invoker = invoker
        self._busy = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._listeners: list[Callable[[], None]] = []
        self._starting = asyncio.Lock()
        self._looking: asyncio.TimerHandle | None = None

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
        return max(0, self._free - len(self._queue))

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
            try:
                await self._invoker.start()
            finally:
                self._hand_on()  # loading took a place

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Invoke now, or `Throttled`."""
        if not self.room:
            return Throttled()
        self._busy += 1
        return await self.invoke_in_place(event, request_id=request_id)

    async def take_place(self, patience: float) -> bool:
        """Wait up to `patience` seconds for a place, in turn; True if one was taken.

        A taken place must be used with `invoke_in_place` or given back. Cancelling the wait takes none.
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
                self.give_place_back()  # it was granted in the very moment we gave up
            else:
                with contextlib.suppress(ValueError):  # already passed over as cancelled
                    self._queue.remove(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    async def take_place_unless(self, stop: asyncio.Event, patience: float) -> bool:
        """As `take_place`, but give up as soon as `stop` is set."""
        place = asyncio.create_task(self.take_place(patience))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((place, stopped), return_when=asyncio.FIRST_COMPLETED)
            place.cancel()
            await asyncio.wait((place,))
        except asyncio.CancelledError:
            place.cancel()
            place.add_done_callback(self._give_back_if_taken)  # also when it was taken in this very moment
            raise
        finally:
            stopped.cancel()
        return _taken(place)

    async def invoke_in_place(self, event: bytes, *, request_id: str) -> Outcome:
        """Invoke in a place that was taken before, and give it back."""
        try:
            return await self._invoker.invoke(event, request_id=request_id)
        finally:
            self.give_place_back()

    def give_place_back(self) -> None:
        """Return a place that was taken and not used."""
        self._busy -= 1
        self._hand_on()

    async def close(self) -> None:
        """Let go of the environments."""
        if self._looking is not None:
            self._looking.cancel()
        await self._invoker.close()

    def _give_back_if_taken(self, place: asyncio.Task[bool]) -> None:
        if _taken(place):
            self.give_place_back()

    @property
    def _free(self) -> int:
        """Places that nobody has, whoever waits for them."""
        return self.limit - max(self._busy, self._invoker.running)

    def _hand_on(self) -> None:
        """Give free places to those who wait, in turn, and tell the listeners of what is left."""
        while self._queue and self._free > 0:
            turn = self._queue.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)
        if self.room:
            for listener in tuple(self._listeners):
                listener()
        if self._invoker.running > self._busy and (self._queue or self._listeners) and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self._hand_on()


def _taken(place: asyncio.Task[bool]) -> bool:
    """Whether the wait for a place, now over, got one."""
    return not place.cancelled() and place.result()
