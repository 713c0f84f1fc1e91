"""`StreamApi` of both stream services over the lean client: iterators and reads; the rest, and any fall back, by botocore.

Requests and pages are those of `esmd.pollers.kinesis` and `esmd.pollers.dynamodb`; only the way there is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.mappings.events import encode
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.kinesis import BotoKinesis
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


class WireKinesis(BotoKinesis):
    """`StreamApi` of a Kinesis stream."""

    def __init__(self, clients: StreamClients, wires: WireClients, *, stream_arn: str, region: str) -> None:
        super().__init__(clients, stream_arn=stream_arn, region=region)
        self._wires = wires
        self._lane: Lane | None = None

    async def _get_shard_iterator(self, request: dict[str, Any]) -> Mapping[str, Any]:
        lane = self._lane or await self._find_lane()
        if not lane.is_wire:
            return await super()._get_shard_iterator(request)
        return await lane.ask(KINESIS_ITERATOR, encode(request), lists=())

    async def _get_records(self, request: dict[str, Any]) -> Mapping[str, Any]:
        lane = self._lane or await self._find_lane()
        if not lane.is_wire:
            return await super()._get_records(request)
        return await lane.ask(KINESIS_RECORDS, encode(request), lists=_LISTS)

    async def _find_lane(self) -> Lane:
        # Where Kinesis is depends on the stream's account: an iterator alone would not tell.
        self._lane = await self._wires.lane(
            await self._client(), "get_records", StreamARN=self._arn, ShardIterator="unused"
        )
        return self._lane


class WireDynamoStreams(BotoDynamoStreams):
    """`StreamApi` of a DynamoDB table's stream. Numbers and binaries stay the text they came as."""

    def __init__(self, clients: StreamClients, wires: WireClients, *, stream_arn: str, region: str) -> None:
        super().__init__(clients, stream_arn=stream_arn, region=region)
        self._wires = wires
        self._lane: Lane | None = None

    async def _get_shard_iterator(self, request: dict[str, Any]) -> Mapping[str, Any]:
        lane = self._lane or await self._find_lane()
        if not lane.is_wire:
            return await super()._get_shard_iterator(request)
        return await lane.ask(DYNAMODB_ITERATOR, encode(request), lists=())

    async def _get_records(self, request: dict[str, Any]) -> Mapping[str, Any]:
        lane = self._lane or await self._find_lane()
        if not lane.is_wire:
            return await super()._get_records(request)
        return await lane.ask(DYNAMODB_RECORDS, encode(request), lists=_LISTS)

    async def _find_lane(self) -> Lane:
        self._lane = await self._wires.lane(await self._client(), "get_records", ShardIterator="unused")
        return self._lane
