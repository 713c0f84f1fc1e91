"""The streams and shards of `StreamEngine`: their records, their limits, and what an iterator points at."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["kinesis", "dynamodb"]

_MARK = "fake"


class StreamError(Exception):
    """An error answer, in the form of botocore's `ClientError`, so that it is classified by the same code."""

    def __init__(self, code: str, message: str = "", *, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.response: dict[str, Any] = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one of the two services allows [specification B.2]; sizes in bytes, times in seconds."""

    records: int
    page_bytes: int
    iterator_seconds: float
    reads_per_second: int
    bytes_per_second: float
    throttle_code: str


KINESIS_LIMITS = Limits(
    records=10_000,
    page_bytes=10 * 1024 * 1024,
    iterator_seconds=300.0,
    reads_per_second=5,
    bytes_per_second=2 * 1024 * 1024,
    throttle_code="ProvisionedThroughputExceededException",
)
DYNAMODB_LIMITS = Limits(
    records=1000,
    page_bytes=1024 * 1024,
    iterator_seconds=900.0,
    reads_per_second=5,
    bytes_per_second=float("inf"),
    throttle_code="LimitExceededException",
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What an iterator says: a place in a shard of one life of a stream, when it was given out, empty pages still due."""

    life: int
    shard_id: str
    index: int
    issued: float
    empty: int

    def encode(self) -> str:
        """As an iterator: text that means nothing to a client."""
        text = "|".join((_MARK, str(self.life), self.shard_id, str(self.index), repr(self.issued), str(self.empty)))
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decode(cls, iterator: str) -> Cursor:
        """Read an iterator; raises `StreamError` if it is none."""
        try:
            mark, life, shard_id, index, issued, empty = base64.urlsafe_b64decode(iterator.encode()).decode().split("|")
            cursor = cls(int(life), shard_id, int(index), float(issued), int(empty))
        except (ValueError, binascii.Error):
            mark, cursor = "", None
        if cursor is None or mark != _MARK:
            raise StreamError("InvalidArgumentException", "Invalid ShardIterator.")
        return cursor


class FakeShard:
    """A shard with all its records. An index counts from the first record ever, trimmed ones included."""

    def __init__(self, shard_id: str, parents: tuple[str, ...], hashes: tuple[int, int], first_number: int) -> None:
        self.id = shard_id
        self.parents = parents
        self.hashes = hashes
        self.first_number = first_number
        self.last_number: int | None = None
        self.closed_at: float | None = None
        self.children: list[FakeShard] = []
        self.trimmed = 0
        self.last_trimmed = 0
        self._records: list[Mapping[str, Any]] = []
        self._numbers: list[int] = []
        self._arrivals: list[float] = []
        self._sizes: list[int] = []
        self._calls: dict[str, deque[float]] = {}
        self._busy_until = 0.0

    @property
    def end(self) -> int:
        """The index behind its last record."""
        return self.trimmed + len(self._records)

    def append(self, record: Mapping[str, Any], *, number: int, arrived_at: float, size: int) -> None:
        """Add a record; numbers and times never go back."""
        self._records.append(record)
        self._numbers.append(number)
        self._arrivals.append(arrived_at)
        self._sizes.append(size)

    def close(self, last_number: int, now: float) -> None:
        """Take no more records."""
        self.last_number = last_number
        self.closed_at = now

    def trim(self, before: float) -> None:
        """Drop the records that arrived before a time."""
        count = bisect_left(self._arrivals, before)
        if count:
            self.trimmed += count
            self.last_trimmed = self._numbers[count - 1]
            del self._records[:count], self._numbers[:count], self._arrivals[:count], self._sizes[:count]

    def index_of(self, number: int, *, after: bool) -> int:
        """The index of a record by number, or behind it; where there is none, of the next one."""
        return self.trimmed + (bisect_right if after else bisect_left)(self._numbers, number)

    def index_at(self, timestamp: float) -> int:
        """The index of the first record that arrived then or later."""
        return self.trimmed + bisect_left(self._arrivals, timestamp)

    def slice(self, index: int, *, count: int, most_bytes: int) -> tuple[list[Mapping[str, Any]], int]:
        """The records from an index on, within both limits but never none for size alone; and their bytes."""
        first = index - self.trimmed
        last, total = first, 0
        while last < len(self._records) and last - first < count:
            size = self._sizes[last]
            if last > first and total + size > most_bytes:
                break
            total += size
            last += 1
        return self._records[first:last], total

    def millis_behind(self, index: int, now: float) -> int:
        """How old the record at an index is; 0 where there is none, at least 1 where there is."""
        if index >= self.end:
            return 0
        return max(1, int((now - self._arrivals[index - self.trimmed]) * 1000))

    def throttle(self, call: str, now: float, limits: Limits) -> None:
        """Count a call; raises `StreamError` when there were too many within the last second, or too many bytes."""
        calls = self._calls.setdefault(call, deque())
        while calls and calls[0] <= now - 1.0:
            calls.popleft()
        if len(calls) >= limits.reads_per_second or (call == "read" and now < self._busy_until):
            raise StreamError(limits.throttle_code, f"Rate exceeded for shard {self.id}.")
        calls.append(now)

    def served(self, size: int, now: float, limits: Limits) -> None:
        """Let reads pause until the bytes of this one are within the rate: 5 s after 10 MiB."""
        self._busy_until = now + size / limits.bytes_per_second if size > limits.bytes_per_second else 0.0


@dataclass(slots=True)
class FakeStream:
    """A stream in one of its lives."""

    name: str
    kind: Kind
    arn: str
    life: int
    created: float
    retention: float
    view: str
    next_number: int
    shards: dict[str, FakeShard] = field(default_factory=dict)
    made: int = 0

    @property
    def limits(self) -> Limits:
        """Of its service."""
        return KINESIS_LIMITS if self.kind == "kinesis" else DYNAMODB_LIMITS

    def number(self) -> int:
        """A sequence number greater than all before."""
        self.next_number += 1
        return self.next_number

    def add_shard(self, parents: tuple[FakeShard, ...], hashes: tuple[int, int], now: float) -> FakeShard:
        """Open a shard."""
        shard_id = (
            f"shardId-{self.made:012d}"
            if self.kind == "kinesis"
            else f"shardId-{int(now * 1000):020d}-{self.life:04x}{self.made:04x}"
        )
        self.made += 1
        shard = FakeShard(shard_id, tuple(parent.id for parent in parents), hashes, self.number())
        self.shards[shard.id] = shard
        for parent in parents:
            parent.children.append(shard)
        return shard

    def open_shard(self, hashed: int) -> FakeShard:
        """The open shard that takes a hashed key."""
        return next(
            shard
            for shard in self.shards.values()
            if shard.closed_at is None and shard.hashes[0] <= hashed <= shard.hashes[1]
        )

    def trim(self, now: float) -> None:
        """Drop what is older than the retention."""
        for shard in list(self.shards.values()):
            shard.trim(now - self.retention)
            if shard.closed_at is not None and shard.closed_at <= now - self.retention:
                del self.shards[shard.id]
