"""What functions that live elsewhere have in common: places, the deadline, and a close that cuts off what runs.

| what happens to an invocation                | outcome                          | what becomes of the function            |
|----------------------------------------------|----------------------------------|-----------------------------------------|
| no place is free                             | `Throttled`                      | nothing is sent                         |
| the event is above 6 MB                      | `Rejected`                       | nothing is sent                         |
| the deadline passes, the event was sent      | `FunctionError`, a timeout       | its connection is dropped               |
| the deadline passes, nothing was sent yet    | `Unreachable`                    | nothing was sent                        |
| the awaiting task is cancelled               | the cancellation goes on         | its connection is dropped               |
| `close`                                      | `Unreachable`                    | its connection is dropped               |

Whoever drops a connection cannot know whether the other side stops: it may run on, and may run beside its own retry.
Nothing is sent again from here: the loops own retries, and only they know whether the records are still theirs.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from esmd.invoke.failures import closing, request_too_large, timed_out
from esmd.invoke.protocol import MAX_RESPONSE_BYTES, FunctionSpec
from esmd.mappings.outcomes import FunctionError, Outcome, Throttled, Unreachable
from esmd.observe.events import HandlerTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from esmd.observe.telemetry import Telemetry

Spec = TypeVar("Spec", bound=FunctionSpec)


class Call:
    """One invocation on its way.

    Attributes:
        event: UTF-8 JSON.
        request_id: its id here.
        sent: whether anything of the event may have left; `RemoteInvoker._call` says so.
    """

    __slots__ = ("event", "limit", "request_id", "sent")

    def __init__(self, event: bytes, request_id: str, limit: asyncio.Timeout) -> None:
        self.event = event
        self.request_id = request_id
        self.limit = limit
        self.sent = False


class RemoteInvoker(ABC, Generic[Spec]):
    """Base of the invokers that send events over a network."""

    def __init__(self, spec: Spec, *, telemetry: Telemetry) -> None:
        self._spec = spec
        self._telemetry = telemetry
        self._calls: set[Call] = set()
        self._idle = asyncio.Event()
        self._closing = False

    @property
    def limit(self) -> int:
        """Most invocations at once."""
        return self._spec.concurrency

    @property
    def running(self) -> int:
        """Invocations under way."""
        return len(self._calls)

    def on_freed(self, listener: Callable[[], None]) -> None:
        """Nothing here takes a place but an invocation, so that `listener` is never called."""

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Send the event and wait for the answer; see `Invoker.invoke` and the module's table."""
        if self._closing:
            return closing(self._spec)
        if self.running >= self.limit:
            return Throttled()
        if (rejected := request_too_large(event)) is not None:
            return rejected
        call = Call(event, request_id, asyncio.timeout(self._spec.timeout))
        try:
            async with call.limit:
                self._calls.add(call)
                return await self._call(call)
        except TimeoutError:
            return self._late(call)
        finally:
            self._calls.discard(call)
            if not self._calls:
                self._idle.set()

    async def close(self) -> None:
        """Cut off what runs, and let go of the connections. May be called twice."""
        self._closing = True
        for call in self._calls:
            if not call.limit.expired():
                call.limit.reschedule(0)
        while self._calls:
            self._idle.clear()
            await self._idle.wait()
        await self._release()

    @abstractmethod
    async def _call(self, call: Call) -> Outcome:
        """Send the event, set `call.sent`, and read the answer. Raises nothing but what cancels or times it out."""

    @abstractmethod
    async def _release(self) -> None:
        """Let go of the connections; nothing runs any more."""

    @property
    @abstractmethod
    def _place(self) -> str:
        """Where the function is, for messages; without secrets."""

    def _late(self, call: Call) -> Outcome:
        """The deadline has passed, or `close` made it pass."""
        if self._closing:
            return closing(self._spec)
        seconds = self._spec.timeout
        if not call.sent:
            return Unreachable(f"{self._place}: no connection within {seconds:g} s")
        self._telemetry.emit(
            HandlerTimeout(function=self._spec.name, request_id=call.request_id, timeout_s=seconds, pid=None)
        )
        return timed_out(call.request_id, seconds)


async def read_at_most(chunks: AsyncIterator[bytes]) -> bytes | None:
    """The whole answer; None as soon as it is longer than Lambda allows, with the rest unread."""
    parts = []
    size = 0
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            return None
    return b"".join(parts)


def response_too_large(executed_version: str) -> FunctionError:
    """The handler's answer is above the limit."""
    message = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
    return FunctionError("exception", "Function.ResponseSizeTooLarge", message, (), executed_version)
