"""Records of Kinesis for handlers in the daemon's own process, which are given values: no JSON is made of them and read again.

| asked for      | by                                              | made                                         |
|----------------|-------------------------------------------------|----------------------------------------------|
| `value`        | the handler                                     | each time anew: it may do with it what it likes |
| `event`        | destinations, a log of payloads, tumbling windows | each time anew: hardly ever                  |
| `size`, `most` | batching                                        | with the record, to the byte                 |

That is so for pages whose keys and data are their own JSON, as base64 always is and nearly every key. Of any other page the
records have their JSON, as they have for every other form of function (`esmd.mappings.records`).
"""

from __future__ import annotations

import math
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from esmd.mappings.events import ENVELOPE_BYTES, Event
from esmd.mappings.records import Record
from esmd.mappings.stream_events import all_plain, stream_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from esmd.mappings.stream_events import KinesisText, WindowFields

_new = tuple.__new__

_parts = cast("Callable[[Record], tuple[str, float, str, str, KinesisText]]", itemgetter(0, 4, 7, 8, 9))
"""Of a record: its number, its time, its partition key, its data, and what makes its JSON."""

_size = cast("Callable[[Record], int]", itemgetter(10))


class KinesisRecord(Record):
    """A record that keeps its parts.

    What a record has in place of its JSON is followed by what that is made of: partition key, data, what makes its JSON, and
    how long that is. One object, because so many are made.
    """

    __slots__ = ()

    @property
    def event(self) -> bytes:
        """See `Record`."""
        number, moment, key, data, text = _parts(self)
        return text.of({"SequenceNumber": number, "PartitionKey": key, "Data": data}, moment)

    @property
    def size(self) -> int:
        """See `Record`."""
        return _size(self)

    most = size

    def value(self) -> Any:
        """See `Record`."""
        return _values([self])[0]

    def __repr__(self) -> str:
        return f"KinesisRecord(id={self.id!r}, ordering_key={self.ordering_key!r})"


class KinesisEvent(Event):
    """The event of records that keep their parts."""

    __slots__ = ()

    def value(self) -> dict[str, Any]:
        """See `Event`."""
        return {"Records": _values(self._records)}

    def is_longer_than(self, limit: int) -> bool:
        """See `Event`."""
        return ENVELOPE_BYTES + len(self._records) + sum(map(_size, self._records)) - 1 > limit


def _values(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What `json.loads` makes of the JSON of records of one shard: of all at once, since a call for each would show."""
    text = _parts(records[0])[4]
    shard_id, role_arn, region, stream_arn = text.shard_id, text.role_arn, text.region, text.stream_arn
    return [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": key,
                "sequenceNumber": number,
                "data": data,
                "approximateArrivalTimestamp": moment,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard_id}:{number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": role_arn,
            "awsRegion": region,
            "eventSourceARN": stream_arn,
        }
        for number, moment, key, data, _ in map(_parts, records)
    ]


def event_of(records: Sequence[Record], *, window: WindowFields | None) -> bytes | Event:
    """The event of a batch of a stream, as its function takes it.

    Args:
        records: of one shard.
        window: what the event of a tumbling window says beside them.
    """
    if window is None and set(map(type, records)) == {KinesisRecord}:
        return KinesisEvent(records)
    return stream_event(records, window=window)


def kinesis_records(
    text: KinesisText,
    raws: Sequence[Mapping[str, Any]],
    *,
    numbers: Sequence[str],
    keys: Iterable[str | None],
    arrived_at: Sequence[float],
) -> list[Record] | None:
    """The records of a page, in its order; None if a key or data of it is not its own JSON.

    Args:
        text: makes their JSON.
        raws: in the API's member names; data as base64 text.
        numbers: their sequence numbers.
        keys: their ordering keys, see `Record`.
        arrived_at: their times as `epoch_seconds` has them.
    """
    partition_keys, blobs = [raw["PartitionKey"] for raw in raws], [raw["Data"] for raw in raws]
    if not all_plain(partition_keys, blobs):
        return None
    nothing = len(text.of({"SequenceNumber": "", "PartitionKey": "", "Data": ""}, 0.0)) - len(repr(0.0))
    times = {moment: nothing + len(repr(moment)) for moment in set(arrived_at)}
    sizes = [
        times[moment] + len(key) + len(blob) + 2 * len(number)
        for moment, key, blob, number in zip(arrived_at, partition_keys, blobs, numbers, strict=True)
    ]
    rows = zip(
        numbers,
        repeat(""),
        keys,
        repeat(1),
        arrived_at,
        repeat(math.inf),
        repeat(None),
        partition_keys,
        blobs,
        repeat(text),
        sizes,
    )
    return [_new(KinesisRecord, row) for row in rows]
