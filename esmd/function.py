"""A registered function as its mappings see it: started once, invoked by many, fair when places are few."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from esmd.mappings.events import text_of
from esmd.mappings.outcomes import FunctionError, Outcome, Throttled
from esmd.observe.events import FunctionThrottled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.invoke.protocol import Invoker
    from esmd.mappings.events import Event
    from esmd.observe.telemetry import Telemetry


Halt = Callable[[], Awaitable[None]]
"""Ends an invocation that nobody awaits, and waits for its end."""


@runtime_checkable
class Reloadable(Protocol):
    """An invoker that can load a handler's changed code."""

    def reload(self, files: Sequence[str]) -> None:
        """Use what is in the files now for every invocation that starts from here on."""
        ...


@runtime_checkable
class Beginner(Protocol):
    """An invoker whose invocations need nobody to await them, and which takes events as they are."""

    def begin(self, event: Event, *, request_id: str, done: Callable[[Outcome], None]) -> Any | None:
        """Start an invocation; `done` is called with its outcome, later. None where only `invoke` can tell why not."""
        ...

    async def invoke(self, event: bytes | Event, *, request_id: str) -> Outcome:
        """See `Invoker.invoke`."""
        ...

    async def cancel(self, call: Any, /) -> None:
        """Stop what `begin` returned; `done` is not called any more."""
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
        self._wanting: dict[Callable[[], None], None] = {}
        self._starting = asyncio.Lock()
        self._counts = FunctionCounts()
        self._beginner = invoker if isinstance(invoker, Beginner) else None
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

    def wants_room(self, listener: Callable[[], None], *, wanted: bool = True) -> None:
        """Call `listener` when a place becomes free, once; or, with `wanted` False, do not.

        Of hundreds of mappings that share a function, the end of an invocation concerns only those that wait for it.
        """
        if wanted:
            self._wanting[listener] = None
        else:
            self._wanting.pop(listener, None)

    @property
    def begins(self) -> bool:
        """Whether `begin` may do it: nobody has to await an invocation, and events are taken as they are."""
        return self._beginner is not None

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

    async def invoke(self, event: bytes | Event, *, request_id: str) -> Outcome:
        """Invoke now, or `Throttled`."""
        if not self.room:
            return self._throttled(Throttled(), request_id)
        self._take()
        return await self.invoke_in_place(event, request_id=request_id)

    def begin(self, event: Event, *, request_id: str, done: Callable[[Outcome], None]) -> Halt | None:
        """Invoke now, without anybody awaiting it; `done` is called with the outcome, later, and must not raise.

        Returns what ends the invocation before that: `done` is not called then. None where this form of function cannot
        be invoked so, or not now: `invoke` tells what becomes of it.
        """
        beginner = self._beginner
        if beginner is None or not self.room:
            return None
        self._take()
        loop = asyncio.get_running_loop()
        began = loop.time()

        is_over = False

        def ended(outcome: Outcome) -> None:
            nonlocal is_over
            is_over = True
            self.give_place_back()
            self._count(outcome, loop.time() - began, request_id)
            done(outcome)

        call = None
        try:
            call = beginner.begin(event, request_id=request_id, done=ended)
        finally:
            if call is None:
                self.give_place_back()
        if call is None:
            return None

        async def halt() -> None:
            nonlocal is_over
            if is_over:
                return
            is_over = True
            try:
                await beginner.cancel(call)
            finally:
                self.give_place_back()

        return halt

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

    async def invoke_in_place(self, event: bytes | Event, *, request_id: str) -> Outcome:
        """Invoke in a place that was taken before, and give it back."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            if self._beginner is not None:
                outcome = await self._beginner.invoke(event, request_id=request_id)
            else:
                outcome = await self._invoker.invoke(text_of(event), request_id=request_id)
        finally:
            self.give_place_back()
        self._count(outcome, loop.time() - began, request_id)
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

    def _count(self, outcome: Outcome, seconds: float, request_id: str) -> None:
        """Note an invocation that ended after so many seconds."""
        if isinstance(outcome, Throttled):
            self._throttled(outcome, request_id)
            return
        counts, duration = self._counts, seconds * 1000
        counts.invocations += 1
        counts.duration_sum += duration
        counts.duration_max = max(counts.duration_max, duration)
        if isinstance(outcome, FunctionError):
            counts.errors += 1

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
        if (self._wanting or self._listeners) and self.room:
            wanting, self._wanting = self._wanting, {}
            for listener in (*wanting, *self._listeners):
                listener()


def _taken(place: asyncio.Task[bool]) -> bool:
    """Whether the wait for a place, now over, got one."""
    return not place.cancelled() and place.result()
