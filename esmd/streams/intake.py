"""From stream records to records of the house: the event's JSON is made here, once, and filters have their say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import encode
from esmd.mappings.records import Record
from esmd.mappings.stream_events import (
    KinesisText,
    dynamodb_record,
    epoch_seconds,
    kinesis_record,
    ordering_key_of_item,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.mappings.filters import RecordFilter
    from esmd.streams.settings import StreamSettings


class StreamIntake:
    """Admits the records of one shard."""

    def __init__(self, settings: StreamSettings, record_filter: RecordFilter | None, shard_id: str) -> None:
        self._settings = settings
        self._filter = record_filter
        self._shard_id = shard_id
        self._text = None
        if settings.source == "kinesis" and record_filter is None:
            self._text = KinesisText(
                shard_id=shard_id,
                stream_arn=settings.stream_arn,
                region=settings.region,
                role_arn=settings.role_arn,
            )

    def admit(self, raw: Mapping[str, Any]) -> Record | str:
        """The record, or its sequence number if no filter matches it.

        Args:
            raw: in the API's member names; blobs as base64 text, times as epoch seconds.
        """
        settings = self._settings
        if self._text is not None:
            arrived_at = epoch_seconds(raw["ApproximateArrivalTimestamp"])
            key = self._ordering_key(raw)
            return Record(raw["SequenceNumber"], "", key, 1, arrived_at, math.inf, self._text.of(raw, arrived_at))
        if settings.source == "kinesis":
            element = kinesis_record(
                raw,
                shard_id=self._shard_id,
                stream_arn=settings.stream_arn,
                region=settings.region,
                role_arn=settings.role_arn,
            )
            number: str = raw["SequenceNumber"]
            arrived = raw["ApproximateArrivalTimestamp"]
        else:
            element = dynamodb_record(raw, stream_arn=settings.stream_arn, region=settings.region)
            number = raw["dynamodb"]["SequenceNumber"]
            arrived = raw["dynamodb"].get("ApproximateCreationDateTime", 0.0)
        if self._filter is not None and not self._filter.matches(element):
            return number
        return Record(
            id=number,
            handle="",
            ordering_key=self._ordering_key(raw),
            attempt=1,
            arrived_at=epoch_seconds(arrived),
            hidden_until=math.inf,
            event=encode(element),
        )

    def _ordering_key(self, raw: Mapping[str, Any]) -> str | None:
        """The key whose order is kept; with one lane the shard's own order is enough, and costs nothing."""
        if self._settings.parallelization_factor == 1:
            return None
        if self._settings.source == "kinesis":
            key: str = raw["PartitionKey"]
            return key
        return ordering_key_of_item(raw["dynamodb"]["Keys"])
