"""One stream on each server that has streams, behind one face, for the contract of `StreamApi`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from esmd.pollers.client_choice import ClientChoice
from esmd.pollers.wire_clients import WireClients
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis
from esmd.testing.fake_streams import EngineStream
from esmd.testing.stream_engine import StreamEngine

from support.stream_servers import REGION, clients_for, service_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from esmd.pollers.client_choice import FallBack, Setting
    from esmd.pollers.streams import Page, StreamApi


class Backend(Protocol):
    """A server's one stream. `kind` is `kinesis` or `dynamodb`; records are named by a text of the test's."""

    kind: str
    api: StreamApi

    async def put(self, *names: str) -> None: ...

    async def split(self, shard_id: str) -> None: ...

    async def recreate(self) -> StreamApi:
        """Delete the stream, make it again under its name, and return it."""
        ...

    def missing(self) -> StreamApi:
        """A stream that is not there."""
        ...


def names_in(page: Page) -> list[str]:
    """The names that the test gave to a page's records."""
    names = []
    for record in page.records:
        if "Data" in record:
            names.append(base64.b64decode(record["Data"]).decode())
        else:
            names.append(record["dynamodb"]["NewImage"]["name"]["S"])
    return names


def missing_arn(arn: str) -> str:
    """The ARN of a stream or table that is not there."""
    return arn.replace("stream/", "stream/no-", 1) if ":kinesis:" in arn else arn.replace("table/", "table/no-", 1)


def number_of(record: Mapping[str, Any]) -> str:
    """A raw record's sequence number."""
    number: str = record["SequenceNumber"] if "SequenceNumber" in record else record["dynamodb"]["SequenceNumber"]
    return number


def arrival_of(record: Mapping[str, Any]) -> float:
    """When a raw record arrived."""
    if "dynamodb" in record:
        return record["dynamodb"]["ApproximateCreationDateTime"]
    return record["ApproximateArrivalTimestamp"]


class EngineBackend:
    """On the engine."""

    def __init__(self, kind: str, shards: int) -> None:
        self.kind = kind
        self._shards = shards
        self._engine = StreamEngine()
        self.api: StreamApi = self._create()

    def _create(self) -> StreamApi:
        create = self._engine.create_stream if self.kind == "kinesis" else self._engine.create_table
        create("s", shards=self._shards)
        return EngineStream(self._engine, "s")

    async def put(self, *names: str) -> None:
        for name in names:
            if self.kind == "kinesis":
                self._engine.put("s", "key", name.encode(), hash_key=0)
            else:
                item = {"name": {"S": name}, "blob": {"B": "AQL/"}}
                self._engine.write("s", {"name": {"S": name}}, new=item)

    async def split(self, shard_id: str) -> None:
        self._engine.split("s", shard_id)

    async def recreate(self) -> StreamApi:
        self._engine.delete("s")
        await asyncio.sleep(0.01)  # else it would have the same creation time
        return self._create()

    def missing(self) -> StreamApi:
        return EngineStream(self._engine, missing_arn(self._engine.arn("s")))


class KinesisBackend:
    """On a server with Kinesis."""

    kind = "kinesis"

    def __init__(self, client: Any, clients: Any, wires: WireClients, shards: int) -> None:
        self._client = client
        self._clients = clients
        self._wires = wires
        self._shards = shards
        self._name = f"s-{uuid.uuid4().hex[:12]}"
        self.api: StreamApi

    async def create(self) -> StreamApi:
        await self._client.create_stream(StreamName=self._name, ShardCount=self._shards)
        arn = await self._active()
        self.api = self.stream(arn)
        return self.api

    async def _active(self) -> str:
        while True:
            answer = await self._client.describe_stream_summary(StreamName=self._name)
            summary = answer["StreamDescriptionSummary"]
            if summary["StreamStatus"] == "ACTIVE":
                return summary["StreamARN"]
            await asyncio.sleep(0.02)

    async def put(self, *names: str) -> None:
        for name in names:
            await self._client.put_record(
                StreamName=self._name, PartitionKey="key", ExplicitHashKey="0", Data=name.encode()
            )

    async def split(self, shard_id: str) -> None:
        await self._client.split_shard(
            StreamName=self._name, ShardToSplit=shard_id, NewStartingHashKey=str(2**127 // self._shards)
        )
        await self._active()

    async def recreate(self) -> StreamApi:
        await self._client.delete_stream(StreamName=self._name)
        gone = self._client.exceptions.ResourceNotFoundException
        with contextlib.suppress(gone):
            while True:
                await self._client.describe_stream_summary(StreamName=self._name)
                await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)  # MiniStack gives the creation time in whole seconds
        return await self.create()

    def missing(self) -> StreamApi:
        arn = missing_arn(f"arn:aws:kinesis:{REGION}:000000000000:stream/{self._name}")
        return self.stream(arn)

    def stream(self, arn: str) -> StreamApi:
        return WireKinesis(self._clients, self._wires, stream_arn=arn, region=REGION)


class DynamoBackend:
    """On a server with DynamoDB Streams."""

    kind = "dynamodb"

    def __init__(self, client: Any, clients: Any, wires: WireClients) -> None:
        self._client = client
        self._clients = clients
        self._wires = wires
        self._name = f"t-{uuid.uuid4().hex[:12]}"
        self.api: StreamApi

    async def create(self) -> StreamApi:
        await self._client.create_table(
            TableName=self._name,
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        found = await self._client.describe_table(TableName=self._name)
        self.api = self.stream(found["Table"]["LatestStreamArn"])
        return self.api

    async def put(self, *names: str) -> None:
        for name in names:
            item = {"name": {"S": name}, "blob": {"B": b"\x01\x02\xff"}}
            await self._client.put_item(TableName=self._name, Item=item)

    async def split(self, shard_id: str) -> None:
        raise NotImplementedError("no server lets a client split the shards of a table")

    async def recreate(self) -> StreamApi:
        await self._client.delete_table(TableName=self._name)
        await asyncio.sleep(0.01)
        return await self.create()

    def missing(self) -> StreamApi:
        arn = missing_arn(f"arn:aws:dynamodb:{REGION}:000000000000:table/{self._name}/stream/2020-01-01T00:00:00.000")
        return self.stream(arn)

    def stream(self, arn: str) -> StreamApi:
        return WireDynamoStreams(self._clients, self._wires, stream_arn=arn, region=REGION)


@contextlib.asynccontextmanager
async def server_backend(
    kind: str, endpoint_url: str, *, shards: int = 1, client: Setting = "botocore"
) -> AsyncIterator[Backend]:
    """A stream of its own on a real server, read through either client."""
    async with (
        clients_for(endpoint_url) as clients,
        WireClients(ClientChoice(client, say=refuse), plain=clients.plain, ca_bundle=clients.ca_bundle) as wires,
        service_client(kind, endpoint_url) as plain,
    ):
        backend: Backend
        backend = (
            KinesisBackend(plain, clients, wires, shards) if kind == "kinesis" else DynamoBackend(plain, clients, wires)
        )
        await backend.create()
        yield backend


def refuse(news: FallBack) -> None:
    """No server of ours is to be one that the lean client does not understand."""
    raise AssertionError(news)
