"""Calls to AWS that somebody cancels: the next one works, no connection is lost to the others, and none is left open."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from esmd.pollers.client_choice import ClientChoice
from esmd.pollers.connection_pool import Pool
from esmd.pollers.connections import Origin
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.errors import SourceError
from esmd.pollers.kinesis import BotoKinesis
from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.pollers.sqs import BotoSqs, Queue
from esmd.pollers.streams import TRIM_HORIZON
from esmd.pollers.wire import Route, Target, WireClient
from esmd.pollers.wire_clients import WireClients
from esmd.pollers.wire_credentials import Credentials
from esmd.pollers.wire_sqs import WireSqs
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis

from support.asked import asked
from support.scripted_server import ScriptedServer, Then, answer
from support.stream_servers import SESSION, raw_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.pollers.plain import Plain
    from esmd.pollers.sqs import SqsApi
    from esmd.pollers.streams import StreamApi

    from support.scripted_server import Step
    from support.walker import How, Walk

LONGEST = 60.0
HOWS: Sequence[How] = ("cut", "late")
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2020-01-01T00:00:00.000"
LATEST = f"{TABLE.partition('/stream/')[0]}/stream/latest"
URL = "http://127.0.0.1:1"
_QUEUE = Queue(url=f"{URL}/000000000000/orders", visibility_timeout=30, max_receive_count=None, dead_letter_arn=None)
_SHARD = {"ShardId": "shardId-0", "SequenceNumberRange": {"StartingSequenceNumber": "1"}}
ANSWER: dict[str, Any] = {
    "QueueUrl": _QUEUE.url,
    "Attributes": {
        "VisibilityTimeout": "30",
        "ApproximateNumberOfMessages": "1",
        "ApproximateNumberOfMessagesNotVisible": "1",
        "ApproximateNumberOfMessagesDelayed": "1",
    },
    "Messages": [],
    "Successful": [{"Id": "0"}],
    "Failed": [],
    "StreamDescriptionSummary": {"StreamARN": ARN, "StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1.0},
    "StreamDescription": {"StreamStatus": "ENABLED", "CreationRequestDateTime": 1.0, "Shards": [_SHARD]},
    "Table": {"LatestStreamArn": TABLE},
    "Shards": [_SHARD],
    "ShardIterator": "i",
    "Records": [],
    "NextShardIterator": "j",
}
"""To whatever is asked."""


class SlowClient:
    """A client of aiobotocore, of any service: every call takes a moment and is answered.

    Args:
        service: whose.
        url: where that is.
    """

    def __init__(self, service: str = "", url: str = URL) -> None:
        self.meta = SimpleNamespace(service_model=SimpleNamespace(service_name=service), endpoint_url=url)

    def __getattr__(self, operation: str) -> Any:
        async def call(**_: Any) -> dict[str, Any]:
            await asyncio.sleep(0.1)
            return ANSWER

        return call


class SlowClients:
    """Has a client of every service, after a while."""

    async def client(self, service: str, region: str | None, **_: Any) -> tuple[Any, Connection]:
        await asyncio.sleep(0.1)
        return SlowClient(service), Connection(endpoint_url=URL, region=region, dummy_credentials=True)


async def receives(api: SqsApi) -> None:
    assert await asked(lambda: api.receive(_QUEUE, most=10, wait=0, visibility_timeout=None)) == []


async def deletes(api: SqsApi) -> None:
    assert await asked(lambda: api.delete(_QUEUE, ["h"])) == []


async def changes(api: SqsApi) -> None:
    assert await asked(lambda: api.change_visibility(_QUEUE, {"h": 0})) == []


async def uses_queue(api: SqsApi) -> None:
    """All that a mapping asks of its queue."""
    assert await asked(api.look_up)
    assert (await asked(lambda: api.depth(_QUEUE))).visible == 1
    await receives(api)
    await deletes(api)
    await changes(api)


async def seeks(api: StreamApi) -> None:
    assert await asked(lambda: api.iterator("shardId-0", TRIM_HORIZON)) == "i"


async def reads(api: StreamApi) -> None:
    assert (await asked(lambda: api.read("i", 10))).next_iterator == "j"


async def uses_stream(api: StreamApi) -> None:
    """All that a mapping asks of its stream."""
    assert await asked(api.describe)
    assert [shard.id for shard in await asked(api.list_shards)] == ["shardId-0"]
    await seeks(api)
    await reads(api)


async def _by_botocore(_: Walk) -> None:
    """Each call is, once, the one that the client has to be made for."""
    clients: Any = SlowClients()

    def queue() -> BotoSqs:
        return BotoSqs(clients, region="us-east-1", account_id="000000000000", queue_name="orders")

    def stream() -> BotoKinesis:
        return BotoKinesis(clients, stream_arn=ARN, region="us-east-1")

    for uses in (uses_queue, receives, deletes, changes):
        await uses(queue())
    for reading in (uses_stream, seeks, reads):
        await reading(stream())
    for table in (TABLE, LATEST):
        await uses_stream(BotoDynamoStreams(clients, stream_arn=table, region="us-east-1"))


async def _by_wire(_: Walk) -> None:
    """Real clients of both kinds, where botocore has to be asked for the way."""
    await _by_lean_client(lambda _service, _region: None)


async def _by_wire_alone(_: Walk) -> None:
    """The same where it need not be asked."""
    await _by_lean_client(None)


async def _by_lean_client(plain: Callable[[str, str], Plain | None] | None) -> None:
    """`plain` is that of the clients if it is None; the server answers everything alike."""
    async with ScriptedServer([answer(json.dumps(ANSWER).encode())]) as server, asyncio.timeout(LONGEST):

        def connect(_service: str, region: str | None, _url: str | None = None) -> Connection:
            return Connection(endpoint_url=server.url, region=region or "us-east-1", dummy_credentials=True)

        clients = LocalStackClients(connect, profile=None, pool=5)
        clients._session, clients._raw_session = SESSION, raw_session()
        choice = ClientChoice("wire", say=lambda _: None)
        wires = WireClients(choice, plain=plain or clients.plain, ca_bundle=clients.ca_bundle)
        try:
            queue = WireSqs(clients, wires, region="us-east-1", account_id="000000000000", queue_name="orders")
            await uses_queue(queue)
            await uses_stream(WireKinesis(clients, wires, stream_arn=ARN, region="us-east-1"))
            if plain is None:
                await uses_stream(WireDynamoStreams(clients, wires, stream_arn=LATEST, region="us-east-1"))
        finally:
            await asked(lambda: wires.__aexit__(None, None, None))
            await asked(lambda: clients.__aexit__(None, None, None))
        await server.deserted()


class ExpiringKeys:
    """Credentials that have to be renewed once."""

    def __init__(self) -> None:
        self.key = "first"

    async def get_frozen_credentials(self) -> Any:
        await asyncio.sleep(0.001)
        return SimpleNamespace(access_key=self.key, secret_key="secret", token="token")

    async def _protected_refresh(self, *, is_mandatory: bool) -> None:
        assert is_mandatory
        await asyncio.sleep(0.001)
        self.key = "second"


@dataclass(kw_only=True)
class PoolScenario:
    """Connections that many wait for. Call it with a walk.

    Attributes:
        scripts: how the server answers.
        most: connections that there may be.
    """

    scripts: Sequence[list[Step]]
    most: int = 2

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """See that all are answered over no more connections than there may be, and none stays."""
        request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
        async with ScriptedServer(*self.scripts) as server, asyncio.timeout(LONGEST):
            pool = Pool(Origin.of(server.url), tls=None, most=self.most)
            for _turn in range(2):
                calls = (
                    asked(lambda: pool.request(request, within=5.0, repeatable=True), again=(Exception,))
                    for _ in range(5)
                )
                await asyncio.gather(*calls)
                assert server.open <= self.most
            assert len(pool._connected) <= pool._claimed <= self.most
            await asked(pool.close)
            await server.deserted()


async def _renewed(_: Walk) -> None:
    """A token that a service calls expired."""
    expired = answer(b'{"__type":"ExpiredTokenException"}', status="400 Bad Request")
    async with ScriptedServer([expired], [answer()]) as server, asyncio.timeout(LONGEST):
        route = Route(url=f"{server.url}/", region="us-east-1", service="sqs")
        client = WireClient(route, credentials=Credentials(ExpiringKeys()), tls=None, most=2)
        target = Target("AmazonSQS.DeleteMessageBatch", "1.0", query_mode=True)
        calls = (asked(lambda: client.call(target, b"{}"), again=(SourceError,)) for _ in range(2))
        await asyncio.gather(*calls)
        await asked(client.close)


for _each in (_by_wire, _by_wire_alone, _renewed):
    _each.real_time = True  # type: ignore[attr-defined]
for _each in (_renewed, _by_botocore, _by_wire_alone):
    _each.hows = HOWS  # type: ignore[attr-defined]
_by_wire.hows = ("cut",)  # type: ignore[attr-defined] # clients of aiobotocore take long to make

SCENARIOS: dict[str, Any] = {
    "by botocore": _by_botocore,
    "by the lean client": _by_wire,
    "by the lean client alone": _by_wire_alone,
    "connections": PoolScenario(scripts=[[answer()]]),
    "connections that are used once": PoolScenario(scripts=[[answer(headers={"Connection": "close"})]]),
    "a connection that ends while a request leaves on it": PoolScenario(
        scripts=[[answer()], [Then.CLOSE], [answer()]], most=1
    ),
    "a token that expired": _renewed,
}
