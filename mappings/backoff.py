"""How long to wait before trying again: exponential, capped, jittered."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def delay(failures: int, *, initial: float, maximum: float, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the `failures`-th failure in a row (1 is the first).

    Doubles from `initial` up to `maximum`, then takes between three quarters and all of it, so that many mappings
    that failed together do not come back together.

    Args:
        failures: at least 1.
        initial: seconds after the first failure.
        maximum: most seconds, jitter included.
        jitter: returns a number in [0, 1).
    """
    exponent = min(failures - 1, 63)
    return min(maximum, initial * float(2**exponent)) * (0.75 + 0.25 * jitter())
