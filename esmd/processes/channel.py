"""One end of the socket pair between the parent and a child: messages both ways, and calls that are answered.

Messages arrive in the order in which they were sent, calls are begun in the order in which they arrive. What is sent in one
turn of the loop goes out together.
"""

from __future__ import annotations

import asyncio
import itertools
import select
from typing import TYPE_CHECKING, Any

from esmd.processes.messages import Answer, Refusal, Request, packed, unpacked
from esmd.state import errors
from esmd.state.errors import StateError
from esmd.tasks import unhurried

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from esmd.processes.messages import Message

_READ = 256 * 1024
"""Bytes taken in one turn of the loop."""

MOST_UNSENT = 8 * 1024 * 1024
"""Bytes that may wait to be sent. Above it a child that may wait does, as it would for a log that takes no more."""

_REFUSALS = {
    kind.__name__: kind
    for kind in (StateError, errors.PositionMovedBackError, errors.OtherStreamError, errors.LeaseLostError)
}


class ChannelLostError(Exception):
    """The other end is gone."""


class Channel:
    """A message pipe that is open from construction until `close`, or until the other end is gone.

    Args:
        end: of the socket pair; it is closed with the channel.
        told: takes every message that is not a call or its answer.
        serve: carries out a call of the other end, and returns its result or raises `StateError`.
        lost: called once when the other end is gone.
        may_wait: whether to block while too much is unsent.
    """

    def __init__(
        self,
        end: socket.socket,
        *,
        told: Callable[[Message], None],
        serve: Callable[[Request], Awaitable[Any]],
        lost: Callable[[], None],
        may_wait: bool,
    ) -> None:
        self._end = end
        self._told = told
        self._serve = serve
        self._lost = lost
        self._may_wait = may_wait
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._unsent = bytearray()
        self._flushing = False
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._open = True
        end.setblocking(False)
        self._loop.add_reader(end, self._read)

    # --- sending

    def tell(self, message: Message) -> None:
        """Send a message. Without another end it is dropped: nobody is there to care."""
        if not self._open:
            return
        self._unsent += packed(message)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        elif self._may_wait and len(self._unsent) > MOST_UNSENT:
            self.flush()

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Have the other end carry out a call. Cancelling stops the waiting, not the call.

        Raises:
            StateError: as the other end raised it.
            ChannelLostError: the other end is gone, or goes before it has answered.
        """
        if not self._open:
            raise ChannelLostError
        number = next(self._numbers)
        answer = self._asked[number] = self._loop.create_future()
        self.tell(Request(number, method, arguments, options))
        try:
            return await answer
        finally:
            self._asked.pop(number, None)

    def flush(self) -> None:
        """Send all that is unsent, and wait for the other end to take it."""
        while self._unsent and self._send() and self._unsent:
            waiting = select.poll()
            waiting.register(self._end, select.POLLOUT)
            waiting.poll()

    def _flush(self) -> None:
        """Send what can be sent; come back for the rest when the other end has taken some."""
        if not self._send():
            return
        if self._unsent:
            self._loop.add_writer(self._end, self._flush)
        else:
            self._flushing = False
            self._loop.remove_writer(self._end)

    def _send(self) -> bool:
        """Send what the other end takes now; False where there is none (any more)."""
        if not self._open:
            return False
        try:
            while self._unsent:
                sent = self._end.send(self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._went()
            return False
        return True

    # --- receiving

    def _read(self) -> bool:
        """Take what is there; False if nothing was."""
        try:
            data = self._end.recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._went()
            return False
        self._received += data
        for message in unpacked(self._received):
            match message:
                case Request():
                    task = self._loop.create_task(self._answer(message))
                    self._serving.add(task)
                    task.add_done_callback(self._serving.discard)
                case Answer():
                    self._answered(message)
                case _:
                    self._told(message)
        return True

    async def _answer(self, request: Request) -> None:
        try:
            answer = Answer(request.number, await self._serve(request))
        except StateError as error:
            kind = type(error).__name__
            refusal = Refusal(kind if kind in _REFUSALS else "StateError", error.message, error.hint)
            answer = Answer(request.number, refusal=refusal)
        except asyncio.CancelledError:  # by something that was not to: whoever asked must not wait for ever
            cut_off = Refusal("StateError", f"the call of {request.method} was cut off", "Ask again.")
            self.tell(Answer(request.number, refusal=cut_off))
            raise
        self.tell(answer)

    def _answered(self, answer: Answer) -> None:
        asked = self._asked.get(answer.number)
        if asked is None or asked.done():  # whoever asked does not wait any more
            return
        if (refusal := answer.refusal) is not None:
            asked.set_exception(_REFUSALS[refusal.kind](refusal.message, hint=refusal.hint))
        else:
            asked.set_result(answer.value)

    # --- the end

    async def finish(self) -> None:
        """The other end's process is gone: take what it sent before, carry out its calls, and close.

        To its end, also where this is cancelled: what a process asked for must not be done when it has a successor.
        """
        while self._open and self._read():
            pass
        if self._serving:
            await unhurried(asyncio.wait(list(self._serving)))
        self.close()

    def close(self) -> None:
        """Let go of this end; what is asked is not answered any more."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._end.close()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ChannelLostError())

    def _went(self) -> None:
        self.close()
        self._lost()
