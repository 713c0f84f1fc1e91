"""Moves positions while a daemon runs: the mapping drains, what is stored changes, the mapping goes on from there.

| the mapping is           | what happens                                       |
|--------------------------|----------------------------------------------------|
| not there                | `NotFoundError`                                    |
| of a queue               | `InvalidError`: it has no positions                |
| being moved already      | `InUseError`                                       |
| disabled or paused       | moved; it stays disabled                           |
| anything else            | paused until nothing is under way, moved, resumed  |
| resumed by somebody else meanwhile | `InUseError`                             |
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from esmd.config.schema import StreamMapping
from esmd.control.protocol import InUseError, InvalidError
from esmd.observe.checkpoint_events import CheckpointMoved
from esmd.positions.change import Change, carry_out, plan, stored_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from esmd.control.protocol import Control
    from esmd.observe.telemetry import Telemetry
    from esmd.positions.change import Planned
    from esmd.state.protocol import StateStore, Stored


class LivePositions:
    """The positions of a running daemon's mappings.

    Args:
        control: pauses and resumes.
        store: the daemon's.
        telemetry: told what was moved.
        wall: the time of day.
    """

    def __init__(
        self, control: Control, store: StateStore, telemetry: Telemetry, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._control = control
        self._store = store
        self._telemetry = telemetry
        self._wall = wall
        self._moving: set[str] = set()

    def settings(self, name: str) -> StreamMapping:
        """The stream mapping of that name or UUID; its own `name` is what its positions are stored under.

        Raises:
            NotFoundError: there is none.
            InvalidError: it is of a queue.
        """
        entry = self._control.entry(name)
        if not isinstance(entry.mapping, StreamMapping):
            raise InvalidError(f"the mapping {name} reads a queue", hint="Only mappings of streams have positions.")
        return entry.mapping.model_copy(update={"name": entry.name})

    async def stored(self, name: str) -> list[Stored]:
        """What is stored of a mapping, by its own name.

        Raises:
            StateError: the store cannot say.
        """
        return await stored_of(self._store, name)

    async def show(self, change: Change) -> Planned:
        """What a change would come to.

        Raises:
            PositionsError: it cannot be done.
            StateError: the store cannot say.
        """
        return plan(change, await self.stored(change.mapping), now=self._wall())

    async def move(self, change: Change) -> Planned:
        """Carry a change out; returns what it came to, with the mapping on its way again.

        Raises:
            NotFoundError, InUseError: see the module's table.
            PositionsError: it cannot be done; nothing has happened.
            StateError: the store cannot; nothing has moved.
        """
        name = change.mapping
        if name in self._moving:
            raise InUseError(f"positions of {name} are being moved already", hint="Wait until that is done.")
        self._moving.add(name)
        try:
            planned = await self.show(change)
            if not planned.moves:
                return planned
            if self._is_at_rest(name):
                return await self._carry_out(change)
            await self._control.pause(name)
            try:
                await self._control.settled(name)
                return await self._carry_out(change)
            finally:
                # Whatever became of it: nobody has asked for a pause.
                await _to_the_end(self._control.resume(name))
        finally:
            self._moving.discard(name)

    async def _carry_out(self, change: Change) -> Planned:
        self._check_at_rest(change.mapping)
        planned = await carry_out(change, self._store, now=self._wall())
        self._check_at_rest(change.mapping)
        for move in planned.moves:
            self._telemetry.emit(
                CheckpointMoved(
                    mapping=change.mapping,
                    shard=move.after.shard_id,
                    before=None if move.before is None else str(move.before.position),
                    position=str(move.after.position),
                )
            )
        return planned

    def _is_at_rest(self, name: str) -> bool:
        return self._control.entry(name).state == "Disabled"

    def _check_at_rest(self, name: str) -> None:
        if not self._is_at_rest(name):
            raise InUseError(
                f"the mapping {name} was resumed while its positions were moved",
                hint="Look where it is with esmd checkpoint show, and move it again if need be.",
            )


async def _to_the_end(call: Any) -> None:
    """Wait for a call that a cancellation of the caller must not cut short."""
    await asyncio.shield(asyncio.ensure_future(call))
