"""How far a mapping has come in a shard.

| kind           | value            | the next record is                      | order                     |
|----------------|------------------|-----------------------------------------|---------------------------|
| `TRIM_HORIZON` | -                | the oldest one kept                     | before every other kind   |
| `LATEST`       | -                | the first one written from now on       | before every other kind   |
| `AT_TIMESTAMP` | epoch seconds    | the first one that arrived then or later | before every other kind  |
| `AFTER`        | sequence number  | the one behind that record              | by the number             |
| `SHARD_END`    | -                | none: every record is resolved          | after every other kind    |

The first three are starting positions: no record has been resolved yet. Among themselves they have no order, so one may
replace another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

Kind = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AFTER", "SHARD_END"]
"""What a position is; see the module's table."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a shard: `TRIM_HORIZON`, `LATEST`, `SHARD_END`, `Position.after(...)`, `Position.at_timestamp(...)`.

    Attributes:
        kind: see the module's table.
        sequence_number: decimal text exactly as the stream spells it, leading zeros included; only for `AFTER`.
        timestamp: epoch seconds; only for `AT_TIMESTAMP`.

    Raises:
        ValueError: the value does not fit the kind.
    """

    kind: Kind
    sequence_number: str | None = None
    timestamp: float | None = None

    def __post_init__(self) -> None:
        number = self.sequence_number
        if (self.kind == "AFTER") != (number is not None):
            raise ValueError(f"{self.kind} {'needs a' if self.kind == 'AFTER' else 'takes no'} sequence number")
        if (self.kind == "AT_TIMESTAMP") != (self.timestamp is not None):
            raise ValueError(f"{self.kind} {'needs a' if self.kind == 'AT_TIMESTAMP' else 'takes no'} timestamp")
        if number is not None and not (number.isascii() and number.isdigit()):
            raise ValueError(f"a sequence number is decimal digits, not {number[:60]!r}")
        if self.timestamp is not None and not math.isfinite(self.timestamp):
            raise ValueError(f"a timestamp is finite epoch seconds, not {self.timestamp}")

    @classmethod
    def after(cls, sequence_number: str) -> Self:
        """Behind the record with that sequence number."""
        return cls("AFTER", sequence_number=sequence_number)

    @classmethod
    def at_timestamp(cls, timestamp: float) -> Self:
        """At the first record that arrived at that time (epoch seconds) or later."""
        return cls("AT_TIMESTAMP", timestamp=timestamp)

    @property
    def is_start(self) -> bool:
        """Whether no record has been resolved yet."""
        return self.order[0] == 0

    @property
    def order(self) -> tuple[int, int]:
        """Compares positions of one shard; sequence numbers count as integers, since their lengths vary [B.7]."""
        if self.kind == "AFTER":
            return (1, int(self.sequence_number or 0))
        return (2 if self.kind == "SHARD_END" else 0, 0)

    def is_behind(self, other: Position) -> bool:
        """Whether going from `other` to this one would undo progress."""
        return self.order < other.order

    def __str__(self) -> str:
        if self.kind == "AFTER":
            return f"after {self.sequence_number}"
        return f"at {self.timestamp}" if self.kind == "AT_TIMESTAMP" else self.kind


TRIM_HORIZON = Position("TRIM_HORIZON")
LATEST = Position("LATEST")
SHARD_END = Position("SHARD_END")
