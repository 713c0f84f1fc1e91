"""Which events belong to one record, or to one invocation: decided line by line, as the log spells them.

| a line                                                   | belongs to a record if                                       |
|----------------------------------------------------------|--------------------------------------------------------------|
| `records.received`, `record.filtered`, `batch.succeeded`, | its `ids` name it                                            |
| `batch.records`, `records.expired`, `records.released`   |                                                              |
| `records.received`, `shard.blocked`, `batch.discarded`   | it lies in the range of its shard                            |
| `delete.failed`, `visibility.failed`                     | its `id` is it                                               |
| any other with a `request_id`                            | the invocation had the record in it                          |
| `batch.delayed`                                          | it is of a batch that had the record in it                   |
| `records.deleted`                                        | the same, and the record was not kept back there             |
| `checkpoint.committed`                                   | it is the first of its shard at the record or behind it       |

A line belongs to an invocation if it has its request id, or is of its batch and has no request id.

`Search` is shown every line twice, in the same order: `learn` gathers batches and invocations, `take` picks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MATES = 100
"""Most ids that an event names in a life."""

NAMING = frozenset(
    {
        "records.received",
        "record.filtered",
        "records.expired",
        "records.released",
        "batch.succeeded",
        "batch.records",
    }
)
"""Events whose `ids` are all ids that they are about."""

_ENDS = {
    "records.deleted": "deleted",
    "record.filtered": "filtered",
    "batch.succeeded": "processed",
    "checkpoint.committed": "processed",
    "batch.failed": "failed",
    "delete.failed": "not deleted",
    "records.expired": "expired",
    "records.released": "released",
    "records.received": "received",
    "batch.delayed": "delayed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The events of one record or invocation.

    Attributes:
        id: what was asked for.
        kind: what it is.
        state: how it stands after the last event, in a word or two.
        events: lines of the log; their `ids` are cut after the first hundred.
    """

    id: str
    kind: str
    state: str
    events: tuple[Mapping[str, Any], ...]


class Memory(Protocol):
    """Remembers what became of records lately."""

    async def trace(self, wanted: str) -> tuple[Life | None, float | None]:
        """A life, None if nothing is known of it; and since when all is remembered (epoch seconds), None: ever since."""
        ...


class Search:
    """Looks for one id; see the module.

    Args:
        wanted: a message id, a sequence number, a request id or a batch id.
    """

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self._number = int(wanted) if wanted.isascii() and wanted.isdigit() else None
        self._is_record = False
        self._requests: set[str] = set()
        self._batches: set[str] = set()
        self._shards: set[tuple[str, str]] = set()
        self._kept_back: set[str] = set()
        self._committed: set[tuple[str, str]] = set()
        self._events: list[Mapping[str, Any]] = []

    @property
    def clues(self) -> frozenset[str]:
        """Texts of which any line that `take` would pick has one."""
        return frozenset({self.wanted, *self._requests, *self._batches, *(shard for _, shard in self._shards)})

    def learn(self, line: Mapping[str, Any]) -> None:
        """Look at a line for the first time."""
        if self.wanted in (line.get("request_id"), line.get("batch_id")):
            self._join(line)
            return
        if not self._names(line):
            return
        self._is_record = True
        if line["event"] in {"batch.succeeded", "batch.records", "batch.failed", "batch.partial"}:
            self._join(line)
        if line["event"] == "batch.records" and self.wanted in line["failed_ids"]:
            self._kept_back.add(str(line["batch_id"]))
        if (shard := _shard(line)) is not None:
            self._shards.add(shard)

    def take(self, line: Mapping[str, Any]) -> None:
        """Look at a line for the second time."""
        if self._belongs(line):
            self._events.append(line)

    def life(self) -> Life | None:
        """What was found; None if nothing was."""
        if not self._events:
            return None
        events = sorted(self._events, key=lambda line: str(line.get("timestamp", "")))
        return Life(
            id=self.wanted,
            kind="record" if self._is_record else "invocation",
            state=_state(events, self.wanted),
            events=tuple(_cut(line, self.wanted) for line in events),
        )

    # --- one line

    def _names(self, line: Mapping[str, Any]) -> bool:
        if line.get("id") == self.wanted or self.wanted in (line.get("ids") or ()):
            return True
        # Nobody but its own shard has such a number, so the ends of a range name it.
        return self.wanted in (line.get("first_sequence_number"), line.get("last_sequence_number"))

    def _join(self, line: Mapping[str, Any]) -> None:
        if "request_id" in line:
            self._requests.add(str(line["request_id"]))
        if "batch_id" in line:
            self._batches.add(str(line["batch_id"]))

    def _belongs(self, line: Mapping[str, Any]) -> bool:
        event = line["event"]
        if not self._is_record:
            request = line.get("request_id")
            if request is None or self.wanted in self._batches:
                return line.get("batch_id") in self._batches
            return request in self._requests
        if event in NAMING and line.get("ids") is not None:
            return self.wanted in line["ids"]
        if event in {"delete.failed", "visibility.failed"}:
            return line.get("id") == self.wanted
        if "first_sequence_number" in line:
            return self._in_range(line)
        if event == "checkpoint.committed":
            return self._commits(line)
        if line.get("request_id") in self._requests:
            return True
        if line.get("batch_id") not in self._batches:
            return False
        return event == "batch.delayed" or (event == "records.deleted" and line["batch_id"] not in self._kept_back)

    def _in_range(self, line: Mapping[str, Any]) -> bool:
        if self._number is None or (self._shards and _shard(line) not in self._shards):
            return False
        if not self._shards:  # the ranges of shards overlap: only the ends are sure
            return self._names(line)
        if self._batches and line.get("batch_id", next(iter(self._batches))) not in self._batches:
            return False  # of another lane: their ranges overlap too
        return _in(self._number, line)

    def _commits(self, line: Mapping[str, Any]) -> bool:
        """Whether it is the first progress of the shard at the record or behind it."""
        shard = _shard(line)
        if self._number is None or shard not in self._shards or shard in self._committed:
            return False
        position = str(line["position"])
        number = position.removeprefix("after ")
        if position == "SHARD_END" or (number.isdigit() and int(number) >= self._number):
            self._committed.add(shard)
            return True
        return False


def life_of(wanted: str, lines: Sequence[Mapping[str, Any]]) -> Life | None:
    """The life of a record or an invocation; None if no line is of it."""
    search = Search(wanted)
    for line in lines:
        search.learn(line)
    for line in lines:
        search.take(line)
    return search.life()


def _shard(line: Mapping[str, Any]) -> tuple[str, str] | None:
    return (str(line["mapping"]), str(line["shard"])) if "mapping" in line and "shard" in line else None


def _in(number: int, line: Mapping[str, Any]) -> bool:
    first, last = str(line["first_sequence_number"]), str(line["last_sequence_number"])
    return first.isdigit() and last.isdigit() and int(first) <= number <= int(last)


def _cut(line: Mapping[str, Any], wanted: str) -> Mapping[str, Any]:
    """A line without more ids than anybody reads; the one that was asked for stays."""
    cut = dict(line)
    for key in ("ids", "failed_ids"):
        ids = list(line.get(key) or ())
        if len(ids) > MATES:
            cut[key] = [wanted, *(each for each in ids if each != wanted)][:MATES] if wanted in ids else ids[:MATES]
            cut.setdefault("records", len(ids))
    return cut


def _state(events: Sequence[Mapping[str, Any]], wanted: str) -> str:
    state = "seen"
    spared = False
    for line in events:
        match line["event"]:
            case "batch.records":
                failed = line["failed_ids"]
                spared = wanted in line["ids"] and wanted not in failed
            case "batch.partial":
                state = "processed" if spared else "failed"
            case "batch.discarded":
                where = line.get("destination")
                state = f"given up, its failure record is in {where}" if where else "given up"
            case "checkpoint.committed":
                state = state if state.startswith("given up") or state == "filtered" else "processed"
            case event:
                state = _ENDS.get(event, state)
    if state == "failed":
        [last] = [each for each in events if each["event"] in {"batch.failed", "batch.partial"}][-1:]
        return f"failed, next: {str(last['next']).replace('_', ' ')}"
    return state
