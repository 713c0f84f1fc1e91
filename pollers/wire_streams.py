"""`StreamApi` of both stream services over the lean client.

| where to send and as whom  | looking a stream up | iterators and reads |
|----------------------------|---------------------|---------------------|
| plain                      | wire                | wire                |
| botocore's to say          | botocore            | wire                |
| after a fall back          | botocore            | botocore            |

Requests and pages are those of `esmd.pollers.kinesis` and `esmd.pollers.dynamodb`; only the way there is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from esmd.mappings.events import encode
from esmd.pollers.boto_stream import BotoStream
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.kinesis import BotoKinesis
from esmd.pollers.wire import LOOK_UP_SECONDS, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.pollers.boto_stream import LookUp
    from esmd.pollers.streams import StreamClients
    from esmd.pollers.wire_clients import Lane, WireClients

KINESIS_ITERATOR = Target("Kinesis_20131202.GetShardIterator", "1.1")
KINESIS_RECORDS = Target("Kinesis_20131202.GetRecords", "1.1")
DYNAMODB_ITERATOR = Target("DynamoDBStreams_20120810.GetShardIterator", "1.0")
DYNAMODB_RECORDS = Target("DynamoDBStreams_20120810.GetRecords", "1.0")
DESCRIBE_TABLE = Target("DynamoDB_20120810.DescribeTable", "1.0")

_LOOK_UPS: dict[LookUp, Target] = {
    "describe_stream_summary": Target("Kinesis_20131202.DescribeStreamSummary", "1.1"),
    "list_shards": Target("Kinesis_20131202.ListShards", "1.1"),
    "describe_stream": Target("DynamoDBStreams_20120810.DescribeStream", "1.0"),
}

_LISTS = ("Records", "ChildShards")


class _WireStream(BotoStream):
    """The frequent calls of either service, by the lane that the choice gives."""

    iterator_target: ClassVar[Target]
    records_target: ClassVar[Target]

    def __init__(self, clients: StreamClients, wires: WireClients, *, stream_arn: str, region: str) -> None:
        super().__init__(clients, stream_arn=stream_arn, region=region)
        self._wires = wires
        self._lane: Lane | None = None

    async def _look_up(self, operation: LookUp, request: dict[str, Any]) -> Mapping[str, Any]:
        lane = self._wires.plain_lane(self.service, self._region)
        if lane is None or not lane.is_wire:
            return await super()._look_up(operation, request)
        return await lane.ask(_LOOK_UPS[operation], encode(request), lists=(), within=LOOK_UP_SECONDS)

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
        lane = self._wires.plain_lane(self.service, self._region)
        if lane is None:
            client = await self._client()
            lane = await self._wires.lane(client, "get_records", ShardIterator="unused", **self._told_apart_by())
        self._lane = lane
        return lane

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

    async def _describe_table(self, name: str) -> Mapping[str, Any]:
        lane = self._wires.plain_lane("dynamodb", self._region)
        if lane is None or not lane.is_wire:
            return await super()._describe_table(name)
        return await lane.ask(DESCRIBE_TABLE, encode({"TableName": name}), lists=(), within=LOOK_UP_SECONDS)
