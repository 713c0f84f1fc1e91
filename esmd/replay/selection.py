"""Finds the records of a failure record in what is read of their shard again.

Reading begins at the first record, or at the oldest one kept where that is gone, and is over when

| a page                                        | over    |
|-----------------------------------------------|---------|
| holds the last record, or one behind it       | yes     |
| is the last one of the shard                  | yes     |
| is empty, and nothing lies behind it          | yes     |
| is empty, many times in a row, and nobody knows what lies behind | yes |
| anything else                                 | no      |

Between the first and the last record lie others too: those that no filter matched, and with `parallelization_factor`
those of other lanes. What is replayed of the range:

| matching records in the range | those of the first one's lane | replayed          |
|-------------------------------|-------------------------------|-------------------|
| as many as were given up      | any                           | all that match    |
| another number                | as many as were given up      | those of the lane |
| another number                | another number                | all that match    |

Rather too many than too few. Where the first record is gone, or another one has its number now (a stream that was made
anew), records have expired.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esmd.config.values import stream_arn
from esmd.mappings.events import encode
from esmd.mappings.outstanding import lane_of
from esmd.mappings.records import Record
from esmd.mappings.stream_events import dynamodb_record, epoch_seconds, kinesis_record, ordering_key_of_item

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esmd.mappings.filters import RecordFilter
    from esmd.pollers.streams import Page
    from esmd.replay.records import FailureRecord

_MOST_EMPTY = 20
"""Empty pages in a row after which nothing more is expected: a service may answer with some although records follow."""

_ARRIVAL_LEEWAY = 1.5
"""Seconds by which a record's arrival may differ from what was said of it: DynamoDB's are whole seconds."""


class Range:
    """Gathers the records of a failure record, page by page."""

    def __init__(self, wanted: FailureRecord) -> None:
        self._wanted = wanted
        self._first, self._last = int(wanted.first), int(wanted.last)
        self._empty = 0
        self.over = False
        self.found: list[Mapping[str, Any]] = []
        """As they came, in order."""

    @property
    def last_seen(self) -> str | None:
        """Sequence number of the last record found."""
        return number_of(self.found[-1]) if self.found else None

    def add(self, page: Page) -> None:
        """Take in a page; see the module's first table."""
        numbers = [int(number_of(raw)) for raw in page.records]
        self.found += [
            raw for raw, number in zip(page.records, numbers, strict=True) if self._first <= number <= self._last
        ]
        self._empty = 0 if numbers else self._empty + 1
        self.over = (
            any(number >= self._last for number in numbers)
            or page.next_iterator is None
            or (not numbers and page.millis_behind == 0)
            or (page.millis_behind is None and self._empty >= _MOST_EMPTY)
        )

    @property
    def is_whole(self) -> bool:
        """Whether nothing has expired: the first record is there."""
        return bool(self.found) and int(number_of(self.found[0])) == self._first and not self.is_other

    @property
    def is_other(self) -> bool:
        """Whether the first record's number is now that of another one: the stream was made anew."""
        if not self.found or int(number_of(self.found[0])) != self._first:
            return False
        arrived, said = arrived_at(self.found[0]), self._wanted.first_arrived
        return arrived is not None and said is not None and abs(arrived - said) > _ARRIVAL_LEEWAY


def number_of(raw: Mapping[str, Any]) -> str:
    """The sequence number of a record of either service."""
    number: str = raw["dynamodb"]["SequenceNumber"] if "dynamodb" in raw else raw["SequenceNumber"]
    return number


def arrived_at(raw: Mapping[str, Any]) -> float | None:
    """When a record of either service came into its stream, in epoch seconds."""
    moment = (
        raw["dynamodb"].get("ApproximateCreationDateTime") if "dynamodb" in raw else raw["ApproximateArrivalTimestamp"]
    )
    return None if moment is None else epoch_seconds(moment)


def selected(
    found: Sequence[Mapping[str, Any]],
    wanted: FailureRecord,
    *,
    record_filter: RecordFilter | None,
    factor: int,
) -> list[Record]:
    """The records to replay, by the module's second table.

    Args:
        found: all records of the range.
        wanted: the failure record.
        record_filter: of the mapping; None where all records match, or no mapping is known.
        factor: its `parallelization_factor`.
    """
    matching = [
        (raw, element)
        for raw, element in ((raw, _element(raw, wanted)) for raw in found)
        if record_filter is None or record_filter.matches(element)
    ]
    if len(matching) != wanted.count and factor > 1 and matching:
        lane = lane_of(_key(matching[0][0]), factor)
        of_lane = [each for each in matching if lane_of(_key(each[0]), factor) == lane]
        matching = of_lane if len(of_lane) == wanted.count else matching
    return [
        Record(number_of(raw), "", None, 1, arrived_at(raw) or 0.0, math.inf, encode(element))
        for raw, element in matching
    ]


def cut(records: Sequence[Record], *, most: int, max_bytes: int) -> list[list[Record]]:
    """The records in events of at most `most` of them and `max_bytes`: a range may hold more than was given up."""
    events: list[list[Record]] = []
    size = 0
    for record in records:
        if not events or len(events[-1]) >= most or size + record.size + 1 > max_bytes:
            events.append([])
            size = 0
        events[-1].append(record)
        size += record.size + 1
    return events


def _element(raw: Mapping[str, Any], wanted: FailureRecord) -> dict[str, Any]:
    stream = stream_arn(wanted.stream_arn, kind=wanted.kind)
    if wanted.kind == "dynamodb":
        return dynamodb_record(raw, stream_arn=wanted.stream_arn, region=stream.region)
    return kinesis_record(
        raw,
        shard_id=wanted.shard_id,
        stream_arn=wanted.stream_arn,
        region=stream.region,
        role_arn=f"arn:aws:iam::{stream.account_id}:role/esmd",
    )


def _key(raw: Mapping[str, Any]) -> str:
    return ordering_key_of_item(raw["dynamodb"]["Keys"]) if "dynamodb" in raw else raw["PartitionKey"]
