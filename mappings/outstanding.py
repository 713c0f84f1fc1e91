"""What holds a shard's checkpoint back: the records that came in and are not resolved, in the order they were read.

Two ways to keep them, by the number of lanes. What they promise is the same, and `esmd.mappings.lanes` says what it is.

| lanes    | kept as                           | resolved                                        | cost                 |
|----------|-----------------------------------|-------------------------------------------------|----------------------|
| one      | `InOrder`: runs of records        | nearly always the first ones: a run's start     | per run              |
| several  | `Scattered`: an entry per record  | wherever the record's lane has come to          | per record           |

A run is what one read brought, as long as its numbers rise: only its last number has to be read as an integer. Records
that come out of turn, or a second time, are runs of their own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from esmd.mappings.records import sizes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esmd.mappings.records import Record


def lane_of(ordering_key: str | None, factor: int) -> int:
    """The lane of a key, 0 to `factor` - 1: the same in every process, and in every version of esmd."""
    if factor == 1 or ordering_key is None:
        return 0
    return crc32(ordering_key.encode("utf-8", "surrogatepass")) % factor


class Outstanding(Protocol):
    """The records between reading and resolving.

    Attributes:
        count: of them.
        size: bytes of them inside an event.
        reached: everything up to this number is resolved; -1 while nothing is. Never goes back.
        reached_text: the same as the stream spells it: some pad with zeros. None while nothing is resolved.
        last: the highest number that came in.
        last_text: the same as the stream spells it.
    """

    count: int
    size: int
    reached: int
    reached_text: str | None
    last: int
    last_text: str | None

    def add(self, records: Sequence[Record]) -> Mapping[int, list[Record]]:
        """Take in records in the order they were read. Returns those to deliver, by lane."""
        ...

    def skip_to(self, sequence_number: str) -> None:
        """Resolve what was read up to here and not added."""
        ...

    def resolve(self, sequence_numbers: Sequence[str]) -> Mapping[int, int]:
        """Resolve records; how many there were, by lane.

        Raises:
            KeyError: if one is not outstanding.
        """
        ...

    def positions(self) -> list[int]:
        """How far each lane has come: everything up to there is resolved in it."""
        ...


class _Reading:
    """How far reading and resolving have come."""

    def __init__(self, checkpoint: str | None) -> None:
        self.count = 0
        self.size = 0
        self.reached = -1 if checkpoint is None else int(checkpoint)
        self.reached_text = checkpoint
        self.last = self.reached
        self.last_text = checkpoint

    def _read_to(self, text: str, number: int) -> None:
        if number > self.last:
            self.last, self.last_text = number, text


@dataclass(slots=True, eq=False)
class _Run:
    """Records that were read one after the other, the first `done` of them resolved, and those at `ahead`.

    `through` is how far the checkpoint goes once all of them are: past the skipped records behind them, which therefore
    need no run of their own.
    """

    ids: list[str]
    sizes: list[int]
    through: int
    text: str
    done: int = 0
    ahead: set[int] = field(default_factory=set)


class InOrder(_Reading):
    """`Outstanding` of one lane."""

    def __init__(self, checkpoint: str | None, known: int | None) -> None:
        """Start behind a checkpoint.

        Args:
            checkpoint: where reading goes on.
            known: what has a number up to this one was resolved before a restart.
        """
        super().__init__(checkpoint)
        self._known = known
        self._runs: deque[_Run] = deque()
        self._ahead = 0  # so many are resolved with unresolved ones in front of them

    def add(self, records: Sequence[Record]) -> Mapping[int, list[Record]]:
        """See `Outstanding`."""
        if not records:
            return {}
        ids = [record.id for record in records]
        if self._known is not None or not self._rises(ids):
            return {0: self._add_each(records)}
        self._read_to(ids[-1], int(ids[-1]))
        self._put(ids, sizes_of(records))
        return {0: list(records)}

    def _rises(self, ids: list[str]) -> bool:
        """Whether these are new, each above the one before it. Of digits in equal number the text says it."""
        return int(ids[0]) > self.last and len(set(map(len, ids))) == 1 and all(map(lt, ids, islice(ids, 1, None)))

    def _put(self, ids: list[str], sizes: list[int]) -> None:
        self._runs.append(_Run(ids, sizes, self.last, self.last_text or ids[-1]))
        self.count += len(ids)
        self.size += sum(sizes)

    def _add_each(self, records: Sequence[Record]) -> list[Record]:
        here = {run.ids[at] for run, at in self._unresolved()}
        added = []
        for record in records:
            if record.id in here:
                continue
            number = int(record.id)
            if self._known is not None and number <= self._known:
                self.skip_to(record.id)
                continue
            here.add(record.id)
            self._read_to(record.id, number)
            self._put([record.id], [record.size])
            added.append(record)
        return added

    def _unresolved(self) -> Iterator[tuple[_Run, int]]:
        return ((run, at) for run in self._runs for at in range(run.done, len(run.ids)) if at not in run.ahead)

    def skip_to(self, sequence_number: str) -> None:
        """See `Outstanding`."""
        self._read_to(sequence_number, int(sequence_number))
        text = self.last_text or sequence_number
        if self._runs:
            self._runs[-1].through, self._runs[-1].text = self.last, text
        else:
            self.reached, self.reached_text = self.last, text

    def resolve(self, sequence_numbers: Sequence[str]) -> Mapping[int, int]:
        """See `Outstanding`."""
        at, end = 0, len(sequence_numbers)
        while at < end and self._runs and not self._ahead:
            run = self._runs[0]
            ids = run.ids[run.done : run.done + end - at]
            if ids != list(sequence_numbers[at : at + len(ids)]):
                break
            self.count -= len(ids)
            self.size -= sum(run.sizes[run.done : run.done + len(ids)])
            self._advance(run, len(ids))
            at += len(ids)
        if at < end:
            self._resolve_amid(sequence_numbers[at:])
        return {0: end}

    def _resolve_amid(self, sequence_numbers: Sequence[str]) -> None:
        """Some that are not the first ones: the policy gives up records amid a batch when they get too old."""
        places = {run.ids[at]: (run, at) for run, at in self._unresolved()}
        for sequence_number in sequence_numbers:
            run, at = places.pop(sequence_number)
            run.ahead.add(at)
            self._ahead += 1
            self.count -= 1
            self.size -= run.sizes[at]
        while self._runs and self._runs[0].done in self._runs[0].ahead:
            self._ahead -= 1
            self._advance(self._runs[0], 1)

    def _advance(self, run: _Run, count: int) -> None:
        """The next records of the first run are resolved, and all before them."""
        run.done += count
        if run.done == len(run.ids):
            self._runs.popleft()
            self.reached, self.reached_text = run.through, run.text
        else:
            self.reached_text = run.ids[run.done - 1]
            self.reached = int(self.reached_text)

    def positions(self) -> list[int]:
        """See `Outstanding`."""
        return [self.reached if self._known is None else max(self.reached, self._known)]


@dataclass(slots=True, eq=False)
class _Entry:
    """A record among those of several lanes; `through` and `text` as those of `_Run`."""

    through: int
    text: str
    size: int
    lane: int
    number: int
    resolved: bool = False


class Scattered(_Reading):
    """`Outstanding` of several lanes."""

    def __init__(self, checkpoint: str | None, known: list[int] | None, factor: int) -> None:
        """Start behind a checkpoint.

        Args:
            checkpoint: where reading goes on.
            known: for each lane, what has a number up to this one was resolved before a restart.
            factor: how many lanes there are.
        """
        super().__init__(checkpoint)
        self._factor = factor
        self._known = known
        self._positions = [max(self.reached, position) for position in known or [self.reached] * factor]
        self._of_lane: list[deque[_Entry]] = [deque() for _ in range(factor)]
        self._log: deque[_Entry] = deque()
        self._entries: dict[str, _Entry] = {}

    def add(self, records: Sequence[Record]) -> Mapping[int, list[Record]]:
        """See `Outstanding`."""
        added: dict[int, list[Record]] = {}
        # Every record of the shard comes through here: what can be looked up once, is.
        factor, known, entries, log = self._factor, self._known, self._entries, self._log
        for record in records:
            sequence_number, size = record.id, record.size
            if sequence_number in entries:
                continue
            number, lane = int(sequence_number), lane_of(record.ordering_key, factor)
            if known is not None and number <= known[lane]:
                self.skip_to(sequence_number)
                continue
            self._read_to(sequence_number, number)
            entry = _Entry(self.last, self.last_text or sequence_number, size, lane, number)
            log.append(entry)
            self._of_lane[lane].append(entry)
            entries[sequence_number] = entry
            self.count += 1
            self.size += size
            added.setdefault(lane, []).append(record)
        return added

    def skip_to(self, sequence_number: str) -> None:
        """See `Outstanding`."""
        self._read_to(sequence_number, int(sequence_number))
        text = self.last_text or sequence_number
        if self._log:
            self._log[-1].through, self._log[-1].text = self.last, text
        else:
            self.reached, self.reached_text = self.last, text

    def resolve(self, sequence_numbers: Sequence[str]) -> Mapping[int, int]:
        """See `Outstanding`."""
        done: dict[int, int] = {}
        for sequence_number in sequence_numbers:
            entry = self._entries.pop(sequence_number)
            entry.resolved = True
            lane = entry.lane
            self.count -= 1
            self.size -= entry.size
            done[lane] = done.get(lane, 0) + 1
            queue = self._of_lane[lane]
            while queue and queue[0].resolved:
                self._positions[lane] = max(self._positions[lane], queue.popleft().number)
        while self._log and self._log[0].resolved:
            entry = self._log.popleft()
            self.reached, self.reached_text = entry.through, entry.text
        return done

    def positions(self) -> list[int]:
        """See `Outstanding`."""
        return self._positions
