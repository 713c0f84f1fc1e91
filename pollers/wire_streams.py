"""`StreamApi` of both stream services over the lean client: iterators and reads; the rest, and any fall back, by botocore.

Requests and pages are those of `esmd.pollers.kinesis` and `esmd.pollers.dynamodb`; only the way there is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from esmd.mappings.events import encode
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.kinesis import BotoKinesis
from esmd.pollers.streams import BotoStream
from esmd.pollers.wire import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.pollers.streams import StreamClients
    from esmd.pollers.wire_clients import Lane, WireClients

KINESIS_ITERATOR = Target("Kinesis_20131202.GetShardIterator", "1.1")
KINESIS_RECORDS = Target("Kinesis_20131202.GetRecords", "1.1")
DYNAMODB_ITERATOR = Target("DynamoDBStreams_20120810.GetShardIterator", "1.0")
DYNAMODB_RECORDS = Target("DynamoDBStreams_20120810.GetRecords", "1.0")

_LISTS = ("Records", "ChildShards")


class _WireStream(BotoStream):
    """The frequent calls of either service, by the lane that the choice gives."""

    iterator_target: ClassVar[Target]
    records_target: ClassVar[Target]

    def __init__(self, clients: StreamClients, wires: WireClients, *, stream_arn: str, region: str) -> None:
        super().__init__(clients, stream_arn=stream_arn, region=region)
        self._wires = wires
        self._lane: Lane | None = None

    async def _get_shard_iterator(self, request: dict[str, Any]) -> Mapping[str, Any]:
        lane = self._lane or await self._find_lane()
        if not lane.is_wire:
            return await super()._get_shard_iterator(request)
        return await lane.ask(self.iterator_target, encode(request), lists=())

    async def _get_records(self, request: dict[str, Any]) -> Mapping[str, Any]:
        lane = self._lane or await self._find_lane()
        if not lane.is_wire:
            return await super()._get_records(request)
        return await lane.ask(self.records_target, encode(request), lists=_LISTS)

    async def _find_lane(self) -> Lane:
        self._lane = await self._wires.lane(
            await self._client(), "get_records", ShardIterator="unused", **self._told_apart_by()
        )
        return self._lane

    def _told_apart_by(self) -> dict[str, str]:
        """What else decides where the service is."""
        return {}


class WireKinesis(_WireStream, BotoKinesis):
    """`StreamApi` of a Kinesis stream."""

    iterator_target = KINESIS_ITERATOR
    records_target = KINESIS_RECORDS

    def _told_apart_by(self) -> dict[str, str]:
        # Where Kinesis is depends on the stream's account: an iterator alone would not tell.
        return {"StreamARN": self._arn}


class WireDynamoStreams(_WireStream, BotoDynamoStreams):
    """`StreamApi` of a DynamoDB table's stream. Numbers and binaries stay the text they came as."""

    iterator_target = DYNAMODB_ITERATOR
    records_target = DYNAMODB_RECORDS
