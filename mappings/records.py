"""Records and batches: the values that every room of the house passes on.

A record carries its own piece of the Lambda event as JSON text. It is encoded once, so that its size is known exactly,
nothing downstream re-encodes it, and the event of a batch is these pieces joined. Records of streams are encoded when they
arrive; those of SQS (`esmd.mappings.messages`) when somebody asks for it, which handlers in the daemon's own process do not.
"""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from esmd.mappings.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Cut = Literal["size", "window", "bytes", "poll", "drain"]
"""Why a batch was closed: it is full, its window ran out, the next record would pass the payload limit,
there is no window (whatever one poll brought is a batch), or the mapping is stopping."""


class Record(NamedTuple):
    """One record of a source, as it travels through the house. A tuple, because so many are made.

    Attributes:
        id: what a handler names in `itemIdentifier`: SQS message id, stream sequence number.
        handle: what the source needs to settle it: SQS receipt handle; empty for streams.
        ordering_key: records of one key keep their order: FIFO message group, partition key; None if unordered.
        attempt: how often the source has handed it out, this time included (ApproximateReceiveCount).
        arrived_at: when the source accepted it, in epoch seconds.
        hidden_until: until when the source keeps it from others, on the monotonic clock (seconds);
            infinity where the source hides nothing (streams).
        event: its element of `Records` in the Lambda event, as UTF-8 JSON.
    """

    id: str
    handle: str
    ordering_key: str | None
    attempt: int
    arrived_at: float
    hidden_until: float
    event: bytes

    @property
    def size(self) -> int:
        """Bytes it takes inside the event."""
        return len(self.event)

    @property
    def most(self) -> int:
        """Bytes it takes inside the event at most, where that is known for less than `size` costs."""
        return len(self.event)

    def value(self) -> Any:
        """What `json.loads` makes of its element; the caller's own, to be changed at will."""
        return json.loads(self.event)


def stream_records(
    ids: Sequence[str], keys: Iterable[str | None], arrived_at: Iterable[float], events: Iterable[bytes]
) -> list[Record]:
    """`Record`s of a stream from their columns. So many are made that calling the class for each would show."""
    rows = zip(ids, repeat(""), keys, repeat(1), arrived_at, repeat(math.inf), events)
    return list(map(_RECORD, rows))


def sizes_of(records: Sequence[Record]) -> list[int]:
    """The `size` of each; of plain records without a call."""
    if type(records[0]) is Record:
        return [len(record.event) for record in records]
    return [record.size for record in records]


_RECORD: Callable[[tuple[Any, ...]], Record] = partial(tuple.__new__, Record)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that go to the handler in one invocation; never empty, all of one ordering domain."""

    records: Sequence[Record]
    cut: Cut
