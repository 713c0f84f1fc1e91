"""The two lanes of calls to AWS, and what both are made of: whoever asks first may be cancelled, and whoever asks next works."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from esmd.pollers.client_choice import ClientChoice
from esmd.pollers.kinesis import BotoKinesis
from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.pollers.wire_clients import WireClients
from esmd.pollers.wire_credentials import Credentials
from esmd.pollers.wire_sqs import WireSqs
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis

from support.asked import asked
from support.scripted_server import ScriptedServer, answer
from support.walked_pollers import (
    ANSWER,
    ARN,
    LATEST,
    LONGEST,
    URL,
    ExpiringKeys,
    SlowClient,
    SlowClients,
    changes,
    deletes,
    reads,
    receives,
    seeks,
    uses_queue,
    uses_stream,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from support.walker import How, Walk

HOWS: Sequence[How] = ("cut", "late")
TLS = Path(__file__).parents[1] / "data" / "tls"


def _wires(setting: Any) -> tuple[WireClients, ClientChoice]:
    """Lean clients where botocore has to be asked for the way."""
    choice = ClientChoice(setting, say=lambda _: None)
    trusted = str(TLS / "certificate.pem")
    return WireClients(choice, plain=lambda _service, _region: None, ca_bundle=lambda: trusted), choice


async def _fallen_back(_: Walk) -> None:
    """The lean client has misread an answer: from then on all goes by botocore, also what went by it before."""
    clients: Any = SlowClients()
    asking: Any = _AskedClients(URL)
    wires, choice = _wires("auto")
    queue = WireSqs(asking, wires, region="us-east-1", account_id="000000000000", queue_name="orders")
    await asked(queue.look_up)
    for service in ("sqs", "kinesis", "dynamodbstreams"):
        choice.protocol_error(choice.place(service, URL), "it is no JSON")
    for uses_it in (receives, deletes, changes, uses_queue):
        await uses_it(queue)
    for uses in (uses_stream, seeks, reads):
        await uses(WireKinesis(clients, wires, stream_arn=ARN, region="us-east-1"))
        await uses(WireDynamoStreams(clients, wires, stream_arn=LATEST, region="us-east-1"))


class _Asked(SlowClient):
    """Tells the way to a service, as a client of aiobotocore does: it prepares a call, and lets it be kept back."""

    def __init__(self, service: str, url: str) -> None:
        super().__init__(service, url)
        self._keeps_back: Callable[..., Any] | None = None
        self.meta.events = self
        self.meta.service_model.service_id = self

    def hyphenize(self) -> str:
        return "a-service"

    def register_last(self, _event: str, handler: Callable[..., Any], **_: Any) -> None:
        self._keeps_back = handler

    def _get_credentials(self) -> ExpiringKeys:
        return ExpiringKeys()

    def __getattr__(self, operation: str) -> Any:
        async def call(**_: Any) -> Any:
            await asyncio.sleep(0.001)
            if self._keeps_back is None:
                return ANSWER
            signer = SimpleNamespace(region_name="us-east-1", signing_name="a-service", signature_version="v4")
            kept = self._keeps_back(params={"url": self.meta.endpoint_url}, request_signer=signer, context={})
            return ANSWER if kept is None else kept[1]

        return call


class _AskedClients:
    """Makes each when it is first asked for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: dict[str, _Asked] = {}

    async def client(self, service: str, region: str | None, **_: Any) -> tuple[Any, Connection]:
        await asyncio.sleep(0.001)
        made = self._made.setdefault(service, _Asked(service, self._url))
        return made, Connection(endpoint_url=self._url, region=region, dummy_credentials=True)


class TrustScenario:
    """Lanes over TLS, asked for at once. Call it with a walk."""

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """See that all find the same lean client, which trusts the server, and that no connection stays."""
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
        async with (
            ScriptedServer([answer(json.dumps(ANSWER).encode())], tls=serving) as server,
            asyncio.timeout(LONGEST),
        ):
            clients: Any = _AskedClients(server.url)
            wires, _choice = _wires("wire")
            queue = WireSqs(clients, wires, region="us-east-1", account_id="000000000000", queue_name="orders")
            streams = [WireKinesis(clients, wires, stream_arn=ARN, region="us-east-1") for _ in range(2)]
            try:
                await asyncio.gather(asked(queue.look_up), *map(seeks, streams))
                await asyncio.gather(receives(queue), *map(reads, streams))
                await deletes(queue)
                await changes(queue)
                assert len(wires._made) == 2, "one for the queue, one for both streams"
            finally:
                await asked(lambda: wires.__aexit__(None, None, None))
            await server.deserted()


class _Session:
    """Makes clients of aiobotocore: each takes a moment to be made, and another to be closed."""

    def __init__(self) -> None:
        self.open: list[str] = []

    @contextlib.asynccontextmanager
    async def create_client(self, service: str, **_: Any) -> AsyncIterator[SlowClient]:
        await asyncio.sleep(0.1)
        self.open.append(service)
        try:
            yield SlowClient(service)
        finally:
            self.open.remove(service)
            await asyncio.sleep(0.1)


async def _shared(_: Walk) -> None:
    """Clients that several ask for at once are made once, and closed in the end."""
    clients = LocalStackClients(
        lambda _service, region, _url=None: Connection(endpoint_url=URL, region=region, dummy_credentials=True),
        profile=None,
        pool=5,
    )
    session = clients._session = _Session()  # type: ignore[assignment]
    async with asyncio.timeout(LONGEST):
        services = ("sqs", "sqs", "lambda")
        found = await asyncio.gather(*(asked(lambda s=s: clients.client(s, "us-east-1")) for s in services))
        assert found[0][0] is found[1][0]
        assert sorted(session.open) == ["lambda", "sqs"]
        await asked(lambda: clients.__aexit__(None, None, None))
    assert session.open == []


async def _renewed_together(_: Walk) -> None:
    """Two calls see the same token expire: both go on with the next one."""
    credentials = Credentials(ExpiringKeys())
    async with asyncio.timeout(LONGEST):
        used = await asked(credentials.keys)
        found = await asyncio.gather(*(asked(lambda: credentials.renewed(used)) for _ in range(2)))
    assert [keys.access_key for keys in found] == ["second", "second"]


class _Forgetful(SlowClient):
    """Refuses the tokens that it gave out, and lists a shard at a time."""

    async def list_shards(self, **request: Any) -> Any:
        await asyncio.sleep(0.1)
        if "NextToken" in request:
            response: Any = {
                "Error": {"Code": "InvalidArgumentException", "Message": "no such token"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(response, "ListShards")
        number = int(request.get("ExclusiveStartShardId", "shardId-0")[-1]) + 1
        shard = {"ShardId": f"shardId-{number}", "SequenceNumberRange": {"StartingSequenceNumber": "1"}}
        return {"Shards": [shard], "NextToken": "t" if number < 3 else None}


class _ForgetfulClients:
    async def client(self, *_: Any, **__: Any) -> tuple[Any, None]:
        await asyncio.sleep(0.1)
        return _Forgetful(), None


async def _listed(_: Walk) -> None:
    """A listing goes on behind the last shard that it has."""
    stream = BotoKinesis(_ForgetfulClients(), stream_arn=ARN, region="us-east-1")  # type: ignore[arg-type]
    assert [shard.id for shard in await asked(stream.list_shards)] == ["shardId-1", "shardId-2", "shardId-3"]


for _each in (_fallen_back, _shared, _renewed_together, _listed):
    _each.hows = HOWS  # type: ignore[attr-defined]

SCENARIOS: dict[str, Any] = {
    "after a fall back": _fallen_back,
    "over TLS": TrustScenario(),
    "shared clients": _shared,
    "a token that expired for two": _renewed_together,
    "a listing that goes on otherwise": _listed,
}
