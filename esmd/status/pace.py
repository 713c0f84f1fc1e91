"""How fast mappings are: their totals looked at once a second, and kept for a minute.

Nothing is done for a record: rates are differences between two looks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from esmd.status.model import Pace, Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esmd.observe.statistics import Counts, Statistics

PERIOD = 1.0
"""Seconds between two looks."""

SECONDS = 60
"""How long they are kept."""

_SHOWN = ("received", "filtered", "invoked", "failed", "deleted", "discarded")
_Look = tuple[float, tuple[int, ...]]


class Paces:
    """Looks at the totals of mappings. Make it inside the running loop.

    Args:
        statistics: what counts.
        names: the mappings that there are now.
    """

    def __init__(self, statistics: Statistics, names: Callable[[], Iterable[str]]) -> None:
        self._statistics = statistics
        self._names = names
        self._loop = asyncio.get_running_loop()
        self._looks: dict[str, deque[_Look]] = {}

    async def run(self) -> None:
        """Look once a second, until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(PERIOD)

    def look(self) -> None:
        """Look now."""
        now = self._loop.time()
        names = list(self._names())
        for name in names:
            looks = self._looks.get(name)
            if looks is None:
                looks = self._looks[name] = deque(maxlen=SECONDS + 1)
            values = _values(self._statistics.totals(name))
            if looks and looks[-1][1] == values:
                values = looks[-1][1]  # an idle mapping keeps one tuple, not sixty
            looks.append((now, values))
        for gone in self._looks.keys() - set(names):
            del self._looks[gone]
            self._statistics.forget(gone)

    def of(self, name: str) -> Pace:
        """A mapping's pace by the looks so far."""
        looks = list(self._looks.get(name, ()))
        steps = [tuple(b - a for a, b in zip(one[1], two[1], strict=True)) for one, two in pairwise(looks)]
        invoked, failed = _SHOWN.index("invoked"), _SHOWN.index("failed")
        now = self._loop.time()
        if looks and now > looks[-1][0]:  # what was counted since then belongs to the rates, not to a whole second
            looks.append((now, _values(self._statistics.totals(name))))
        return Pace(
            last_10_s=_rates(looks, 10),
            last_60_s=_rates(looks, 60),
            invoked=tuple(step[invoked] for step in steps),
            failed=tuple(step[failed] for step in steps),
        )


def _values(counts: Counts) -> tuple[int, ...]:
    return tuple(getattr(counts, name) for name in _SHOWN)


def _rates(looks: list[_Look], seconds: int) -> Rates:
    """The means over the last `seconds` seconds, or over what there is of them; over one second at least."""
    looks = looks[-(seconds + 1) :]
    if len(looks) < 2:
        return Rates()
    (began, first), (ended, last) = looks[0], looks[-1]
    period = max(ended - began, PERIOD)
    return Rates(**{name: (b - a) / period for name, a, b in zip(_SHOWN, first, last, strict=True)})
