"""A change of positions: what is asked for, what it comes to, and how it is stored.

The same change is shown first and carried out later, on the state file or by the daemon that owns it: what it comes to
is decided anew then, from what is stored then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.positions.errors import PositionsError
from esmd.positions.files import Exported, check_stream
from esmd.positions.plan import chosen, moves_of, moves_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.positions.plan import Move
    from esmd.state.position import Position
    from esmd.state.protocol import StateStore, Stored, StreamIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What somebody wants of the positions of one mapping.

    Attributes:
        mapping: its name.
        arn: the stream that it reads by its configuration; None where that is not known.
        to: where its shards are to go, or the file that says where each goes.
        shard: the only one to go there; None for all.
        stream: the stream as it is now; only for a file, and only where nothing is stored to compare it with.
    """

    mapping: str
    arn: str | None
    to: Position | Exported
    shard: str | None = None
    stream: StreamIdentity | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """What a change comes to; `begins` where nothing is stored of the stream yet."""

    identity: StreamIdentity
    moves: Sequence[Move]
    begins: bool = False


def plan(change: Change, streams: Sequence[Stored], *, now: float) -> Planned:
    """What a change comes to.

    Args:
        change: what is asked for.
        streams: all that is stored of the mapping.
        now: epoch seconds.

    Raises:
        PositionsError: it cannot be done.
    """
    if isinstance(change.to, Exported):
        return _plan_of_file(change, change.to, streams)
    stored = chosen(streams, mapping=change.mapping, arn=change.arn)
    return Planned(stored.identity, moves_to(stored, change.to, shard=change.shard, now=now))


def _plan_of_file(change: Change, exported: Exported, streams: Sequence[Stored]) -> Planned:
    arn = change.arn or exported.stored.identity.arn
    stored = next((each for each in streams if each.identity.arn == arn), None)
    now = change.stream if stored is None else stored.identity
    if now is None:
        raise PositionsError(
            f"nothing is stored of mapping {change.mapping} on {arn}, and nobody has looked the stream up",
            hint="Import with a configuration that has the mapping.",
        )
    check_stream(exported, now)
    return Planned(now, moves_of(stored, exported.stored.shards.values()), begins=stored is None)


async def stored_of(store: StateStore, mapping: str) -> list[Stored]:
    """All that a store has of a mapping, by stream.

    Raises:
        StateError: the store cannot.
    """
    found = [
        await store.load(mapping, summary.identity.arn)
        for summary in await store.mappings()
        if summary.mapping == mapping
    ]
    return [each for each in found if each is not None]


async def carry_out(change: Change, store: StateStore, *, now: float) -> Planned:
    """Do it; nobody may be reading the mapping's stream. Returns what it came to.

    Raises:
        PositionsError: it cannot be done.
        StateError: the store cannot.
    """
    planned = plan(change, await stored_of(store, change.mapping), now=now)
    if planned.begins:
        await store.begin(change.mapping, planned.identity)
    await store.move(change.mapping, planned.identity, *(move.after for move in planned.moves))
    return planned
