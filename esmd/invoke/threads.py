"""Threads for handlers that block: made on demand, and never in the way of the process's end.

`concurrent.futures` joins its threads when the interpreter exits; a handler that hangs would keep the daemon from
stopping. These are daemon threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Threads(Generic[T]):
    """Runs callables on threads of one name; as many threads as there were ever callables at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[tuple[Callable[[], T], asyncio.Future[T]] | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Start `work` at once. The future takes what it returns or raises; cancelling it does not stop the thread."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            threading.Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._work.put((work, future))
        return future

    def close(self) -> None:
        """Let every thread end after what it runs now."""
        for _ in range(self._threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            work, future = item
            result: T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001  it belongs to whoever awaits the future
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody awaits it
                future.get_loop().call_soon_threadsafe(self._settle, future, result, error)
            del item, work, future, result, error  # hold nothing while waiting

    def _settle(self, future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
        self._busy -= 1
        if future.done():  # cancelled in the meantime
            return
        if error is None:
            future.set_result(cast("T", result))
        else:
            future.set_exception(error)
