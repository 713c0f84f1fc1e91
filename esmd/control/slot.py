"""The life of one mapping while the daemon runs: begins, drains and begins anew as it is asked to.

One thing runs at a time: what ran before has drained to its end before anything else begins. The states are those of
`esmd.control.life`.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from esmd.control.life import after
from esmd.control.protocol import TRANSIENT
from esmd.observe.mapping_events import MappingDisabled
from esmd.tasks import Lasting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.control.life import Cause
    from esmd.control.protocol import State
    from esmd.observe.mapping_events import DisabledBecause
    from esmd.observe.telemetry import Telemetry
    from esmd.supervisor import Runner, Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to run a mapping with its settings of now.

    Attributes:
        make: makes what runs it until the given event is set.
        not_before: nothing is made until all of these are set.
    """

    make: Callable[[asyncio.Event], Supervisor]
    not_before: Sequence[asyncio.Event] = ()


class Slot:
    """One mapping; `run` it once.

    Args:
        name: of the mapping.
        plan: how to run it.
        held: why it is not to run; None where it is to.
        telemetry: where events go.
        moved: called whenever its state is another one.
    """

    def __init__(
        self,
        name: str,
        *,
        plan: Plan,
        held: DisabledBecause | None,
        telemetry: Telemetry,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.state: State = "Creating"
        """See `esmd.control.life`."""
        self.held = held
        """Why it is not to run; None where it is to."""
        self.supervisor: Supervisor | None = None
        """What runs it, or ran it last; None before the first time."""
        self.ended = False
        """Whether it is over with it."""
        self.over = asyncio.Event()
        """Set while nothing runs; another one for each time that something does."""
        self.over.set()
        self._plan = plan
        self._telemetry = telemetry
        self._on_move = moved
        self._loop = asyncio.get_running_loop()
        self._rests_since = self._loop.time()
        self._running = False
        self._unsaid = True
        self._ending = False
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()

    # --- what others may ask

    @property
    def wanted(self) -> bool:
        """Whether it is to run."""
        return self.held is None and not self._ending and self.state != "Deleting"

    @property
    def runner(self) -> Runner | None:
        """What works just now; None while nothing does."""
        return self.supervisor.runner if self._running and self.supervisor is not None else None

    @property
    def trouble(self) -> str | None:
        """Why it cannot run though it is to; None where nothing is wrong."""
        return self.supervisor.reason if self._running and self.supervisor is not None else None

    @property
    def quiet_since(self) -> float:
        """Loop time since which nothing happened and nothing is awaited; infinity while something is."""
        if self._running and self.supervisor is not None:
            return self.supervisor.quiet_since
        return math.inf if self.wanted else self._rests_since

    @property
    def pending(self) -> list[asyncio.Event]:
        """What has to be over before it may begin."""
        return [event for event in self._plan.not_before if not event.is_set()]

    async def settled(self) -> None:
        """Wait until its state stays, or its life is over."""
        while self.state in TRANSIENT and not self.ended:
            await self._moved.wait()

    # --- what others may want

    def change(self, plan: Plan, *, held: DisabledBecause | None) -> None:
        """Let what runs drain, and go on by another plan; or, where `held` says why, with nothing."""
        self._plan = replace(plan, not_before=(*self.pending, *plan.not_before))
        self.held = held
        if held is None:
            self._ask("change", because="updating")
        else:
            self._ask("hold", because=held)

    def hold(self, because: DisabledBecause) -> None:
        """Poll no more, and let what is under way end."""
        self.held = because
        self._ask("hold", because=because)

    def go(self) -> None:
        """Run, after all."""
        self.held = None
        self._move("go")
        self._wake.set()

    def delete(self) -> None:
        """Drain, and be gone."""
        self._ask("delete", because="removed")

    def end(self) -> None:
        """Drain, since the daemon ends: the state stays what it was."""
        self._ending = True
        self._stop.set()
        self._wake.set()

    def _ask(self, cause: Cause, *, because: DisabledBecause) -> None:
        self._move(cause)
        if self.supervisor is not None and not self._stop.is_set():
            self.supervisor.stops_because = because
        self._stop.set()
        self._wake.set()

    # --- its life

    async def run(self) -> None:
        """Run it as long as it is wanted, until it is deleted or the daemon ends; cancelling halts it.

        Call it again where something else has cancelled it, and it goes on as the mapping is wanted then; or `finish`.
        """
        try:
            while not self._ending and self.state != "Deleting":
                self._wake.clear()
                if self.wanted:
                    await self._work()
                else:
                    await self._rest()
            while self.pending and not self._ending:
                self._wake.clear()
                await _first_of(self.pending[0], self._wake)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self.finish()
            raise
        self.finish()

    def finish(self) -> None:
        """Nobody runs it any more."""
        self.ended = True
        self._tell()

    async def _work(self) -> None:
        """Run by the plan of now, until somebody asks for another one."""
        stop = self._stop = asyncio.Event()
        plan = self._plan
        self._move("begin")
        for event in plan.not_before:
            await _first_of(event, stop)
        if stop.is_set():
            return
        self.over = asyncio.Event()
        supervisor = self.supervisor = plan.make(stop)
        self._running = True
        self._unsaid = False
        watching = Lasting(partial(self._watch, supervisor, stop))
        try:
            await supervisor.run()
        finally:
            self._running = False
            self.over.set()
            self._rests_since = self._loop.time()
            watching.cancel()

    async def _watch(self, supervisor: Supervisor, stop: asyncio.Event) -> None:
        await supervisor.tried.wait()
        if not stop.is_set():
            self._move("tried")

    async def _rest(self) -> None:
        for event in self.pending:  # what had this name before may still drain
            await _first_of(event, self._wake)
            if self._wake.is_set():
                return
        if self._unsaid and self.held is not None:
            self._telemetry.emit(MappingDisabled(mapping=self.name, reason=self.held))
        self._unsaid = False
        self._move("rest")
        await self._wake.wait()

    def _move(self, cause: Cause) -> None:
        state = after(self.state, cause)
        if state != self.state:
            self.state = state
            self._tell()

    def _tell(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        self._on_move()


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    while not any(event.is_set() for event in events):
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
