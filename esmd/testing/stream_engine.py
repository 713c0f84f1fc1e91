"""`StreamEngine`: Kinesis and DynamoDB Streams in memory, exact enough to stand in for both, on any clock.

For what no emulator shows in test time: retention, expired iterators, throttling, shard roll-over, streams made anew.
Answers have the form that the services' raw clients give (base64 text, times as numbers).

| what happens                                  | Kinesis                                   | DynamoDB Streams             |
|-----------------------------------------------|-------------------------------------------|------------------------------|
| a record is put                               | in the open shard of its key's MD5        | the same, by its item's keys |
| `split`, `merge`                              | parents close, children open              | as a partition's split       |
| `roll`                                        | -                                         | one child, the same keys     |
| position before what is kept                  | the oldest that is kept                   | TrimmedDataAccess            |
| sequence number outside the shard             | InvalidArgument                           | ValidationException          |
| iterator older than                           | 5 minutes: ExpiredIterator                | 15 minutes: the same         |
| one read gives at most                        | 10,000 records, 10 MiB                    | 1,000 records, 1 MB          |
| end of a closed shard                         | no next iterator; the children            | no next iterator             |
| `throttling`: more than 5 a second per shard  | ProvisionedThroughputExceeded             | LimitExceeded                |
| a closed shard leaves the listing             | a retention after its closing             | the same                     |
| the stream is deleted and made again          | same ARN, other creation time             | other ARN                    |

Sequence numbers begin just below a power of ten, so that comparing them as text goes wrong at once.
Not modelled: write limits, encryption, enhanced fan-out, on-demand modes, `StreamStatus` other than the final one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from esmd.testing.stream_shards import Cursor, FakeShard, FakeStream, Kind, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Operation = Literal["describe", "list", "iterator", "read"]

HASH_SPACE = 2**128
DAY = 24 * 3600.0
_FIRST_NUMBER = {"kinesis": 10**55 - 5, "dynamodb": 10**24 - 5}


class StreamEngine:
    """All streams of one account and region. A stream is named by its name, its table's name, or its ARN.

    Args:
        clock: seconds, never going back; the running loop's clock by default.
        epoch: what to add to `clock` for the time of day; found at the first use by default.
        account: the account id in ARNs.
        region: the region in ARNs.
        throttling: refuse more than 5 reads and 5 iterators per second and shard, and 2 MiB/s (Kinesis).
        empty_pages: how many empty pages come before each page that has records.

    Attributes:
        calls: how often each operation was called.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        epoch: float | None = None,
        account: str = "000000000000",
        region: str = "us-east-1",
        throttling: bool = False,
        empty_pages: int = 0,
    ) -> None:
        self.account = account
        self.region = region
        self.throttling = throttling
        self.empty_pages = empty_pages
        self.calls: Counter[str] = Counter()
        self._clock = clock
        self._epoch = epoch
        self._streams: dict[str, FakeStream] = {}
        self._lives = 0
        self._faults: dict[str, list[StreamError]] = {}

    def now(self) -> float:
        """The time of day that records get, in epoch seconds."""
        clock = self._clock() if self._clock else asyncio.get_running_loop().time()
        if self._epoch is None:
            self._epoch = time.time() - clock
        return self._epoch + clock

    def create_stream(self, name: str, *, shards: int = 1, retention: float = DAY) -> str:
        """Make a Kinesis stream and return its ARN; `retention` in seconds."""
        arn = f"arn:aws:kinesis:{self.region}:{self.account}:stream/{name}"
        return self._create(name, "kinesis", arn, shards=shards, retention=retention, view="")

    def create_table(self, name: str, *, view: str = "NEW_AND_OLD_IMAGES", shards: int = 1) -> str:
        """Make a table's stream and return its ARN; `view` is its StreamViewType."""
        label = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        arn = f"arn:aws:dynamodb:{self.region}:{self.account}:table/{name}/stream/{label}"
        return self._create(name, "dynamodb", arn, shards=shards, retention=DAY, view=view)

    def arn(self, name: str) -> str:
        """A stream's ARN."""
        return self._find(name).arn

    def delete(self, name: str) -> None:
        """Delete a stream with all it holds."""
        del self._streams[self._find(name).name]

    def put(self, name: str, key: str, data: bytes, *, hash_key: int | None = None) -> tuple[str, str]:
        """Put a Kinesis record; returns its shard id and sequence number. `hash_key` overrides the key's MD5."""
        stream = self._find(name, "kinesis")
        now = self.now()
        shard = stream.open_shard(hash_of(key) if hash_key is None else hash_key)
        number = stream.number()
        record = {
            "SequenceNumber": str(number),
            "ApproximateArrivalTimestamp": round(now, 3),
            "Data": base64.b64encode(data).decode(),
            "PartitionKey": key,
        }
        shard.append(record, number=number, arrived_at=now, size=len(data) + len(key.encode()))
        return shard.id, str(number)

    def write(
        self,
        name: str,
        keys: Mapping[str, Any],
        *,
        new: Mapping[str, Any] | None = None,
        old: Mapping[str, Any] | None = None,
        by_ttl: bool = False,
    ) -> tuple[str, str]:
        """Record a change of a table's item; returns its shard id and sequence number.

        Args:
            name: the table.
            keys: the item's keys, as attribute values.
            new: the item afterwards, keys included; None if it was removed.
            old: the item before; None if there was none.
            by_ttl: whether it ran out, which the service signs.
        """
        stream = self._find(name, "dynamodb")
        now = self.now()
        shard = stream.open_shard(hash_of(json.dumps(keys, sort_keys=True)))
        number = stream.number()
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": float(int(now)),
            "Keys": dict(keys),
            "SequenceNumber": str(number),
            "SizeBytes": len(json.dumps([keys, new, old])),
            "StreamViewType": stream.view,
        }
        if new is not None and stream.view in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
            change["NewImage"] = dict(new)
        if old is not None and stream.view in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
            change["OldImage"] = dict(old)
        record: dict[str, Any] = {
            "eventID": hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest(),
            "eventName": "REMOVE" if new is None else "INSERT" if old is None else "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self.region,
            "dynamodb": change,
        }
        if by_ttl:
            record["userIdentity"] = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        shard.append(record, number=number, arrived_at=now, size=change["SizeBytes"])
        return shard.id, str(number)

    def split(self, name: str, shard_id: str) -> tuple[str, str]:
        """Close a shard; two children share its keys."""
        stream = self._find(name)
        parent = self._open(stream, shard_id)
        low, high = parent.hashes
        middle = (low + high) // 2
        now = self._close(stream, parent)
        left, right = (stream.add_shard((parent,), half, now) for half in ((low, middle), (middle + 1, high)))
        return left.id, right.id

    def merge(self, name: str, shard_id: str, adjacent_id: str) -> str:
        """Close two shards with adjacent keys; one child has them all."""
        stream = self._find(name)
        left, right = sorted(
            (self._open(stream, shard_id), self._open(stream, adjacent_id)), key=lambda shard: shard.hashes
        )
        if left.hashes[1] + 1 != right.hashes[0]:
            raise StreamError("InvalidArgumentException", "The shards are not adjacent.")
        now = self._close(stream, left, right)
        return stream.add_shard((left, right), (left.hashes[0], right.hashes[1]), now).id

    def roll(self, name: str, shard_id: str) -> str:
        """Close a shard of a table's stream, as happens every four hours or so; one child has its keys."""
        stream = self._find(name, "dynamodb")
        parent = self._open(stream, shard_id)
        now = self._close(stream, parent)
        return stream.add_shard((parent,), parent.hashes, now).id

    def disable(self, name: str) -> None:
        """Close every open shard without a child, as switching a table's stream off does."""
        stream = self._find(name)
        self._close(stream, *(shard for shard in stream.shards.values() if shard.closed_at is None))

    def fail(self, operation: Operation, code: str, *, times: int = 1, status: int = 400) -> None:
        """Answer the next calls of an operation with an error instead."""
        self._faults.setdefault(operation, []).extend(
            StreamError(code, "A fault was injected.", status=status) for _ in range(times)
        )

    def describe(self, name: str) -> FakeStream:
        """The stream; do not change it."""
        self._called("describe")
        return self._find(name)

    def list_shards(self, name: str) -> list[FakeShard]:
        """Every shard whose records may still be kept, oldest first."""
        self._called("list")
        stream = self._find(name)
        stream.trim(self.now())
        return list(stream.shards.values())

    def iterator(
        self,
        name: str,
        shard_id: str,
        place: str,
        *,
        sequence_number: str | None = None,
        timestamp: float | None = None,
    ) -> str:
        """GetShardIterator; `place` is a ShardIteratorType."""
        self._called("iterator")
        stream = self._find(name)
        now = self.now()
        stream.trim(now)
        shard = self._shard(stream, shard_id)
        if self.throttling and stream.kind == "kinesis":
            shard.throttle("iterator", now, stream.limits)
        index = self._index(stream, shard, place, sequence_number, timestamp)
        return Cursor(stream.life, shard.id, index, now, self.empty_pages).encode()

    def read(self, iterator: str, limit: int) -> dict[str, Any]:
        """GetRecords: the answer with the members of the stream's service."""
        self._called("read")
        now = self.now()
        cursor = Cursor.decode(iterator)
        stream = next((stream for stream in self._streams.values() if stream.life == cursor.life), None)
        if stream is None:
            raise StreamError("ResourceNotFoundException", "Requested resource not found: Stream")
        limits = stream.limits
        if now - cursor.issued > limits.iterator_seconds:
            raise StreamError("ExpiredIteratorException", "Iterator expired.")
        if not 1 <= limit <= limits.records:
            raise StreamError("ValidationException", f"Limit must be between 1 and {limits.records}.")
        stream.trim(now)
        shard = self._shard(stream, cursor.shard_id)
        if self.throttling:
            shard.throttle("read", now, limits)
        index = cursor.index
        if index < shard.trimmed:
            if stream.kind == "dynamodb":
                raise StreamError("TrimmedDataAccessException", "The records were trimmed.")
            index = shard.trimmed
        records: list[Mapping[str, Any]] = []
        empty = cursor.empty
        if empty and index < shard.end:
            empty -= 1
        else:
            records, size = shard.slice(index, count=limit, most_bytes=limits.page_bytes)
            index += len(records)
            empty = self.empty_pages
            if self.throttling:
                shard.served(size, now, limits)
        ended = shard.closed_at is not None and index == shard.end
        answer: dict[str, Any] = {"Records": records}
        if not ended:
            answer["NextShardIterator"] = Cursor(stream.life, shard.id, index, now, empty).encode()
        if stream.kind == "kinesis":
            answer["MillisBehindLatest"] = shard.millis_behind(index, now)
            if ended:
                answer["ChildShards"] = [
                    {"ShardId": child.id, "ParentShards": list(child.parents)} for child in shard.children
                ]
        return answer

    def _create(self, name: str, kind: Kind, arn: str, *, shards: int, retention: float, view: str) -> str:
        if name in self._streams:
            raise StreamError("ResourceInUseException", f"{name} exists.")
        self._lives += 1
        now = self.now()
        stream = FakeStream(name, kind, arn, self._lives, now, retention, view, _FIRST_NUMBER[kind])
        bounds = [HASH_SPACE * n // shards for n in range(shards + 1)]
        for low, high in pairwise(bounds):
            stream.add_shard((), (low, high - 1), now)
        self._streams[name] = stream
        return arn

    def _called(self, operation: Operation) -> None:
        self.calls[operation] += 1
        waiting = self._faults.get(operation)
        if waiting:
            raise waiting.pop(0)

    def _find(self, name: str, kind: Kind | None = None) -> FakeStream:
        stream = self._streams.get(name) or next((each for each in self._streams.values() if each.arn == name), None)
        if stream is None or kind not in (None, stream.kind):
            raise StreamError("ResourceNotFoundException", f"Stream {name} under account {self.account} not found.")
        return stream

    def _shard(self, stream: FakeStream, shard_id: str) -> FakeShard:
        shard = stream.shards.get(shard_id)
        if shard is None:
            raise StreamError("ResourceNotFoundException", f"Shard {shard_id} in stream {stream.name} does not exist.")
        return shard

    def _open(self, stream: FakeStream, shard_id: str) -> FakeShard:
        shard = self._shard(stream, shard_id)
        if shard.closed_at is not None:
            raise StreamError("InvalidArgumentException", f"Shard {shard_id} is closed.")
        return shard

    def _close(self, stream: FakeStream, *shards: FakeShard) -> float:
        now = self.now()
        for shard in shards:
            shard.close(stream.number(), now)
        return now

    def _index(
        self, stream: FakeStream, shard: FakeShard, place: str, sequence_number: str | None, timestamp: float | None
    ) -> int:
        if place == "TRIM_HORIZON":
            return shard.trimmed
        if place == "LATEST":
            return shard.end
        if place == "AT_TIMESTAMP" and timestamp is not None and stream.kind == "kinesis":
            return shard.index_at(timestamp)
        if place not in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER") or sequence_number is None:
            raise StreamError("ValidationException", f"{place} is not a ShardIteratorType here.")
        number = int(sequence_number)
        after = place == "AFTER_SEQUENCE_NUMBER"
        if stream.kind == "dynamodb" and number <= shard.last_trimmed:
            raise StreamError("TrimmedDataAccessException", "The requested sequence number is trimmed.")
        last = stream.next_number if shard.last_number is None else shard.last_number
        if not shard.first_number <= number <= last:
            code = "InvalidArgumentException" if stream.kind == "kinesis" else "ValidationException"
            raise StreamError(code, f"Sequence number {number} is not of {shard.id}.")
        return shard.index_of(number, after=after)


def hash_of(key: str) -> int:
    """Where a partition key falls: its MD5 as a number of 128 bits."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest())
