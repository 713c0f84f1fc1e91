"""A registered function as its mappings see it: started once, invoked by many, fair when places are few."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from esmd.mappings.outcomes import FunctionError, Outcome, Throttled
from esmd.observe.events import FunctionThrottled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.invoke.protocol import Invoker
    from esmd.observe.telemetry import Telemetry


@runtime_checkable
class Reloadable(Protocol):
    """An invoker that can load a handler's changed code."""

    def reload(self, files: Sequence[str]) -> None:
        """Use what is in the files now for every invocation that starts from here on."""
        ...


@runtime_checkable
class HasEnvironments(Protocol):
    """An invoker that runs the handler in processes of its own."""

    @property
    def environments(self) -> int:
        """How many there are, those that load or are about to leave included."""
        ...


@dataclass(slots=True)
class FunctionCounts:
    """What a function did in one period; durations in milliseconds, of invocations that ran."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    duration_sum: float = 0.0
    duration_max: float = 0.0
    concurrency_max: int = 0

    def added(self, other: FunctionCounts) -> FunctionCounts:
        """Both periods as one."""
        return FunctionCounts(
            invocations=self.invocations + other.invocations,
            errors=self.errors + other.errors,
            throttles=self.throttles + other.throttles,
            duration_sum=self.duration_sum + other.duration_sum,
            duration_max=max(self.duration_max, other.duration_max),
            concurrency_max=max(self.concurrency_max, other.concurrency_max),
        )


class Function:
    """Shares one invoker among mappings.

    Its concurrency is a limit over all of them. Without a free place `invoke` is throttled at once, as on Lambda;
    `take_place` then waits its turn, first come first served, so that no mapping starves another.

    The invoker may count more places than we do: an environment that is loading, an inline handler that runs on after
    its timeout. It tells when such a place becomes free.

    Args:
        name: in the configuration.
        invoker: runs it.
        arn: `invoked_function_arn`, and the `functionArn` of failure records.
        telemetry: where throttles are said.
    """

    def __init__(self, name: str, invoker: Invoker, *, arn: str, telemetry: Telemetry) -> None:
        self.name = name
        self.arn = arn
        self._invoker = invoker
        self._telemetry = telemetry
        self._busy = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._listeners: list[Callable[[], None]] = []
        self._starting = asyncio.Lock()
        self._counts = FunctionCounts()
        self._taken = FunctionCounts()
        invoker.on_freed(self._hand_on)

    @property
    def limit(self) -> int:
        """Most invocations at once."""
        return self._invoker.limit

    @property
    def busy(self) -> int:
        """Places taken."""
        return self._busy

    @property
    def environments(self) -> int | None:
        """Execution environments that there are; None for a form of function that has none of its own."""
        return self._invoker.environments if isinstance(self._invoker, HasEnvironments) else None

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
            return self._throttled(Throttled(), request_id)
        self._take()
        return await self.invoke_in_place(event, request_id=request_id)

    async def take_place(self, patience: float) -> bool:
        """Wait up to `patience` seconds for a place, in turn; True if one was taken.

        A taken place must be used with `invoke_in_place` or given back. Cancelling the wait takes none.
        """
        if self.room:
            self._take()
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
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            outcome = await self._invoker.invoke(event, request_id=request_id)
        finally:
            self.give_place_back()
        if isinstance(outcome, Throttled):
            return self._throttled(outcome, request_id)
        counts, duration = self._counts, (loop.time() - began) * 1000
        counts.invocations += 1
        counts.errors += isinstance(outcome, FunctionError)
        counts.duration_sum += duration
        counts.duration_max = max(counts.duration_max, duration)
        return outcome

    def give_place_back(self) -> None:
        """Return a place that was taken and not used."""
        self._busy -= 1
        self._hand_on()

    async def close(self) -> None:
        """Let go of the environments."""
        await self._invoker.close()

    def reload(self, files: Sequence[str]) -> bool:
        """Load changed files for the invocations to come. False if this form of function cannot."""
        if not isinstance(self._invoker, Reloadable):
            return False
        self._invoker.reload(files)
        return True

    def take_counts(self) -> FunctionCounts:
        """What happened since the last call."""
        counts, self._counts = self._counts, FunctionCounts(concurrency_max=self._busy)
        self._taken = self._taken.added(counts)
        return counts

    def total_counts(self) -> FunctionCounts:
        """What happened since the beginning."""
        return self._taken.added(self._counts)

    def _take(self) -> None:
        self._busy += 1
        self._counts.concurrency_max = max(self._counts.concurrency_max, self._busy)

    def _throttled(self, outcome: Throttled, request_id: str) -> Throttled:
        self._counts.throttles += 1
        self._telemetry.emit(
            FunctionThrottled(function=self.name, request_id=request_id, limit=self.limit, reason=outcome.reason)
        )
        return outcome

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
                self._take()
                turn.set_result(None)
        if self.room:
            for listener in tuple(self._listeners):
                listener()


def _taken(place: asyncio.Task[bool]) -> bool:
    """Whether the wait for a place, now over, got one."""
    return not place.cancelled() and place.result()
