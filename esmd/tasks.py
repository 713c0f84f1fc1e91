"""Tasks that do not vanish unseen: groups that notice when one of theirs does, and side work that is begun anew.

| a task of the group                                | `asyncio.TaskGroup`             | `Tasks`                       |
|----------------------------------------------------|---------------------------------|-------------------------------|
| returns                                            | goes on                         | goes on                       |
| raises                                             | cancels the others and raises   | cancels the others and raises |
| is cancelled by the group's end, or by `cancel`    | goes on                         | goes on                       |
| is cancelled by anything else                      | goes on, without it             | as for one that raises        |

What waits for the work of a task that is silently gone would wait for ever: nobody else polls, nobody else reads on.
`Lasting` is for one task beside all groups that can begin its work again at any time: it does, whatever cancelled it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

T = TypeVar("T")


class CutOffError(Exception):
    """Something cancelled a task that was not its to cancel."""


class Tasks:
    """A task group; see the module's table."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._owner: asyncio.Task[Any] | None = None
        self._cancelled_before = 0
        self._ending = False
        self._released: set[asyncio.Task[Any]] = set()
        self._cut_off: CutOffError | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        await self._group.__aenter__()
        self._owner = owner = asyncio.current_task()
        assert owner is not None  # noqa: S101 - the group has just seen to that
        self._cancelled_before = owner.cancelling()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all tasks; cancel them if the body raised.

        Raises:
            ExceptionGroup: a task raised, or was cut off.
        """
        self._ending = kind is not None
        await self._group.__aexit__(kind, error, trace)
        if self._cut_off is not None:
            raise ExceptionGroup("a task was cut off", [self._cut_off])

    def create_task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something beside.

        Raises:
            RuntimeError: the group is over, or about to be.
        """
        task = self._group.create_task(work)
        task.add_done_callback(partial(self._done, getattr(work, "__qualname__", "a task")))
        return task

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """End a task that is needed no more."""
        if not task.done():
            self._released.add(task)
            task.cancel()

    def _done(self, name: str, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            self._ending = self._ending or task.exception() is not None
        elif task in self._released:
            self._released.discard(task)
        elif not self._is_ending():
            self._ending = True
            self._cut_off = CutOffError(f"{name} was cancelled by something else")
            raising = self._raise()
            try:
                self._group.create_task(raising)
            except RuntimeError:  # it was the last task: the group ends, and says so then
                raising.close()

    def _is_ending(self) -> bool:
        owner = self._owner
        return self._ending or owner is None or owner.cancelling() > self._cancelled_before

    async def _raise(self) -> None:
        error, self._cut_off = self._cut_off, None
        assert error is not None  # noqa: S101 - it is raised once
        raise error


async def unhurried(work: Awaitable[T]) -> T:
    """What `work` brings, or raises; a cancellation of the caller that comes meanwhile strikes at its next `await`."""
    caller = asyncio.current_task()
    assert caller is not None  # noqa: S101 - somebody awaits this
    task = asyncio.ensure_future(work)
    put_off = 0
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            put_off += 1
    for _ in range(put_off):
        caller.uncancel()
        caller.cancel()
    return task.result()


async def all_ended(*works: Awaitable[Any]) -> None:
    """Wait for all of them, whatever one raises and whoever cancels this; then raise the first error, if there is one."""
    for result in await unhurried(asyncio.gather(*works, return_exceptions=True)):
        if isinstance(result, BaseException):
            raise result


class Lasting:
    """Side work that ends when it returns or raises, or by `cancel`; whatever else cancels it, it is begun anew.

    Args:
        make: makes the work; called again where it is begun anew.
        name: of its task.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, None]], *, name: str | None = None) -> None:
        self._make = make
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._released = False
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Resolves when nothing of it runs any more; has the error of the work, if that raised."""
        self._begin()

    def cancel(self) -> None:
        """End it; `ended` tells when."""
        self._released = True
        self._task.cancel()

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._make(), name=self._name)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not self._released:
            self._begin()
        elif self.ended.done():  # whoever awaited it was cancelled, and it with them
            return
        elif not task.cancelled() and (error := task.exception()) is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)
