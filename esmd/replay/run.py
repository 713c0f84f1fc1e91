"""The loop of a replay: takes items from a source, has them handled, and lets go of those that were, of no others.

| result     | meaning                                                            | leaves its source           |
|------------|--------------------------------------------------------------------|-----------------------------|
| `replayed` | handled, or sent back to its queue                                 | yes                         |
| `failed`   | tried, and not handled                                             | no                          |
| `expired`  | all or some of its records are gone from the stream; the rest is handled | only if that was asked for |
| `kept`     | not tried: no filter matches it, it is no failure record, not now  | no                          |
| `planned`  | what a dry run says of what would be tried                         | no                          |
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from esmd.tasks import unhurried

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.replay.sources import Item, ReplaySource

Status = Literal["replayed", "failed", "expired", "kept", "planned"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item; `text` is for a person."""

    status: Status
    text: str


class Worker(Protocol):
    """Handles items."""

    @property
    def at_once(self) -> int:
        """How many items one call of `work` takes at most."""
        ...

    async def work(self, items: Sequence[Item]) -> Sequence[Result]:
        """Handle some items; a result for each. What a source refuses is a result too, not an error."""
        ...


@dataclass(slots=True)
class Tally:
    """What came of a replay.

    Attributes:
        counts: results by status.
        left_alone: items that have come since the replay began.
        stuck: items that were replayed and could not be deleted, with the reason: they come again.
    """

    counts: Counter[Status] = field(default_factory=Counter)
    left_alone: int = 0
    stuck: list[str] = field(default_factory=list)

    @property
    def went_well(self) -> bool:
        """Whether nothing failed, nothing had expired and everything could be let go of."""
        return not (self.counts["failed"] or self.counts["expired"] or self.stuck)

    def __str__(self) -> str:
        statuses: list[Status] = ["replayed", "failed", "expired", "kept"]
        if self.counts["planned"]:
            statuses[0] = "planned"
        text = ", ".join(f"{self.counts[status]} {status}" for status in statuses)
        if self.left_alone:
            text += f", {self.left_alone} came since and were left alone"
        return f"{text}, {len(self.stuck)} not deleted" if self.stuck else text


class Pace:
    """Lets so many calls pass in a second, evenly; `rate` None lets all pass."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 0.0 if rate is None else 1 / rate
        self._next_at = 0.0

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = asyncio.get_running_loop().time()
        wait = self._next_at - now
        self._next_at = max(now, self._next_at) + self._interval
        await asyncio.sleep(max(0.0, wait))  # without a wait too: a cancellation that was put off strikes here


async def run(
    source: ReplaySource,
    worker: Worker,
    *,
    pace: Pace,
    limit: int | None,
    delete_expired: bool,
    say: Callable[[Item, Result], None],
) -> Tally:
    """Replay until the source has nothing more, or the limit is reached. What is held is given back, however this ends.

    Args:
        source: where items come from.
        worker: handles them.
        pace: how often it is called.
        limit: most items that are tried; None for all.
        delete_expired: whether items whose records have expired leave too.
        say: told every result.

    Raises:
        SourceError: the source cannot be read.
    """
    tally = Tally()
    leaving = {"replayed", "expired"} if delete_expired else {"replayed"}
    try:
        while items := list(await source.next()):
            while items:
                left = None if limit is None else limit - tally.counts.total() + tally.counts["kept"]
                if left is not None and left <= 0:
                    return tally
                some = items[: min(worker.at_once, left or worker.at_once)]
                del items[: len(some)]
                await pace.turn()
                results = await worker.work(some)
                done = [item for item, result in zip(some, results, strict=True) if result.status in leaving]
                if done:
                    tally.stuck += await unhurried(source.done(done))
                for item, result in zip(some, results, strict=True):
                    tally.counts[result.status] += 1
                    say(item, result)
        return tally
    finally:
        tally.left_alone = source.left_alone
        await unhurried(source.release())
