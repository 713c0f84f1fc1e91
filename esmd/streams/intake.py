"""From stream records to records of the house: the event's JSON is made here, once, and filters have their say.

A Kinesis function in the daemon's own process needs no JSON, see `esmd.mappings.kinesis_values`.
"""

from __future__ import annotations

from itertools import groupby, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import encode
from esmd.mappings.kinesis_values import kinesis_records
from esmd.mappings.records import stream_records
from esmd.mappings.stream_events import (
    DynamoText,
    KinesisText,
    dynamodb_record,
    epochs,
    kinesis_record,
    ordering_key_of_item,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esmd.mappings.filters import RecordFilter
    from esmd.mappings.records import Record
    from esmd.streams.settings import StreamSettings


class StreamIntake:
    """Admits the records of one shard.

    Args:
        settings: of the mapping.
        record_filter: its filters, if it has any.
        shard_id: the shard.
        values: the function takes values rather than JSON.
    """

    def __init__(
        self, settings: StreamSettings, record_filter: RecordFilter | None, shard_id: str, *, values: bool
    ) -> None:
        self._settings = settings
        self._values = values
        self._filter = record_filter
        self._shard_id = shard_id
        self._kinesis = KinesisText(
            shard_id=shard_id,
            stream_arn=settings.stream_arn,
            region=settings.region,
            role_arn=settings.role_arn,
        )
        self._dynamodb = DynamoText(stream_arn=settings.stream_arn, region=settings.region)

    def admit(self, raws: Sequence[Mapping[str, Any]]) -> list[tuple[list[Record], str | None]]:
        """The records of a page in runs, each with the number of the last one behind it that no filter matches, if any.

        Args:
            raws: in the API's member names; blobs as base64 text, times as epoch seconds.
        """
        numbers, moments = self._numbers_and_moments(raws)
        arrived_at = epochs(moments)
        keys: Iterable[str | None] = repeat(None)  # with one lane the shard's own order is enough, and costs nothing
        if self._settings.parallelization_factor > 1:
            keys = [self._ordering_key(raw) for raw in raws]
        if self._filter is None:
            is_kinesis = self._settings.source == "kinesis"
            if is_kinesis and self._values:
                made = kinesis_records(self._kinesis, raws, numbers=numbers, keys=keys, arrived_at=arrived_at)
                if made is not None:
                    return [(made, None)]
            events = self._kinesis.of_all(raws, arrived_at) if is_kinesis else self._dynamodb.of_all(raws)
            return [(stream_records(numbers, keys, arrived_at, events), None)]
        elements = [self._element(raw) for raw in raws]
        matching = [self._filter.matches(element) for element in elements]
        events = [encode(element) if matches else b"" for element, matches in zip(elements, matching, strict=True)]
        records = zip(stream_records(numbers, keys, arrived_at, events), matching, strict=True)
        runs: list[tuple[list[Record], str | None]] = []
        for matches, group in groupby(records, key=itemgetter(1)):
            run = [record for record, _ in group]
            if matches:
                runs.append((run, None))
            else:
                before = runs.pop()[0] if runs else []
                runs.append((before, run[-1].id))
        return runs

    def numbers(self, raws: Sequence[Mapping[str, Any]]) -> list[str]:
        """The sequence numbers of records as they came."""
        return self._numbers_and_moments(raws)[0]

    def _numbers_and_moments(self, raws: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Any]]:
        if self._settings.source == "kinesis":
            return [raw["SequenceNumber"] for raw in raws], [raw["ApproximateArrivalTimestamp"] for raw in raws]
        changes = [raw["dynamodb"] for raw in raws]
        return (
            [change["SequenceNumber"] for change in changes],
            [change.get("ApproximateCreationDateTime", 0.0) for change in changes],
        )

    def _element(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        settings = self._settings
        if settings.source == "dynamodb":
            return dynamodb_record(raw, stream_arn=settings.stream_arn, region=settings.region)
        return kinesis_record(
            raw,
            shard_id=self._shard_id,
            stream_arn=settings.stream_arn,
            region=settings.region,
            role_arn=settings.role_arn,
        )

    def _ordering_key(self, raw: Mapping[str, Any]) -> str:
        if self._settings.source == "kinesis":
            key: str = raw["PartitionKey"]
            return key
        return ordering_key_of_item(raw["dynamodb"]["Keys"])
