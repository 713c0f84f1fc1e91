"""What a further receive of an SQS mapping may ask for: nothing is received that could not be started.

A receive reserves the places of the batches that it may bring, until it has ended. There are as many at once as the
backlog deserves, and one while the mapping is in trouble. One beside others asks for a good deal or is not made: were it to
ask for each place as it becomes free, batches of one would soon be received one by one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from esmd.pollers.sqs import MAX_RECEIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.mappings.batching import Batcher
    from esmd.sqs.batch import Surroundings
    from esmd.sqs.batches import Batches
    from esmd.sqs.lookup import QueueLookup
    from esmd.trouble import Trouble

    Ask = tuple[int, int]
    """How many messages a receive asks for, and the places that it reserves."""


class Receives:
    """Counts those under way and says when there may be one more.

    Args:
        around: what the mapping's batches share.
        lookup: knows whether the queue has been found.
        batcher: holds the records of an open window.
        batches: hold places.
        trouble: of the mapping.
        wake: called when a place has become free that could not be had now.

    Attributes:
        under_way: how many there are.
    """

    def __init__(
        self,
        around: Surroundings,
        *,
        lookup: QueueLookup,
        batcher: Batcher,
        batches: Batches,
        trouble: Trouble,
        wake: Callable[[], None],
    ) -> None:
        self.under_way = 0
        self._settings = around.settings
        self._function = around.function
        self._scaling = around.scaling
        self._lookup = lookup
        self._batcher = batcher
        self._batches = batches
        self._trouble = trouble
        self._wake = wake
        self._asked = 0
        self._reserved = 0

    def reserve(self, now: float) -> Ask | None:
        """Take what a further receive needs; None if there is to be none. `now` is the loop's time."""
        if now < self._trouble.retry_at:
            return None
        allowed = 1 if self._trouble.exists or self._lookup.queue is None else self._scaling.receives
        if self.under_way >= allowed:
            return None
        most = self._askable()
        if most < 1 or (self.under_way and most < self._worthwhile()):
            return None
        places = self._places(most)
        self.under_way += 1
        self._asked += most
        self._reserved += places
        return most, places

    def ended(self, ask: Ask) -> None:
        """A receive is over; its batches, if there are any, are counted from here on."""
        most, places = ask
        self.under_way -= 1
        self._asked -= most
        self._reserved -= places

    def _worthwhile(self) -> int:
        """How many messages a receive beside others asks for at least."""
        settings = self._settings
        most = settings.batch_size if settings.fifo else self._scaling.concurrency * settings.batch_size
        return min(MAX_RECEIVE, math.ceil(most / 2))

    def _askable(self) -> int:
        """How many messages a further receive may ask for, so that all of them could be started."""
        settings, batches = self._settings, self._batches
        concurrency = self._scaling.concurrency
        # As on AWS it is invocations that are limited. Deletes may lag behind by as many batches, and not by more.
        lagging = max(0, batches.finishing - concurrency)
        free = concurrency - batches.running - len(batches.ready) - lagging
        room = self._function.room
        if settings.window:
            if room <= batches.starting:
                self._function.wants_room(self._wake)
                return 0
            return min(MAX_RECEIVE, free * settings.batch_size - len(self._batcher) - self._asked)
        room -= len(batches.ready) + batches.starting
        if room < free:
            if room <= self._reserved:
                self._function.wants_room(self._wake)
            free = room
        free -= self._reserved
        if settings.fifo:
            return min(MAX_RECEIVE, settings.batch_size) if free > 0 else 0
        return min(MAX_RECEIVE, free * settings.batch_size)

    def _places(self, most: int) -> int:
        """Places that a receive of `most` messages reserves; a windowed mapping counts messages instead."""
        if self._settings.window:
            return 0
        return 1 if self._settings.fifo else math.ceil(most / self._settings.batch_size)
