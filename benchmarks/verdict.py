"""Decides whether a share of the floor has been lost, with as few rounds as are enough. Pure.

| rounds so far      | median of the shares              | verdict |
|--------------------|-----------------------------------|---------|
| less than `least`  | any                               | none    |
| at least `least`   | clearly more than may be left     | fine    |
| ... but not `most` | less                              | none    |
| `most`             | at least what may be left         | fine    |
| `most`             | less                              | lost    |

So what is fine is found quickly, and what seems lost is looked at for long before anyone is told.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALLOWED_LOSS = 0.15
"""The part of a committed share that may be missing."""

CLEARLY = 1.06
"""So many times what may be left is clearly more: two thirds of the allowed loss are not used up."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Rounds of a check: how many at least, and at most."""

    least: int
    most: int


@dataclass(slots=True)
class Share:
    """What the daemon reached of the floor in one figure, round by round: the floor's figure divided by the daemon's.

    Attributes:
        committed: what it reached once; None if nobody knows, and then nothing can be lost.
        rounds: what it reached now.
    """

    committed: float | None
    rounds: list[float] = field(default_factory=list)

    @property
    def now(self) -> float:
        """The median."""
        return statistics.median(self.rounds)

    @property
    def least(self) -> float:
        """What must be left."""
        return 0.0 if self.committed is None else self.committed * (1 - ALLOWED_LOSS)

    @property
    def is_lost(self) -> bool:
        """Whether too much of it is gone, by what is known so far."""
        return self.now < self.least

    @property
    def is_clear(self) -> bool:
        """Whether it is fine by so much that more rounds would tell nothing new."""
        return self.now >= self.least * CLEARLY


def judge(
    rounds: Iterable[Mapping[str, float]], committed: Mapping[str, float], patience: Patience
) -> dict[str, Share]:
    """Take rounds until all shares are decided; the shares by name.

    Args:
        rounds: the shares of each round; no more are asked for than are needed.
        committed: the shares that were reached once.
        patience: how many rounds.
    """
    shares: dict[str, Share] = {}
    for count, found in enumerate(rounds, 1):
        for name, value in found.items():
            shares.setdefault(name, Share(committed.get(name))).rounds.append(value)
        if count >= patience.most or (count >= patience.least and all(share.is_clear for share in shares.values())):
            break
    return shares
