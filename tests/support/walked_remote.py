"""Functions that live elsewhere, and somebody cancels: every invocation comes to an outcome, and `close` closes."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, Self

from esmd.invoke.http import HttpInvoker
from esmd.invoke.lambda_api import LambdaInvoker
from esmd.invoke.protocol import HttpSpec, LambdaSpec
from esmd.invoke.routing import RoutedInvoker

from support.asked import asked
from support.functions import function_of
from support.invocations import Recorder
from support.mapping_lab import ScriptedInvoker
from support.scripted_server import ScriptedServer, answer
from support.walked_invoke import HOWS, LONGEST, invoked, started, succeeds

if TYPE_CHECKING:
    from support.walker import Walk

_REMOTE: dict[str, Any] = {"name": "orders", "region": "eu-west-1", "account_id": "000000000000"}


async def _over_http(_: Walk) -> None:
    async with ScriptedServer([answer(b'"done"')]) as server, asyncio.timeout(60):
        invoker = HttpInvoker(
            HttpSpec(**_REMOTE, url=f"{server.url}/", timeout=20.0, concurrency=2), telemetry=Recorder()
        )
        await started(invoker)
        await asyncio.gather(*(invoked(invoker, b"{}", succeeds) for _ in range(2)))
        await invoked(invoker, b"{}", succeeds)
        assert invoker.running == 0
        await asked(invoker.close)


async def _over_http_in_pieces(_: Walk) -> None:
    """The head of the answer has come, and its body takes a while."""
    more = asyncio.Event()
    head, _, body = answer(b'"done"').partition(b'"')
    async with ScriptedServer([head, more, b'"' + body]) as server, asyncio.timeout(60):
        invoker = HttpInvoker(
            HttpSpec(**_REMOTE, url=f"{server.url}/", timeout=20.0, concurrency=1), telemetry=Recorder()
        )
        asyncio.get_running_loop().call_later(0.02, more.set)
        await invoked(invoker, b"{}", succeeds)
        assert invoker.running == 0
        await asked(invoker.close)


async def _over_http_closed(_: Walk) -> None:
    """Closed while it runs."""
    never = asyncio.Event()
    async with ScriptedServer([never]) as server, asyncio.timeout(60):
        invoker = HttpInvoker(
            HttpSpec(**_REMOTE, url=f"{server.url}/", timeout=20.0, concurrency=1), telemetry=Recorder()
        )
        calling = asyncio.create_task(invoked(invoker, b"{}", lambda outcome: not succeeds(outcome)))
        while not server.requests and not calling.done():
            await asyncio.sleep(0.001)
        await asked(invoker.close)
        await calling
        assert invoker.running == 0


class _Lambda:
    """A client of Lambda that takes its time; it does not know a function's configuration, and at first no log."""

    class exceptions:  # noqa: N801 - as the client has it
        class ResourceNotFoundException(Exception):  # noqa: N818
            pass

    class meta:  # noqa: N801
        endpoint_url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.refuses = True

    async def get_function_configuration(self, **_: Any) -> Any:
        await asyncio.sleep(0.1)
        raise self.exceptions.ResourceNotFoundException

    async def get_alias(self, **_: Any) -> Any:
        await asyncio.sleep(0.1)

    async def invoke(self, **options: Any) -> Any:
        await asyncio.sleep(0.1)
        if options["LogType"] != "None":
            error = _NotSupportedError("no log")
            error.response = {"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise error
        return {"Payload": _Payload(b'"done"'), "ExecutedVersion": "$LATEST"}


class _NotSupportedError(Exception):
    response: dict[str, Any]


class _Payload:
    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.1)

    async def iter_chunks(self, _: int) -> Any:
        while chunk := self._body.read(3):
            await asyncio.sleep(0.1)
            yield chunk


class _Clients:
    """Has one client, after a while."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def client(self, *_: Any, **__: Any) -> tuple[Any, None]:
        await asyncio.sleep(0.1)
        return self._client, None


async def _by_lambda(_: Walk) -> None:
    spec = LambdaSpec(**_REMOTE, target="f", qualifier="live", timeout=20.0, concurrency=2)
    invoker = LambdaInvoker(spec, clients=_Clients(_Lambda()), telemetry=Recorder())  # type: ignore[arg-type]
    async with asyncio.timeout(LONGEST):
        await started(invoker)
        await asyncio.gather(*(invoked(invoker, b"{}", succeeds) for _ in range(2)))
        closing = asyncio.create_task(invoked(invoker, b"{}", lambda outcome: not succeeds(outcome)))
        await asyncio.sleep(0.15)
        await asked(invoker.close)
        await closing
        assert invoker.running == 0


async def _routed(_: Walk) -> None:
    async def handle(_: Any) -> None:
        await asyncio.sleep(0.1)

    class Slow(ScriptedInvoker):
        async def start(self) -> None:
            await asyncio.sleep(0.1)

    versions = [function_of(Slow(handle), name=name) for name in ("old", "new")]
    invoker = RoutedInvoker(dict.fromkeys(versions, 50))
    async with asyncio.timeout(LONGEST):
        await started(invoker)
        for _ in range(4):
            await invoked(invoker, b'{"Records": []}', succeeds)
        await asked(invoker.close)
        assert [version.busy for version in versions] == [0, 0]


for _each in (_over_http, _over_http_in_pieces, _over_http_closed):
    _each.real_time = True  # type: ignore[attr-defined]
for _each in (_over_http, _over_http_in_pieces, _over_http_closed, _by_lambda, _routed):
    _each.hows = HOWS  # type: ignore[attr-defined]

SCENARIOS: dict[str, Any] = {
    "HTTP": _over_http,
    "HTTP, in pieces": _over_http_in_pieces,
    "HTTP, closed while it runs": _over_http_closed,
    "Lambda": _by_lambda,
    "routed": _routed,
}
