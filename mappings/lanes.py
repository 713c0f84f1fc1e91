"""The lanes of one shard: several batches at once, order kept per key, one checkpoint [specification B.3].

With `parallelization_factor` N a shard has N lanes. A record's lane follows from its ordering key, so the records of
one key stay behind each other; at most one batch of a lane is under way. Each lane gathers its batches with a
`Batcher` of its own, by the same rules as ever.

A record's way, and what it holds back:

| state     | how it gets there                              | in `outstanding` | checkpoint may pass |
|-----------|------------------------------------------------|------------------|---------------------|
| waiting   | `add`                                          | yes              | no                  |
| taken     | `take`, in a batch                             | yes              | no                  |
| resolved  | `resolve`: processed or discarded for good     | no               | yes                 |
| skipped   | `skip`: no filter matches it                   | no               | yes                 |
| known     | `add`, but resolved before a restart           | no               | yes                 |
| repeated  | `add`, but it is outstanding already           | (counted once)   | no                  |

The checkpoint is the highest sequence number up to which everything is resolved, over all lanes. Beyond it other
lanes may have finished much more; `snapshot` keeps how far each lane has come, so that a restart with the same factor
repeats only what was under way. With another factor the keys lie in other lanes, and what follows the checkpoint is
delivered again.

A lane hands out records only when it is asked (`take`). What arrives meanwhile waits, and is batched together when
the lane is free again: a shard that was held up catches up in full batches. A record whose sequence number is not
above those before it, and which is not outstanding, is delivered (again): better twice than never.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.mappings.batching import Batcher
from esmd.mappings.events import MAX_EVENT_BYTES
from esmd.mappings.outstanding import InOrder, Outstanding, Scattered
from esmd.mappings.records import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esmd.mappings.records import Record


class _Waiting:
    """Records in order, put in and taken out by the list."""

    __slots__ = ("_at", "_runs")

    def __init__(self) -> None:
        self._runs: deque[list[Record]] = deque()
        self._at = 0  # so many of the first run are gone

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def front(self) -> Record:
        """The oldest."""
        return self._runs[0][self._at]

    def put(self, records: list[Record]) -> None:
        """Behind the others; the list is ours from now on, and never empty."""
        self._runs.append(records)

    def take(self, most: int) -> list[Record]:
        """The oldest ones."""
        taken: list[Record] = []
        while self._runs and len(taken) < most:
            run, start = self._runs[0], self._at
            self._at += most - len(taken)
            taken += run[start : self._at]
            if self._at >= len(run):
                self._runs.popleft()
                self._at = 0
        return taken

    def take_while(self, wanted: Callable[[Record], bool], most: int) -> list[Record]:
        """The oldest ones, up to the first that is not wanted."""
        taken: list[Record] = []
        while self._runs and len(taken) < most and wanted(self.front):
            taken += self.take(1)
        return taken


@dataclass(slots=True)
class _Lane:
    batcher: Batcher
    waiting: _Waiting = field(default_factory=_Waiting)
    ready: deque[Batch] = field(default_factory=deque)
    ends_at: int | None = None
    under_way: int = 0


class Lanes:
    """The records of one shard between reading and resolving. Clocks are monotonic, in seconds."""

    def __init__(
        self,
        factor: int,
        *,
        batch_size: int,
        window: float,
        max_bytes: int = MAX_EVENT_BYTES,
        checkpoint: str | None = None,
        resume: dict[str, Any] | None = None,
    ) -> None:
        """Start where an earlier process stopped, or anew.

        Args:
            factor: `parallelization_factor`, 1 to 10: batches at once.
            batch_size: most records of a batch.
            window: batching window, seconds; 0 for none.
            max_bytes: largest event; less of it for records where the event says more (tumbling windows).
            checkpoint: the sequence number reading resumes after; None at the start of a shard.
            resume: what `snapshot` returned; of another factor, or damaged, it is as if there were none.
        """
        self._factor = factor
        self._batch_size = batch_size
        known = _positions(resume, factor)
        self._outstanding: Outstanding = (
            InOrder(checkpoint, known[0] if known else None) if factor == 1 else Scattered(checkpoint, known, factor)
        )
        self._lanes = [_Lane(Batcher(batch_size=batch_size, window=window, max_bytes=max_bytes)) for _ in range(factor)]

    @property
    def factor(self) -> int:
        """How many lanes there are."""
        return self._factor

    @property
    def checkpoint(self) -> str | None:
        """Everything up to this sequence number is resolved; None while nothing is. Never goes back."""
        return self._outstanding.reached_text

    @property
    def last_read(self) -> str | None:
        """The highest sequence number that came in: reading goes on after it when an iterator is lost."""
        return self._outstanding.last_text

    @property
    def outstanding(self) -> int:
        """Records that came in and are not resolved."""
        return self._outstanding.count

    @property
    def outstanding_bytes(self) -> int:
        """Bytes of these records inside an event: what reading ahead has to be bounded by."""
        return self._outstanding.size

    def add(self, records: Iterable[Record]) -> int:
        """Take in records in the order they were read. Returns how many of them there are to deliver."""
        added = 0
        for lane, ours in self._outstanding.add(list(records)).items():
            if ours:
                self._lanes[lane].waiting.put(ours)
                added += len(ours)
        return added

    def skip(self, record: Record) -> None:
        """Resolve a record that is not to be delivered, in its turn among those of `add`."""
        self.skip_to(record.id)

    def skip_to(self, sequence_number: str) -> None:
        """Resolve what was read up to here and not added, such as records that no filter matches."""
        self._outstanding.skip_to(sequence_number)

    def front(self, lane: int = 0) -> Record | None:
        """The oldest record of a lane that was not taken yet."""
        state = self._lanes[lane]
        if state.ready:
            return state.ready[0].records[0]
        if state.batcher:
            return state.batcher.gathered[0]
        return state.waiting.front if state.waiting else None

    def take(self, lane: int, now: float, *, joins: Callable[[Record], bool] | None = None) -> Batch | None:
        """The lane's next batch; None while none is due, or while a record of the last one is unresolved.

        Args:
            lane: 0 to `factor` - 1.
            now: monotonic seconds.
            joins: whether a record may be in a batch with those before it; the first that may not ends the batch
                (cut "window") and stays. None if all may.
        """
        state = self._lanes[lane]
        batch = None if state.under_way else self._next_batch(state, now, joins)
        if batch is not None:
            state.under_way = len(batch.records)
        return batch

    def _next_batch(self, state: _Lane, now: float, joins: Callable[[Record], bool] | None) -> Batch | None:
        if state.ends_at is not None:
            end = state.ends_at
            if self._outstanding.last < end:
                return None
            resumed = state.waiting.take_while(lambda record: int(record.id) <= end, self._outstanding.count)
            state.ends_at = None
            if resumed:
                return Batch(resumed, "drain")
        barred = False
        while state.waiting and not state.ready and not barred:
            room = self._batch_size - len(state.batcher)
            if joins is None:
                chunk = state.waiting.take(room)
            else:
                chunk = state.waiting.take_while(joins, room)
                barred = len(chunk) < room and bool(state.waiting)
            state.ready.extend(state.batcher.add(chunk, now))
        if not state.ready and barred and state.batcher:
            return Batch(state.batcher.drain(), "window")
        return state.ready.popleft() if state.ready else state.batcher.expire(now)

    def due(self, lane: int) -> float | None:
        """When to ask `take` though nothing more arrives or is resolved: at once if -infinity, never if None."""
        state = self._lanes[lane]
        if state.under_way:
            return None
        if state.ends_at is not None:
            return -math.inf if self._outstanding.last >= state.ends_at else None
        return -math.inf if state.ready or state.waiting else state.batcher.due

    def end_first_batch_at(self, lane: int, sequence_number: str) -> None:
        """Form a lane's next batch exactly as it was before a restart: everything up to this sequence number.

        `take` waits until the shard was read that far, whatever the window, then goes on as usual. The batch has
        the cut "drain": it was under way when the mapping stopped.
        """
        self._lanes[lane].ends_at = int(sequence_number)

    def batch_ended(self, lane: int, now: float) -> None:
        """Tell that a lane's batch is resolved: the next batching window opens."""
        self._lanes[lane].batcher.invocation_ended(now)

    def resolve(self, sequence_numbers: Iterable[str]) -> bool:
        """Records that were taken are processed, or discarded for good. Returns whether the checkpoint moved.

        Raises:
            KeyError: if one is not outstanding: resolving what was never read would move the checkpoint past it.
        """
        before = self._outstanding.reached
        for lane, count in self._outstanding.resolve(list(sequence_numbers)).items():
            self._lanes[lane].under_way -= count
        return self._outstanding.reached > before

    def snapshot(self) -> dict[str, Any] | None:
        """How far each lane has come, as JSON values, to be stored with the checkpoint; None if no lane is ahead."""
        positions, reached = self._outstanding.positions(), self._outstanding.reached
        if all(position <= reached for position in positions):
            return None
        return {"factor": self._factor, "positions": [str(position) for position in positions]}


def _positions(resume: dict[str, Any] | None, factor: int) -> list[int] | None:
    """The positions of a snapshot; None where there is none that fits."""
    if not isinstance(resume, dict) or resume.get("factor") != factor:
        return None
    try:
        positions = [int(position) for position in resume["positions"]]
    except (KeyError, TypeError, ValueError):
        return None
    return positions if len(positions) == factor else None
