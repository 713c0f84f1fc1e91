"""What strikes, and when: drawn from a seed, so that a run can be made again.

A schedule is a line of steps. Each lasts a while; some are calm, and what comes twice in a calm that nothing preceded is
a defect. Pure: nothing here knows a process or a clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["calm", "weather", "storm", "down", "kill", "term", "freeze", "reshard", "reload"]

_WEIGHTS: dict[Kind, int] = {
    "calm": 4,
    "weather": 6,
    "storm": 3,
    "down": 3,
    "kill": 4,
    "term": 2,
    "freeze": 2,
    "reshard": 3,
    "reload": 2,
}
_LASTS: dict[Kind, tuple[float, float]] = {
    "calm": (4.0, 8.0),
    "weather": (2.0, 8.0),
    "storm": (1.0, 4.0),
    "down": (0.3, 3.0),
    "kill": (1.0, 4.0),
    "term": (1.0, 4.0),
    "freeze": (0.5, 5.0),
    "reshard": (1.0, 3.0),
    "reload": (1.0, 3.0),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        kind: what happens.
        seconds: how long it lasts.
        share: of the calls that are struck meanwhile.
        fraction: what is drawn for whatever else has to be chosen, from 0 to 1.
    """

    kind: Kind
    seconds: float
    share: float
    fraction: float


def steps(seed: int) -> Iterator[Step]:
    """The steps of a seed, without end. The first is calm: the daemon starts."""
    chance = random.Random(seed)
    yield Step("calm", 3.0, 0.0, 0.0)
    kinds = list(_WEIGHTS)
    while True:
        [kind] = chance.choices(kinds, [_WEIGHTS[each] for each in kinds])
        least, most = _LASTS[kind]
        seconds, fraction = chance.uniform(least, most), chance.random()
        share = {"weather": chance.uniform(0.02, 0.2), "storm": chance.uniform(0.4, 0.9)}.get(kind, 0.0)
        yield Step(kind, seconds, share, fraction)
