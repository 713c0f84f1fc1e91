"""AWS's Lambda API over a fake control, served on a free port: for raw HTTP, for boto3, for the aws-cli."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from esmd.api.lambda_api.operations import LambdaApi
from esmd.api.lambda_api.routes import routes_of
from esmd.config.schema import DynamoDbMapping, KinesisMapping, SqsMapping
from esmd.mappings.outcomes import Success

from support.fake_control import FakeControl, config_of
from support.invocations import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esmd.config.schema import AnyMapping
    from esmd.mappings.outcomes import Outcome

REGION = "eu-west-1"
QUEUE = f"arn:aws:sqs:{REGION}:000000000000:orders"
FIFO = f"{QUEUE}.fifo"
STREAM = f"arn:aws:kinesis:{REGION}:000000000000:stream/clicks"
TABLE = f"arn:aws:dynamodb:{REGION}:000000000000:table/users/stream/2026-01-01T00:00:00.000"
MAPPINGS = "/2015-03-31/event-source-mappings"
FUNCTIONS = "/2015-03-31/functions"
STARTED = "2026-11-26T12:00:00.000+0000"


def sqs_mapping(name: str = "orders", **changes: Any) -> SqsMapping:
    return SqsMapping(**({"name": name, "event_source_arn": QUEUE, "function_name": "process"} | changes))


def kinesis_mapping(name: str = "clicks", **changes: Any) -> KinesisMapping:
    values = {"name": name, "event_source_arn": STREAM, "function_name": "process", "starting_position": "LATEST"}
    return KinesisMapping(**(values | changes))


def dynamodb_mapping(name: str = "users", **changes: Any) -> DynamoDbMapping:
    values = {"name": name, "event_source_arn": TABLE, "function_name": "process", "starting_position": "LATEST"}
    return DynamoDbMapping(**(values | changes))


class ScriptedProbe:
    """Says what the test wants it to say; see `esmd.api.lambda_api.probe.Probe`."""

    def __init__(self) -> None:
        self.says: str | None = None
        self.asked: list[tuple[AnyMapping, float | None]] = []

    async def objection(self, mapping: AnyMapping, *, longest: float | None) -> str | None:
        self.asked.append((mapping, longest))
        return self.says


class ScriptedInvoker:
    """An invoker that answers with `outcome`, after `gate` where one is set."""

    running = 0

    def __init__(self, outcome: Outcome | None = None, *, limit: int = 10) -> None:
        self.outcome = outcome or Success(b'{"done": true}')
        self.limit = limit
        self.events: list[bytes] = []
        self.ids: list[str] = []
        self.gate: asyncio.Event | None = None

    def on_freed(self, listener: Callable[[], None]) -> None:
        """No place becomes free by itself."""

    async def start(self) -> None:
        """Is ready."""

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        self.events.append(event)
        self.ids.append(request_id)
        if self.gate is not None:
            await self.gate.wait()
        return self.outcome

    async def close(self) -> None:
        """Has nothing."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, type and text."""
        document = self.json
        return self.status, self.headers["X-Amzn-ErrorType"], document.get("message", document.get("Message"))


class LambdaStage:
    """A context manager. Without a control, two functions are registered and nothing is mapped."""

    def __init__(self, control: FakeControl | None = None) -> None:
        self.control = control or FakeControl(config_of("process", "other"))
        self.probe = ScriptedProbe()
        self.telemetry = Recorder()
        self.api = LambdaApi(
            self.control, telemetry=self.telemetry, probe=self.probe, environ={"AWS_REGION": REGION}, started=STARTED
        )
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=7 * 1024 * 1024)
        app.add_routes(routes_of(self.api, self.telemetry))
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self.api.close()
        await self._runner.cleanup()

    async def call(
        self, method: str, path: str, document: Any = None, *, data: bytes | None = None, **headers: str
    ) -> Reply:
        """One request, its path sent as it is written; underscores in header names are hyphens."""
        body = json.dumps(document).encode() if document is not None else data
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(f"{self.url}{path}", encoded=True)
        stream = None if body is None else io.BytesIO(body)  # aiohttp warns of large bytes
        async with self._session.request(method, url, data=stream, headers=sent) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def create(self, **members: Any) -> Any:
        """A mapping, of the queue `orders` unless told otherwise."""
        reply = await self.call("POST", MAPPINGS, {"EventSourceArn": QUEUE, "FunctionName": "process"} | members)
        assert reply.status == 202, reply
        return reply.json
