"""All mappings of a running daemon: those it began with, those that came since, and the end of each."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from esmd.observe.daemon_events import InternalError
from esmd.observe.stacks import stack_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esmd.control.slot import Slot
    from esmd.observe.telemetry import Telemetry
    from esmd.shutdown import Shutdown


class Slots:
    """Runs mappings until `stop`. Make it inside the running loop.

    Args:
        telemetry: where events go.
        shutdown: asked for a drain where a mapping breaks.
    """

    def __init__(self, *, telemetry: Telemetry, shutdown: Shutdown) -> None:
        self._telemetry = telemetry
        self._shutdown = shutdown
        self._slots: dict[str, Slot] = {}
        self._tasks: dict[asyncio.Task[None], Slot] = {}
        self._started = False
        self._born = asyncio.get_running_loop().time()
        self._halting = False
        self.stopping = False
        """Whether all of them drain, and none may come any more."""
        self.broken = False
        """Whether one of them ended by a defect."""

    def __iter__(self) -> Iterator[Slot]:
        return iter(tuple(self._slots.values()))

    def get(self, name: str) -> Slot | None:
        """The mapping of that name; None where it is not there, or gone."""
        return self._slots.get(name)

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """The lives that are not over."""
        return tuple(self._tasks)

    @property
    def quiet_since(self) -> float:
        """Loop time since which nothing happened in any mapping and nothing is awaited; infinity while something is."""
        return max((slot.quiet_since for slot in self), default=self._born)

    async def settled(self) -> None:
        """Wait until the state of each of those of now stays."""
        await asyncio.gather(*(slot.settled() for slot in self))

    def add(self, slot: Slot) -> None:
        """Take one more; it begins with the others, or at once where they have begun."""
        self._slots[slot.name] = slot
        if self.stopping:
            slot.end()
        if self._started:
            self._start(slot)

    def start(self) -> None:
        """Begin."""
        self._started = True
        for slot in self:
            self._start(slot)

    def stop(self) -> None:
        """Let all of them drain."""
        self.stopping = True
        for slot in self:
            slot.end()

    def halt(self) -> None:
        """End all of them now."""
        self._halting = True
        self.stop()
        for task in self.tasks:
            task.cancel()

    def _start(self, slot: Slot) -> None:
        task = asyncio.create_task(slot.run(), name=f"mapping {slot.name}")
        self._tasks[task] = slot
        task.add_done_callback(partial(self._ended, slot))

    def _ended(self, slot: Slot, task: asyncio.Task[None]) -> None:
        """A life ends only when it is told to; if one breaks, the daemon must not go on as if it ran."""
        del self._tasks[task]
        if task.cancelled() and not self._halting:
            text = "something cancelled it that was not to: it begins anew"
            self._telemetry.emit(
                InternalError(where=task.get_name(), error_type="CancelledError", error_message=text, stack=())
            )
            self._start(slot)
            return
        if task.cancelled():
            slot.finish()
        if slot.state == "Deleting" and self._slots.get(slot.name) is slot:
            del self._slots[slot.name]
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._telemetry.emit(
            InternalError(
                where=task.get_name(),
                error_type=type(error).__name__,
                error_message=str(error),
                stack=stack_of(error),
            )
        )
        self.broken = True
        self._shutdown.request("internal error")
