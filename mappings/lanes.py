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
from zlib import crc32

from esmd.mappings.batching import Batcher
from esmd.mappings.events import MAX_EVENT_BYTES
from esmd.mappings.records import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esmd.mappings.records import Record


def lane_of(ordering_key: str | None, factor: int) -> int:
    """The lane of a key, 0 to `factor` - 1: the same in every process, and in every version of esmd."""
    if factor == 1 or ordering_key is None:
        return 0
    return crc32(ordering_key.encode("utf-8", "surrogatepass")) % factor


@dataclass(slots=True, eq=False)
class _Entry:
    """A record that holds the checkpoint back.

    `through` is how far the checkpoint goes once it is resolved: past the skipped records behind it, which
    therefore need no entries of their own. `text` is the same as the stream spells it: some pad with zeros.
    """

    through: int
    text: str
    size: int
    lane: int
    number: int
    resolved: bool = False


@dataclass(slots=True)
class _Lane:
    batcher: Batcher
    position: int
    waiting: deque[Record] = field(default_factory=deque)
    ready: deque[Batch] = field(default_factory=deque)
    entries: deque[_Entry] = field(default_factory=deque)
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
        self._checkpoint = -1 if checkpoint is None else int(checkpoint)
        self._last = self._checkpoint
        self._checkpoint_text = checkpoint
        self._last_text = checkpoint
        self._known = _positions(resume, factor)
        self._lanes = [
            _Lane(Batcher(batch_size=batch_size, window=window, max_bytes=max_bytes), max(self._checkpoint, position))
            for position in self._known or [self._checkpoint] * factor
        ]
        self._log: deque[_Entry] = deque()
        self._entries: dict[str, _Entry] = {}
        self._bytes = 0

    @property
    def factor(self) -> int:
        """How many lanes there are."""
        return self._factor

    @property
    def checkpoint(self) -> str | None:
        """Everything up to this sequence number is resolved; None while nothing is. Never goes back."""
        return self._checkpoint_text

    @property
    def last_read(self) -> str | None:
        """The highest sequence number that came in: reading goes on after it when an iterator is lost."""
        return self._last_text

    @property
    def outstanding(self) -> int:
        """Records that came in and are not resolved."""
        return len(self._entries)

    @property
    def outstanding_bytes(self) -> int:
        """Bytes of these records inside an event: what reading ahead has to be bounded by."""
        return self._bytes

    def add(self, records: Iterable[Record]) -> int:
        """Take in records in the order they were read. Returns how many of them there are to deliver."""
        added = 0
        # Every record of every stream comes through here: what can be looked up once, is.
        factor, known, entries, lanes, log = self._factor, self._known, self._entries, self._lanes, self._log
        lane_number = 0
        for record in records:
            sequence_number, size = record.id, len(record.event)
            if sequence_number in entries:
                continue
            number = int(sequence_number)
            if factor > 1:
                lane_number = lane_of(record.ordering_key, factor)
            if known is not None and number <= known[lane_number]:
                self.skip(record)
                continue
            if number > self._last:
                self._last, self._last_text = number, sequence_number
            entry = _Entry(self._last, self._last_text or sequence_number, size, lane_number, number)
            log.append(entry)
            lane = lanes[lane_number]
            if factor > 1:
                lane.entries.append(entry)
            lane.waiting.append(record)
            entries[sequence_number] = entry
            self._bytes += size
            added += 1
        return added

    def skip(self, record: Record) -> None:
        """Resolve a record that is not to be delivered, in its turn among those of `add`."""
        self.skip_to(record.id)

    def skip_to(self, sequence_number: str) -> None:
        """Resolve what was read up to here and not added, such as records that no filter matches."""
        self._read_to(sequence_number, int(sequence_number))
        text = self._last_text or sequence_number
        if self._log:
            self._log[-1].through, self._log[-1].text = self._last, text
        else:
            self._checkpoint, self._checkpoint_text = self._last, text

    def _read_to(self, text: str, number: int) -> None:
        if number > self._last:
            self._last, self._last_text = number, text

    def front(self, lane: int = 0) -> Record | None:
        """The oldest record of a lane that was not taken yet."""
        state = self._lanes[lane]
        if state.ready:
            return state.ready[0].records[0]
        if state.batcher:
            return state.batcher.gathered[0]
        return state.waiting[0] if state.waiting else None

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
            if self._last < state.ends_at:
                return None
            resumed = _up_to(state, state.ends_at)
            state.ends_at = None
            if resumed:
                return Batch(resumed, "drain")
        barred = False
        while state.waiting and not state.ready and not barred:
            chunk: list[Record] = []
            room = self._batch_size - len(state.batcher)
            while state.waiting and len(chunk) < room and not barred:
                if joins is None or joins(state.waiting[0]):
                    chunk.append(state.waiting.popleft())
                else:
                    barred = True
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
            return -math.inf if self._last >= state.ends_at else None
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
        entries, lanes, factor = self._entries, self._lanes, self._factor
        for sequence_number in sequence_numbers:
            entry = entries.pop(sequence_number)
            entry.resolved = True
            self._bytes -= entry.size
            lane = lanes[entry.lane]
            lane.under_way -= 1
            if factor > 1:
                while lane.entries and lane.entries[0].resolved:
                    lane.position = max(lane.position, lane.entries.popleft().number)
        before = self._checkpoint
        while self._log and self._log[0].resolved:
            entry = self._log.popleft()
            self._checkpoint, self._checkpoint_text = entry.through, entry.text
        return self._checkpoint > before

    def snapshot(self) -> dict[str, Any] | None:
        """How far each lane has come, as JSON values, to be stored with the checkpoint; None if no lane is ahead."""
        if all(lane.position <= self._checkpoint for lane in self._lanes):
            return None
        return {"factor": self._factor, "positions": [str(lane.position) for lane in self._lanes]}


def _up_to(lane: _Lane, end: int) -> list[Record]:
    """Take the waiting records up to a sequence number off the lane."""
    records = []
    while lane.waiting and int(lane.waiting[0].id) <= end:
        records.append(lane.waiting.popleft())
    return records


def _positions(resume: dict[str, Any] | None, factor: int) -> list[int] | None:
    """The positions of a snapshot; None where there is none that fits."""
    if not isinstance(resume, dict) or resume.get("factor") != factor:
        return None
    try:
        positions = [int(position) for position in resume["positions"]]
    except (KeyError, TypeError, ValueError):
        return None
    return positions if len(positions) == factor else None
