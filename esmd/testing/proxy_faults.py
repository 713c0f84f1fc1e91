"""What can go wrong on the way between a daemon and a server, for `esmd.testing.fault_proxy`.

    fault          work done    the client sees
    -------------  -----------  -------------------------------------------------------------------
    Refuse         no           an HTTP error with an AWS error in its body
    Skewed         no           403: the signature's time is wrong, and a `Date` that is wrong too
    Drop           as asked     the connection closed without an answer
    Reset          as asked     the connection reset: without an answer, or in the middle of one
    Stall          afterwards   the answer, late; nothing, if it did not wait
    Garbage        yes          status 200 with a body that is no JSON
    Mislabelled    yes          the answer, with another content type
    Truncated      yes          the first half of the answer: as a whole body, or cut in mid-body
    Drip           yes          the answer, in small pieces
    Twice          twice        the second answer
    Repeat         no           the last answer to the very same request, once more

`Weather` draws them at random, the same for the same seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.testing.faults import Drop, Garbage, Refuse, Stall, Truncated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Drip",
    "Drop",
    "Garbage",
    "Mislabelled",
    "ProxyFault",
    "Refuse",
    "Repeat",
    "Reset",
    "Skewed",
    "Stall",
    "Truncated",
    "Twice",
    "Weather",
    "expired_token",
    "throttled",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Reset the connection: before the work, after it, or with half of the answer sent."""

    after_work: bool = False
    mid_body: bool = False


@dataclass(frozen=True, slots=True)
class Mislabelled:
    """Answer truly, under a wrong content type."""

    content_type: str = "text/html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    """Answer in so many pieces, each that many seconds after the one before."""

    pieces: int = 8
    pause: float = 0.02


@dataclass(frozen=True, slots=True)
class Twice:
    """Hand the request on two times, as a path that repeats a request by itself does."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Answer as the very same request was answered last, without asking. Without one before, it is handed on.

    Of a FIFO queue it would be an answer that no queue gives: its messages come in order.
    """


@dataclass(frozen=True, slots=True)
class Skewed:
    """Refuse the signature's time. `seconds` is how far the server's clock, in `Date`, is ahead."""

    seconds: float = 3600.0


ProxyFault = Refuse | Skewed | Drop | Reset | Stall | Garbage | Mislabelled | Truncated | Drip | Twice | Repeat


def throttled(action: str) -> Refuse:
    """The throttle of the service that an action belongs to."""
    if action in {"GetRecords", "GetShardIterator"}:
        return Refuse(400, "ProvisionedThroughputExceededException", "Rate exceeded for shard.")
    return Refuse(400, "ThrottlingException", "Rate exceeded")


def expired_token() -> Refuse:
    """What AWS answers to session credentials that have run out."""
    return Refuse(403, "ExpiredTokenException", "The security token included in the request is expired")


_ANY: Sequence[Callable[[str, random.Random], ProxyFault]] = (
    lambda _action, _chance: Refuse(500),
    lambda _action, _chance: Refuse(503, "ServiceUnavailable"),
    lambda action, _chance: throttled(action),
    lambda _action, _chance: expired_token(),
    lambda _action, chance: Skewed(chance.choice((-7200.0, -3600.0, 3600.0, 7200.0))),
    lambda _action, chance: Drop(after_work=chance.random() < 0.5),
    lambda _action, chance: Reset(after_work=chance.random() < 0.5),
    lambda _action, _chance: Reset(mid_body=True),
    lambda _action, chance: Stall(chance.uniform(0.05, 0.5)),
    lambda _action, _chance: Garbage(),
    lambda _action, _chance: Garbage(b"\x00\xff\xfe{"),
    lambda _action, _chance: Garbage(b""),
    lambda _action, _chance: Mislabelled(),
    lambda _action, _chance: Truncated(),
    lambda _action, _chance: Truncated(mid_body=True),
    lambda _action, chance: Drip(pieces=chance.randint(2, 12), pause=chance.uniform(0.001, 0.03)),
    lambda _action, _chance: Twice(),
)
_READS = frozenset(
    {"ReceiveMessage", "GetRecords", "GetShardIterator", "ListShards", "DescribeStream", "GetQueueAttributes"}
)
"""Whose last answer may come again. Of a write that would be a lie that no network tells: it was never done."""


class Weather:
    """Draws a fault, or none, for each call.

    Args:
        seed: the same one draws the same.
        share: of the calls that are struck, from 0 to 1. May be changed at any time.

    Attributes:
        share: as above.
    """

    def __init__(self, seed: int, *, share: float) -> None:
        self.share = share
        self._chance = random.Random(seed)

    def next_for(self, action: str) -> ProxyFault | None:
        """What strikes this call."""
        struck, drawn = self._chance.random() < self.share, self._chance.randrange(len(_ANY) + 1)
        if not struck:
            return None
        if drawn == len(_ANY):
            return Repeat() if action in _READS else Twice()
        return _ANY[drawn](action, self._chance)
