"""The daemon's API that somebody cancels: the next request is answered, it ends with everything closed, and nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from aiohttp import ClientError

from esmd.api import server
from esmd.api.client import DaemonClient, DaemonRefused, DaemonUnreachable
from esmd.api.lambda_api.probe import SourceProbe
from esmd.api.listening import Listening
from esmd.api.parts import ApiParts
from esmd.config.schema import ApiSettings, Config
from esmd.control.protocol import Reloaded
from esmd.observe.lambda_api_events import BackgroundFailed, BackgroundInvoked
from esmd.pollers.localstack import Connection
from esmd.state.memory import MemoryStateStore
from esmd.state.position import Position
from esmd.state.protocol import ShardProgress, StreamIdentity

from support.asked import asked
from support.fake_control import FakeControl, config_of
from support.functions import function_of
from support.lambda_stage import (
    FUNCTIONS,
    MAPPINGS,
    REGION,
    STREAM,
    LambdaStage,
    ScriptedProbe,
    kinesis_mapping,
    sqs_mapping,
)
from support.lambda_stage import ScriptedInvoker as Invoker
from support.mapping_lab import Collector
from support.scripted_server import ScriptedServer, answer
from support.status_lab import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from esmd.config.schema import AnyMapping
    from esmd.control.protocol import Entry
    from esmd.mappings.outcomes import Outcome
    from esmd.state.protocol import StateStore, Stored, Summary
    from esmd.status.model import Snapshot

    from support.walker import How, Walk

LONGEST = 60.0
_IDENTITY = StreamIdentity(STREAM, "1")
_PROGRESS = ShardProgress(shard_id="shard-0", position=Position.after("1"), updated_at=1.0)
_AGAIN = (DaemonUnreachable, ClientError, ConnectionError, TimeoutError)
"""What a client sees whose connection was cut off."""


class SlowControl(FakeControl):
    """Takes a moment for everything."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in {"create", "update", "delete", "tag", "pause", "resume", "reload", "settled", "function"}:
            return found

        async def slowly(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0.001)
            return await found(*arguments, **options)

        return slowly

    async def pause(self, name: str) -> Entry:
        self.move(name, "Disabled")
        return self.entry(name)

    async def resume(self, name: str) -> Entry:
        self.move(name, "Enabled")
        return self.entry(name)

    async def settled(self, name: str) -> Entry | None:
        return self.entry(name)

    async def reload(self) -> Reloaded:
        return Reloaded(applied=True)


class _Trail:
    async def trace(self, *_: Any) -> Any:
        await asyncio.sleep(0.001)
        return None, 0.0


class _Status:
    def unready(self, *, strict: bool) -> dict[str, str]:
        return {}

    async def snapshot(self) -> Snapshot:
        await asyncio.sleep(0.001)
        return snapshot()


class _Store(MemoryStateStore):
    """Takes a moment to look and to move."""

    async def load(self, mapping: str, stream_arn: str) -> Stored | None:
        await asyncio.sleep(0.001)
        return await super().load(mapping, stream_arn)

    async def mappings(self) -> list[Summary]:
        await asyncio.sleep(0.001)
        return await super().mappings()

    async def move(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        await asyncio.sleep(0.001)
        await super().move(mapping, identity, *progress)


class ListeningScenario:
    """The API's sockets and its own routes. Call it with a walk."""

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = ("cut", "late")

    def __init__(self, paths: Sequence[tuple[str, str]]) -> None:
        self._paths = paths

    @staticmethod
    def prepare() -> None:
        """Load what is loaded once."""
        server.make_app(_parts(MemoryStateStore()))

    async def __call__(self, _: Walk) -> None:
        """See that every request is answered in the end, and that the sockets are gone."""
        with tempfile.TemporaryDirectory(prefix="esmd-") as folder:
            path = Path(folder) / "esmd.sock"
            store = _Store()
            await asked(lambda: store.begin("clicks", _IDENTITY))
            await asked(lambda: MemoryStateStore.move(store, "clicks", _IDENTITY, _PROGRESS))
            parts = _parts(store)
            listening = Listening(parts, path=path, listen="127.0.0.1:0")
            async with asyncio.timeout(LONGEST):
                await listening.__aenter__()
                try:
                    for method, what in self._paths:
                        # Of two moves the second is refused while the first, whose caller has gone, is under way.
                        again = (*_AGAIN, DaemonRefused) if method == "POST" and "checkpoint" in what else _AGAIN
                        await asked(lambda method=method, what=what: _asked_of(path, method, what), again=again)
                finally:
                    await asked(lambda: listening.__aexit__(None, None, None))
            assert not path.exists()
            assert parts.control.entry("clicks").state != "Disabled", "nobody has asked for a pause"


async def _asked_of(path: Path, method: str, what: str) -> None:
    async with DaemonClient.connect(path) as daemon, asyncio.timeout(5):
        if "trace" in what:
            with contextlib.suppress(DaemonRefused):  # nothing is known of it
                await daemon.get(what)
        elif method == "GET":
            await daemon.get(what)
        elif method == "SLOW":
            assert daemon._session is not None
            async with daemon._session.post(f"http://localhost{what}", data=_in_pieces()) as response:
                await response.read()
        else:
            await daemon.post(what, {"to": "TRIM_HORIZON", "yes": True} if "checkpoint" in what else {})


async def _in_pieces() -> AsyncIterator[bytes]:
    for piece in (b"{", b"}"):
        yield piece
        await asyncio.sleep(0.005)


def _parts(store: StateStore) -> ApiParts:
    control = SlowControl(config_of("process"), mappings=[kinesis_mapping()])
    return ApiParts(
        control=control,
        status=_Status(),
        store=store,
        telemetry=Collector(),
        config=Config(api=ApiSettings(listen="127.0.0.1:0")),
        trail=_Trail(),  # type: ignore[arg-type]
    )


class _SlowProbe(ScriptedProbe):
    async def objection(self, mapping: AnyMapping, *, longest: float | None) -> str | None:
        await asyncio.sleep(0.001)
        return await super().objection(mapping, longest=longest)


class _SlowInvoker(Invoker):
    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        await asyncio.sleep(0.01)
        return await super().invoke(event, request_id=request_id)


class LambdaScenario:
    """AWS's Lambda API. Call it with a walk."""

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = ("cut", "late")

    async def __call__(self, _: Walk) -> None:
        """See that every request is answered in the end."""
        invoker = _SlowInvoker(limit=1)
        functions = {"process": function_of(invoker)}
        stage = LambdaStage(SlowControl(config_of("process"), functions=functions))
        async with asyncio.timeout(LONGEST), stage:
            stage.probe = _SlowProbe()
            stage.api._probe = stage.probe
            made = await asked(stage.create, again=(*_AGAIN, AssertionError))
            path = f"{MAPPINGS}/{made['UUID']}"
            arn = made["EventSourceMappingArn"]
            stage.control.settle()
            for method, what, document in (
                ("GET", path, None),
                ("PUT", path, {"BatchSize": 3}),
                ("POST", f"/2017-03-31/tags/{arn}", {"Tags": {"k": "v"}}),
                ("DELETE", f"/2017-03-31/tags/{arn}?tagKeys=k", None),
                ("POST", f"{FUNCTIONS}/process/invocations", {}),
                ("DELETE", path, None),
            ):
                stage.control.settle()
                reply = await asked(lambda m=method, w=what, d=document: stage.call(m, w, d), again=_AGAIN)
                assert reply.status < 300 or method in {"PUT", "DELETE"}, reply
            invoker.gate = asyncio.Event()
            for _ in range(2):  # the second one has to wait for its place
                await asked(lambda: _begun(stage), again=_AGAIN)
            invoker.gate.set()
            await _ended(stage, 2)
            assert await asked(lambda: _invoked_slowly(stage), again=_AGAIN) == 200
            invoker.gate = asyncio.Event()
            await asked(lambda: _begun(stage), again=_AGAIN)
            await asked(stage.api.close)
            await _ended(stage, 3)


async def _begun(stage: LambdaStage) -> None:
    """Invoke in the background."""
    path = f"{FUNCTIONS}/process/invocations"
    reply = await stage.call("POST", path, {}, X_Amz_Invocation_Type="Event")
    assert reply.status == 202


async def _ended(stage: LambdaStage, least: int) -> None:
    """Wait until so many of those have come to an end."""
    while len(stage.telemetry.of(BackgroundInvoked)) + len(stage.telemetry.of(BackgroundFailed)) < least:
        await asyncio.sleep(0.001)


async def _invoked_slowly(stage: LambdaStage) -> int:
    async with stage._session.post(f"{stage.url}{FUNCTIONS}/process/invocations", data=_in_pieces()) as response:
        return response.status


async def _served_again(_: Walk) -> None:
    """A server that is given up just when it begins leaves its socket to the next."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        parts = _parts(MemoryStateStore())
        starting = asyncio.create_task(server.serve(parts, [made]))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled()
        async with asyncio.timeout(LONGEST):
            serving = await asked(lambda: server.serve(parts, [made]))
            try:
                url = f"http://127.0.0.1:{made.getsockname()[1]}"
                await asked(lambda: _told(url, "/livez"), again=_AGAIN)
            finally:
                await asked(serving.close)


async def _answered_in_pieces(_: Walk) -> None:
    """A daemon that takes its time between the head of an answer and its body."""
    more = asyncio.Event()
    head, _, body = answer(b'{"done": true}', headers={"Content-Type": "application/json"}).partition(b"{")
    async with ScriptedServer([head, more, b"{" + body]) as daemon, asyncio.timeout(LONGEST):
        asyncio.get_running_loop().call_later(0.02, more.set)
        assert await asked(lambda: _told(daemon.url, "/")) == {"done": True}


async def _told(url: str, path: str) -> Any:
    async with DaemonClient.connect(url) as daemon:
        return await daemon.get(path)


class _Client:
    """Of any service; every call takes a moment and is answered."""

    meta = SimpleNamespace(endpoint_url="http://127.0.0.1:4566")

    def __getattr__(self, operation: str) -> Any:
        async def call(**_: Any) -> dict[str, Any]:
            await asyncio.sleep(0.1)
            return {
                "QueueUrl": "http://127.0.0.1:4566/000000000000/orders",
                "Attributes": {"VisibilityTimeout": "30"},
                "StreamDescriptionSummary": {
                    "StreamARN": STREAM,
                    "StreamStatus": "ACTIVE",
                    "StreamCreationTimestamp": 1.0,
                    "OpenShardCount": 1,
                },
            }

        return call


class _Clients:
    async def __aenter__(self) -> Self:
        await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.1)

    async def client(self, *_: Any, **__: Any) -> tuple[Any, Connection]:
        await asyncio.sleep(0.1)
        return _Client(), Connection(endpoint_url="http://127.0.0.1:4566", region=REGION, dummy_credentials=True)


async def _probed(_: Walk) -> None:
    """A source that is looked at before a mapping of it is made."""
    probe = SourceProbe(_Clients, allow_remote=False)  # type: ignore[arg-type]
    for mapping in (sqs_mapping(), kinesis_mapping()):
        assert await asked(lambda mapping=mapping: probe.objection(mapping, longest=20.0)) is None


for _each in (_served_again, _answered_in_pieces, _probed):
    _each.hows = ("cut", "late")  # type: ignore[attr-defined]
for _each in (_served_again, _answered_in_pieces):
    _each.real_time = True  # type: ignore[attr-defined]

SCENARIOS: dict[str, Any] = {
    "sockets": ListeningScenario([("GET", "/esmd/v1/mappings"), ("GET", "/livez")]),
    "control": ListeningScenario(
        [
            ("POST", "/esmd/v1/reload"),
            ("POST", "/esmd/v1/mappings/clicks/pause?wait"),
            ("POST", "/esmd/v1/mappings/clicks/resume?wait"),
        ]
    ),
    "status": ListeningScenario(
        [
            ("GET", "/esmd/v1/status"),
            ("GET", "/esmd/v1/status/orders"),
            ("GET", "/metrics"),
            ("GET", "/esmd/v1/trace/1"),
            ("GET", "/"),
            ("SLOW", "/esmd/v1/reload"),
        ]
    ),
    "positions": ListeningScenario(
        [("GET", "/esmd/v1/mappings/clicks/checkpoint"), ("POST", "/esmd/v1/mappings/clicks/checkpoint")]
    ),
    "positions of a mapping at rest": ListeningScenario(
        [
            ("POST", "/esmd/v1/mappings/clicks/pause?wait"),
            ("POST", "/esmd/v1/mappings/clicks/checkpoint"),
            ("POST", "/esmd/v1/mappings/clicks/resume?wait"),
        ]
    ),
    "a server that is given up": _served_again,
    "an answer in pieces": _answered_in_pieces,
    "Lambda": LambdaScenario(),
    "probe": _probed,
}
