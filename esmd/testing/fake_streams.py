"""`EngineStream`: `StreamApi` on a `StreamEngine`, in process, for tests under virtual time.

The real pollers run on clients that ask the engine instead of a server, so that pages, positions and errors take the
same way as with a service.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.kinesis import BotoKinesis
from esmd.testing.stream_shards import StreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.pollers.streams import Page, Seek, Shard, StreamApi, StreamInfo
    from esmd.testing.stream_engine import StreamEngine
    from esmd.testing.stream_shards import FakeShard


class EngineStream:
    """One stream of an engine.

    Args:
        engine: where it is; it need not exist yet if it is named by its ARN.
        name: the stream's or table's name, or the stream's ARN.
        page: most shards in one answer of the listing; the service's own limit by default.
        takes_token: whether ListShards takes a token alone, as AWS does and some emulators do not.

    Attributes:
        latency: a round trip, in seconds of the loop's clock.
    """

    def __init__(self, engine: StreamEngine, name: str, *, page: int = 1000, takes_token: bool = True) -> None:
        self.latency = 0.0
        self._engine = engine
        self._page = page
        self._takes_token = takes_token
        arn = name if name.startswith("arn:") else engine.arn(name)
        make = BotoDynamoStreams if ":dynamodb:" in arn else BotoKinesis
        self._api: StreamApi = make(self, stream_arn=arn, region=engine.region)

    async def describe(self) -> StreamInfo:
        """See `StreamApi.describe`."""
        return await self._api.describe()

    async def list_shards(self) -> list[Shard]:
        """See `StreamApi.list_shards`."""
        return await self._api.list_shards()

    async def iterator(self, shard_id: str, position: Seek) -> str:
        """See `StreamApi.iterator`."""
        return await self._api.iterator(shard_id, position)

    async def read(self, iterator: str, limit: int) -> Page:
        """See `StreamApi.read`."""
        return await self._api.read(iterator, limit)

    async def client(self, service: str, region: str | None, *, raw: bool) -> tuple[Any, None]:
        """The client that the poller asks for."""
        if not raw or region != self._engine.region:
            raise ValueError(f"no such client: {service} in {region}, raw={raw}")
        kinds = {"kinesis": _KinesisClient, "dynamodbstreams": _DynamoStreamsClient}
        return kinds[service](self, self._engine, page=self._page, takes_token=self._takes_token), None


class _Client:
    """What the clients of both services share; their methods are named and shaped like the raw clients'."""

    def __init__(self, owner: EngineStream, engine: StreamEngine, *, page: int, takes_token: bool) -> None:
        self._owner = owner
        self._engine = engine
        self._page = page
        self._takes_token = takes_token

    async def get_records(self, **request: Any) -> dict[str, Any]:
        await self._travel()
        return self._engine.read(request["ShardIterator"], request["Limit"])

    async def _travel(self) -> None:
        if self._owner.latency:
            await asyncio.sleep(self._owner.latency)

    def _part(self, stream: str, after: str | None, most: int) -> tuple[list[dict[str, Any]], str | None]:
        """A page of the listing, and the shard it ended with if there are more."""
        shards = self._engine.list_shards(stream)
        first = 0 if after is None else 1 + next((n for n, shard in enumerate(shards) if shard.id == after), -1)
        part: Sequence[FakeShard] = shards[first : first + min(most, self._page)]
        more = bool(part) and part[-1] is not shards[-1]
        return [_item(shard) for shard in part], part[-1].id if more else None


class _KinesisClient(_Client):
    async def describe_stream_summary(self, **request: Any) -> dict[str, Any]:
        await self._travel()
        found = self._engine.describe(request["StreamARN"])
        summary = {
            "StreamName": found.name,
            "StreamARN": found.arn,
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": int(found.retention / 3600),
            "StreamCreationTimestamp": found.created,
            "OpenShardCount": sum(shard.closed_at is None for shard in found.shards.values()),
        }
        return {"StreamDescriptionSummary": summary}

    async def list_shards(self, **request: Any) -> dict[str, Any]:
        await self._travel()
        token = request.get("NextToken")
        if token is not None and not self._takes_token:
            raise StreamError("InvalidArgumentException", "Either NextToken or StreamName should be provided.")
        stream, _, after = token.partition(" ") if token else (request["StreamARN"], "", None)
        part, last = self._part(stream, after or request.get("ExclusiveStartShardId"), request["MaxResults"])
        return {"Shards": part} | ({"NextToken": f"{stream} {last}"} if last else {})

    async def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        await self._travel()
        iterator = self._engine.iterator(
            request["StreamARN"],
            request["ShardId"],
            request["ShardIteratorType"],
            sequence_number=request.get("StartingSequenceNumber"),
            timestamp=request.get("Timestamp"),
        )
        return {"ShardIterator": iterator}


class _DynamoStreamsClient(_Client):
    async def describe_stream(self, **request: Any) -> dict[str, Any]:
        await self._travel()
        arn = request["StreamArn"]
        found = self._engine.describe(arn)
        part, last = self._part(arn, request.get("ExclusiveStartShardId"), min(100, request["Limit"]))
        description = {
            "StreamArn": found.arn,
            "StreamStatus": "DISABLED" if all(s.closed_at is not None for s in found.shards.values()) else "ENABLED",
            "StreamViewType": found.view,
            "CreationRequestDateTime": found.created,
            "TableName": found.name,
            "Shards": part,
        }
        return {"StreamDescription": description | ({"LastEvaluatedShardId": last} if last else {})}

    async def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        await self._travel()
        iterator = self._engine.iterator(
            request["StreamArn"],
            request["ShardId"],
            request["ShardIteratorType"],
            sequence_number=request.get("SequenceNumber"),
        )
        return {"ShardIterator": iterator}


def _item(shard: FakeShard) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": str(shard.first_number)}
    if shard.last_number is not None:
        numbers["EndingSequenceNumber"] = str(shard.last_number)
    names = ("ParentShardId", "AdjacentParentShardId")
    return {"ShardId": shard.id, "SequenceNumberRange": numbers, **dict(zip(names, shard.parents, strict=False))}
