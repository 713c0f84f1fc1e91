"""The daemon's API over HTTP: its routes, behind the guard, with every error as JSON."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from esmd.api.errors import refusal, refused
from esmd.api.security import Guard, with_body
from esmd.api.server_log import ServerLog, failed
from esmd.control.protocol import ControlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from esmd.api.parts import ApiParts

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ROUTES = (
    "esmd.api.control_routes",
    "esmd.api.lambda_api.routes",
    "esmd.api.checkpoint_routes",
    "esmd.api.status_routes",
    "esmd.api.trace_routes",
    "esmd.api.metrics",
    "esmd.api.page",
)
"""Modules with a function `routes(parts)`."""

MOST_CONNECTIONS = 64
"""Connections at once; what comes above that is closed."""

REQUEST_SECONDS = 20.0
"""Seconds in which the first request of a connection has to be here."""

IDLE_SECONDS = 60.0
"""Seconds that a connection may wait for its next request."""

_LAST_ANSWERS = 1.0
"""Seconds that requests under way have when the daemon ends."""


def make_app(parts: ApiParts) -> web.Application:
    """The application with all its routes."""
    guard = Guard(parts.config.api)

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the guard judge, and make JSON of whatever goes wrong."""
        _silent.discard(request.protocol)
        try:
            if (answer := guard.refuses(request)) is not None:
                return answer
            bounded = await with_body(request)
            if isinstance(bounded, web.Response):
                return bounded
            if (answer := await guard.refuses_signature(bounded)) is not None:
                return answer
            return await handler(bounded)
        except ControlError as error:
            return refused(error)
        except web.HTTPException as error:
            if error.content_type == "application/json" or error.status < 400:
                raise
            return refusal(
                error.status, error.reason.replace(" ", ""), f"{request.method} {request.path[:200]}: {error.reason}"
            )
        except Exception as error:  # noqa: BLE001 - a defect of ours is said, and must not end the connection without a word
            parts.telemetry.emit(failed(error, method=request.method, path=request.path))
            return refusal(500, "InternalError", "this is a defect of esmd; its log says more")

    app = web.Application(middlewares=[answered])
    for name in ROUTES:
        app.add_routes(importlib.import_module(name).routes(parts))
    return app


def make_runner(parts: ApiParts) -> web.AppRunner:
    """What runs the application; `serve` gives it its connections."""
    return web.AppRunner(
        make_app(parts),
        access_log=None,
        logger=ServerLog(parts.telemetry),
        keepalive_timeout=IDLE_SECONDS,
        shutdown_timeout=_LAST_ANSWERS,
    )


_silent: set[web.RequestHandler] = set()
"""Connections of the last `REQUEST_SECONDS` on which no whole request has come yet."""


_KEPT: Mapping[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""Says that the socket's file stays when a server ends: another one may follow on it. Before Python 3.13 it always does."""


class _Server:
    """A server at work on sockets that listen already."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._listeners: list[asyncio.Server] = []
        self._is_closing = False

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for each in sockets:
            own = each.dup()  # it is closed with the server; the socket itself belongs to whoever made it
            if each.family == socket.AF_UNIX:
                listener = await loop.create_unix_server(self._connection, sock=own, start_serving=False, **_KEPT)
            else:
                listener = await loop.create_server(self._connection, sock=own, start_serving=False)
            self._listeners.append(listener)
            await listener.start_serving()

    async def close(self) -> None:
        self._is_closing = True
        # A connection that was accepted in this turn of the loop, and finds its listener closed in the next, is lost.
        for listener in self._listeners:
            for each in listener.sockets:
                asyncio.get_running_loop().remove_reader(each.fileno())
        try:
            await asyncio.sleep(0)
        finally:
            for listener in self._listeners:
                listener.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        """What handles one connection: it has to send a request soon, and there may not be too many of them."""
        server = self._runner.server
        assert server is not None  # noqa: S101 - it is set up
        if self._is_closing or len(server.connections) >= MOST_CONNECTIONS:
            return _Closed()
        handler = server()
        _silent.add(handler)
        asyncio.get_running_loop().call_later(REQUEST_SECONDS, partial(_close_silent, handler))
        return handler


class _Closed(asyncio.Protocol):
    """Closes a connection as soon as it is made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _close_silent(handler: web.RequestHandler) -> None:
    if handler in _silent:
        _silent.discard(handler)
        handler.force_close()


async def serve(parts: ApiParts, sockets: Sequence[socket.socket]) -> _Server:
    """Serve on sockets that listen already, and take what waits there."""
    server = _Server(make_runner(parts))
    try:
        await server.start(sockets)
    except BaseException:  # the sockets wait on: whoever made them may try again
        await server.close()
        raise
    return server
