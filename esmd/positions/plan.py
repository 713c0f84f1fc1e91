"""Decides which shards go where; what was kept of failing batches and windows belongs to the old position and goes with it.

| asked for              | shard named | shards that move                                             |
|------------------------|-------------|--------------------------------------------------------------|
| `TRIM_HORIZON`, a time | no          | all, finished ones too: they may have such records           |
| `LATEST`               | no          | all but the finished ones: nothing is written to those       |
| a sequence number      | no          | refused: it means something in one shard only                |
| anything               | yes         | that one                                                     |
| anything               | an unknown one | refused, with the known ones                              |
| a file's positions     | -           | those of the file, new ones too; others stay                 |

A shard that is there already, with nothing kept beside, does not move. The children of a shard that is moved back wait
until it has been read to its end again, and then go on where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esmd.positions.errors import PositionsError
from esmd.positions.targets import lasting
from esmd.state.position import LATEST, SHARD_END

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esmd.state.position import Position
    from esmd.state.protocol import ShardProgress, Stored

_NAMED = 8
"""Shards that an error names."""


@dataclass(frozen=True, slots=True)
class Move:
    """One shard that goes elsewhere; `before` is None where nothing was stored of it."""

    before: ShardProgress | None
    after: ShardProgress

    @property
    def meaning(self) -> str:
        """What comes of it, for a person."""
        target = self.after.position
        if target.kind == "AFTER" and self.before is not None and self.before.position.kind == "AFTER":
            back = target.is_behind(self.before.position)
            return "records come again" if back else "records are skipped" if self.moves else "retries start anew"
        if target.kind == "TRIM_HORIZON":
            return "all records kept come again"
        if target == SHARD_END:
            return "the rest of the shard is skipped"
        return "goes on from there" if self.moves else "retries start anew"

    @property
    def moves(self) -> bool:
        """Whether the position changes, not only what is kept beside it."""
        return self.before is None or self.before.position != self.after.position


def moves_to(stored: Stored, target: Position, *, shard: str | None, now: float) -> list[Move]:
    """What moving to a target comes to, by the module's table.

    Args:
        stored: of the mapping.
        target: where to.
        shard: the only one to move; None for all of them.
        now: epoch seconds.

    Raises:
        PositionsError: see the table.
    """
    if not stored.shards:
        raise PositionsError(
            "no shard has a position yet", hint="The mapping begins at its starting_position when it runs first."
        )
    if shard is not None and shard not in stored.shards:
        raise PositionsError(f"there is no shard {shard!r}", hint=f"There are: {_named(stored.shards)}.")
    if shard is None and target.kind == "AFTER":
        raise PositionsError("a sequence number belongs to one shard", hint="Name it with --shard.")
    chosen = stored.shards.values() if shard is None else [stored.shards[shard]]
    passing = shard is None and target == LATEST
    return [
        Move(each, replace(each, position=lasting(target, now=now), trouble=None, window=None, updated_at=now))
        for each in chosen
        if not (passing and each.position == SHARD_END)
        and (each.position != target or each.trouble is not None or each.window is not None)
    ]


def moves_of(stored: Stored | None, progress: Iterable[ShardProgress]) -> list[Move]:
    """What it comes to if shards are to be as a file has them, failing batches and windows included."""
    shards = {} if stored is None else stored.shards
    return [Move(shards.get(each.shard_id), each) for each in progress if not _same(shards.get(each.shard_id), each)]


def chosen(streams: Sequence[Stored], *, mapping: str, arn: str | None) -> Stored:
    """The stream that is meant, among those that a mapping has positions in.

    Args:
        streams: all of them; there are several where the mapping's source was changed.
        mapping: its name.
        arn: of the stream that it reads by its configuration; None where that is not known.

    Raises:
        PositionsError: there is none, or it is not clear which one.
    """
    found = [each for each in streams if arn is None or each.identity.arn == arn]
    if not found:
        raise PositionsError(
            f"nothing is stored of mapping {mapping}" + ("" if arn is None else f" on {arn}"),
            hint="It begins at its starting_position when it runs first.",
        )
    if len(found) > 1:
        arns = ", ".join(each.identity.arn for each in found)
        raise PositionsError(
            f"mapping {mapping} has positions in several streams: {arns}",
            hint="Name the configuration that says which one it reads, with --config.",
        )
    return found[0]


def _same(before: ShardProgress | None, after: ShardProgress) -> bool:
    return before is not None and replace(before, updated_at=after.updated_at) == after


def _named(shards: Mapping[str, ShardProgress]) -> str:
    names = sorted(shards)
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
