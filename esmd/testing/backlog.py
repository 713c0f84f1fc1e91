"""What waits in one queue of the fake SQS: the data structures behind constant-time sends, receives and deletes.

Places of a message, and what moves it:

    place      becomes    when
    ---------  ---------  --------------------------------------------------------------
    (new)      delayed    `add` with a delay
    (new)      visible    `add` without one
    delayed    visible    `expire`: its delay has run out
    visible    inflight   `take`
    visible    gone       `take`, if it was received as often as it may (goes to the dead-letter queue)
    inflight   inflight   `hide`: the visibility timeout starts anew
    inflight   visible    `expire`: its visibility timeout has run out
    any        gone       `remove`, `clear`

No operation looks at more than it changes: hidden messages stand in a heap by the time they come back, and entries
that a later operation made void are dropped when they surface, or all at once when they are the majority.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque

from esmd.testing.sqs_messages import Message, Place

_TOLERATED_VOID = 256
"""So many void heap entries are left alone: rebuilding a small heap gains nothing."""


class Backlog:
    """The messages of a standard queue."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.delayed = self.visible = self.inflight = 0
        self._ready: deque[Message] = deque()
        self._hidden: list[tuple[float, int, Message, int]] = []
        self._void = 0
        self._tick = itertools.count()

    def add(self, message: Message, *, until: float | None = None) -> None:
        """Take in a message, hidden until `until` (None: visible at once)."""
        message.order = next(self._tick)
        message.receives_here = 0
        self.messages[message.id] = message
        if until is None:
            self._show(message)
        else:
            message.place = Place.DELAYED
            self.delayed += 1
            self._hide(message, until)

    def take(self, limit: int, *, until: float, most_receives: float) -> tuple[list[Message], list[Message]]:
        """Return up to `limit` visible messages, now in flight until `until`, and the overdue ones met on the way.

        A message that was handed out `most_receives` times by this queue is overdue: it leaves the queue.
        """
        taken: list[Message] = []
        overdue: list[Message] = []
        while self._ready and len(taken) < limit:
            message = self._ready.popleft()
            if message.place is Place.VISIBLE:  # else it was deleted while it stood here
                self._deliver(message, until, most_receives, taken, overdue)
        return taken, overdue

    def hide(self, message: Message, until: float) -> None:
        """Hide a message that is in flight until `until`, whatever was said before."""
        self._void += 1
        self._hide(message, until)
        self._tidy()

    def remove(self, message: Message) -> None:
        """Delete a message that is in flight or visible."""
        del self.messages[message.id]
        was = message.place
        message.place = Place.GONE
        if was is Place.INFLIGHT:
            self.inflight -= 1
            self._void += 1
            self._tidy()
            self._unlock(message)
        else:
            self.visible -= 1

    def clear(self) -> None:
        """Delete everything."""
        for message in self.messages.values():
            message.place = Place.GONE
        self.messages.clear()
        self._ready.clear()
        self._hidden.clear()
        self._void = self.delayed = self.visible = self.inflight = 0

    def expire(self, now: float) -> None:
        """Make visible what was hidden until `now` or earlier."""
        while self._hidden and (self._hidden[0][0] <= now or not _is_current(self._hidden[0])):
            entry = heapq.heappop(self._hidden)
            if not _is_current(entry):
                self._void -= 1
                continue
            message = entry[2]
            if message.place is Place.DELAYED:
                self.delayed -= 1
                self._show(message)
            else:
                self.inflight -= 1
                self._show(message)
                self._unlock(message)

    def next_expiry(self) -> float | None:
        """Return when the next hidden message comes back; None if nothing is hidden. Call `expire` before."""
        return self._hidden[0][0] if self._hidden else None

    def _deliver(
        self, message: Message, until: float, most_receives: float, taken: list[Message], overdue: list[Message]
    ) -> None:
        self.visible -= 1
        if message.receives_here >= most_receives:
            message.place = Place.GONE
            del self.messages[message.id]
            overdue.append(message)
            return
        message.place = Place.INFLIGHT
        self.inflight += 1
        self._hide(message, until)
        taken.append(message)

    def _hide(self, message: Message, until: float) -> None:
        message.hold += 1
        heapq.heappush(self._hidden, (until, next(self._tick), message, message.hold))

    def _tidy(self) -> None:
        if self._void > _TOLERATED_VOID and 2 * self._void > len(self._hidden):
            self._hidden = [entry for entry in self._hidden if _is_current(entry)]
            heapq.heapify(self._hidden)
            self._void = 0

    def _show(self, message: Message) -> None:
        message.place = Place.VISIBLE
        self.visible += 1
        self._ready.append(message)

    def _unlock(self, message: Message) -> None:
        """Note that `message` is in flight no longer; in a standard queue nothing waits for that."""


class _Group:
    """One message group: what waits, oldest first, and how many are in flight."""

    __slots__ = ("busy", "queued", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Message]] = []
        self.busy = 0
        self.queued = False


class FifoBacklog(Backlog):
    """The messages of a FIFO queue: a group with a message in flight is locked, and yields in order."""

    def __init__(self) -> None:
        super().__init__()
        self._groups: dict[str, _Group] = {}
        self._open: deque[str] = deque()

    def take(self, limit: int, *, until: float, most_receives: float) -> tuple[list[Message], list[Message]]:
        """See `Backlog.take`; as many as possible come from one group, then from the next."""
        taken: list[Message] = []
        overdue: list[Message] = []
        while self._open and len(taken) < limit:
            name = self._open.popleft()
            group = self._groups[name]
            group.queued = False
            while group.waiting and len(taken) < limit:
                before = len(taken)
                self._deliver(heapq.heappop(group.waiting)[1], until, most_receives, taken, overdue)
                group.busy += len(taken) - before
            self._settle(name, group)
        return taken, overdue

    def clear(self) -> None:
        """Delete everything."""
        super().clear()
        self._groups.clear()
        self._open.clear()

    def _show(self, message: Message) -> None:
        message.place = Place.VISIBLE
        self.visible += 1
        name = _group_name(message)
        group = self._groups.setdefault(name, _Group())
        heapq.heappush(group.waiting, (message.order, message))
        self._settle(name, group)

    def _unlock(self, message: Message) -> None:
        name = _group_name(message)
        group = self._groups[name]
        group.busy -= 1
        self._settle(name, group)

    def _settle(self, name: str, group: _Group) -> None:
        """Offer a group that is free and has messages; forget one that has none at all."""
        if group.busy or group.queued:
            return
        if group.waiting:
            group.queued = True
            self._open.append(name)
        else:
            del self._groups[name]


def _group_name(message: Message) -> str:
    if message.group is None:
        raise TypeError(f"message {message.id} of a FIFO queue has no group")
    return message.group


def _is_current(entry: tuple[float, int, Message, int]) -> bool:
    """Whether the hiding period that the entry ends is still the message's present one."""
    _, _, message, hold = entry
    return message.hold == hold and message.place in (Place.DELAYED, Place.INFLIGHT)
