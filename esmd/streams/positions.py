"""Positions as they are stored, and as the pollers seek them: two spellings of one thing.

| stored          | sought                  |
|-----------------|-------------------------|
| `TRIM_HORIZON`  | `TRIM_HORIZON`          |
| `LATEST`        | `LATEST`                |
| `AT_TIMESTAMP`  | `AT_TIMESTAMP`          |
| `AFTER`         | `AFTER_SEQUENCE_NUMBER` |
| `SHARD_END`     | never                   |
"""

from __future__ import annotations

from esmd.pollers import streams as seek
from esmd.pollers.streams import Place, Seek
from esmd.state import position as stored
from esmd.state.position import Position


def to_seek(position: Position) -> Seek:
    """Where to read a shard from.

    Raises:
        ValueError: the shard is at its end.
    """
    if position.kind == "AFTER" and position.sequence_number is not None:
        return Seek.after(position.sequence_number)
    if position.kind == "AT_TIMESTAMP" and position.timestamp is not None:
        return Seek.at_time(position.timestamp)
    if position.kind == "TRIM_HORIZON":
        return seek.TRIM_HORIZON
    if position.kind == "LATEST":
        return seek.LATEST
    raise ValueError(f"there is nothing to read at {position}")


def to_position(where: Seek) -> Position:
    """How a starting position is stored.

    Raises:
        ValueError: it names a record; progress is stored as `Position.after` what is resolved.
    """
    if where.place is Place.AT_TIMESTAMP and where.timestamp is not None:
        return Position.at_timestamp(where.timestamp)
    if where.place is Place.TRIM_HORIZON:
        return stored.TRIM_HORIZON
    if where.place is Place.LATEST:
        return stored.LATEST
    raise ValueError(f"{where} is no starting position")
