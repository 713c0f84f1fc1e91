"""`FaultProxy`: stands between a daemon and a real server, hands every call on, and does to some of them what it is told.

    async with FaultProxy("http://127.0.0.1:4566") as proxy:
        proxy.faults.add("ReceiveMessage", Truncated(mid_body=True), times=3)
        ...  # a daemon with AWS_ENDPOINT_URL=proxy.endpoint_url

Armed faults come first, then what `weather` draws. `down` refuses connections until `up`. `ProxyThread` is the same for
blocking callers, in a thread with a loop of its own. It speaks HTTP/1.1 with `Content-Length` on the daemon's side, which is
all that AWS's clients send; it listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Self, cast

import aiohttp

from esmd.testing.faults import Drop, FailEntries, Faults, Garbage, Refuse, Stall, Truncated
from esmd.testing.proxy_faults import Drip, Mislabelled, Repeat, Reset, Skewed, Twice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esmd.testing.proxy_faults import ProxyFault, Weather

_TARGET = re.compile(r"(?:[^.]*\.)?(\w+)$")
_FORM_ACTION = re.compile(rb"(?:^|&)Action=(\w+)")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"})
_MOST_HEAD = 65_536
_MOST_KEPT = 200
_MOST_SECONDS = 60.0
"""How long a call may take at the server."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def action(self) -> str:
        """The operation that it calls; the method, where it is no call by name (S3)."""
        if (found := _TARGET.search(self.headers.get("x-amz-target", ""))) is not None:
            return found[1]
        if (form := _FORM_ACTION.search(self.body)) is not None:
            return form[1].decode()
        return self.method

    @property
    def question(self) -> bytes:
        """What is the same in requests that ask for the same."""
        return self.action.encode() + b" " + self.body


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    def head(self, **changed: str) -> bytes:
        """Status line and headers; `content_length` and others may be set to something untrue."""
        headers = {**self.headers, "content-length": str(len(self.body))}
        headers.update({name.replace("_", "-"): value for name, value in changed.items()})
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} {self.reason}\r\n{lines}\r\n".encode("latin-1")


class _CutError(Exception):
    """The connection is to end; `reset` says how."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("cut")
        self.reset = reset


class FaultProxy:
    """An asynchronous context manager; see the module.

    Args:
        upstream: the server's URL.
        weather: draws faults for the calls that no armed one strikes; None for fair weather.

    Attributes:
        faults: see `esmd.testing.faults`; the kinds are those of `esmd.testing.proxy_faults`.
        weather: as above; may be changed at any time.
        calls: how often each action was called.
        struck: how often each kind of fault struck, by its name.
    """

    def __init__(self, upstream: str, *, weather: Weather | None = None) -> None:
        self.faults = Faults()
        self.weather = weather
        self.calls: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self._upstream = upstream.rstrip("/")
        self._port = 0
        self._server: asyncio.Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._last: dict[bytes, _Answer] = {}

    @property
    def endpoint_url(self) -> str:
        """The proxy's URL, without a slash at its end; the same after `down` and `up`."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=_MOST_SECONDS),
        )
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection and stop listening."""
        await self.down()
        if self._session is not None:
            await self._session.close()

    async def up(self) -> None:
        """Accept connections again."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, limit=_MOST_HEAD)
            self._port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Reset every connection, and refuse new ones until `up`."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task, writer in list(self._serving.items()):
            _reset(writer)
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    # --- a connection

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._serving[task] = writer
        try:
            # A client that goes away is what some faults are about.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (request := await _read(reader)) is not None:
                    await self._serve(request, writer)
        except _CutError as cut:
            if cut.reset:
                _reset(writer)
        finally:
            del self._serving[task]
            writer.close()

    async def _serve(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        action = request.action
        self.calls[action] += 1
        fault = self._fault(action, request)
        if fault is not None:
            self.struck[type(fault).__name__] += 1
        match fault:
            case Refuse():
                await _say(writer, _refusal(fault.status, fault.code, fault.message))
            case Skewed():
                await _say(writer, _skewed(fault.seconds))
            case Drop(after_work=False):
                raise _CutError
            case Reset(after_work=False, mid_body=False):
                raise _CutError(reset=True)
            case Repeat() if (last := self._last.get(request.question)) is not None:
                await _say(writer, last)
            case _:
                if isinstance(fault, Stall):
                    await asyncio.sleep(_MOST_SECONDS if math.isinf(fault.seconds) else fault.seconds)
                answer = await self._forward(request)
                if isinstance(fault, Twice):
                    answer = await self._forward(request)
                if answer.status == 200:
                    self._keep(request.question, answer)
                await _tell(writer, answer, fault)

    def _keep(self, question: bytes, answer: _Answer) -> None:
        """Remember the last answer to a question; not of all questions there ever were, and not of a FIFO queue's."""
        if b".fifo" in question:
            return
        self._last.pop(question, None)
        self._last[question] = answer
        if len(self._last) > _MOST_KEPT:
            del self._last[next(iter(self._last))]

    def _fault(self, action: str, request: _Request) -> ProxyFault | None:
        armed = self.faults.next_for(action, _json(request.body))
        if isinstance(armed, FailEntries):
            raise TypeError("FailEntries is for the fake SQS: a proxy does not look into answers")
        if armed is not None:
            return armed
        return None if self.weather is None else self.weather.next_for(action)

    async def _forward(self, request: _Request) -> _Answer:
        """Ask the server; where it does not answer, the client gets no answer either."""
        if self._session is None:
            raise _CutError(reset=True)
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        try:
            async with self._session.request(
                request.method,
                self._upstream + request.path,
                headers=headers,
                data=request.body,
                allow_redirects=False,
                skip_auto_headers=("content-type", "user-agent", "accept", "accept-encoding"),
            ) as answer:
                body = await answer.read()
                kept = {name.lower(): value for name, value in answer.headers.items()}
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _CutError(reset=True) from error
        kept = {name: value for name, value in kept.items() if name not in _HOP_BY_HOP - {"content-encoding"}}
        return _Answer(answer.status, answer.reason or "", kept, body)


async def _read(reader: asyncio.StreamReader) -> _Request | None:
    """The next request; None where the client has hung up between two."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return _Request(method, path, headers, body)


def _json(body: bytes) -> dict[str, Any]:
    """A request's body, for faults that look into it."""
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


async def _say(writer: asyncio.StreamWriter, answer: _Answer) -> None:
    writer.write(answer.head() + answer.body)
    await writer.drain()


async def _tell(writer: asyncio.StreamWriter, answer: _Answer, fault: ProxyFault | None) -> None:
    """Send what the server said, or what the fault makes of it."""
    body, half = answer.body, answer.body[: len(answer.body) // 2]
    match fault:
        case Drop():
            raise _CutError
        case Reset(mid_body=True):
            writer.write(answer.head() + half)
            await writer.drain()
            raise _CutError(reset=True)
        case Reset():
            raise _CutError(reset=True)
        case Truncated(mid_body=True):
            writer.write(answer.head() + half)
            await writer.drain()
            raise _CutError
        case Truncated():
            writer.write(answer.head(content_length=str(len(half))) + half)
        case Garbage():
            writer.write(answer.head(content_length=str(len(fault.body))) + fault.body)
        case Mislabelled():
            writer.write(answer.head(content_type=fault.content_type) + body)
        case Drip():
            whole = answer.head() + body
            size = max(1, math.ceil(len(whole) / fault.pieces))
            for start in range(0, len(whole), size):
                writer.write(whole[start : start + size])
                await writer.drain()
                await asyncio.sleep(fault.pause)
        case _:
            writer.write(answer.head() + body)
    await writer.drain()


def _refusal(status: int, code: str, message: str, **headers: str) -> _Answer:
    body = json.dumps({"__type": code, "message": message}).encode()
    whose = "Sender" if status < 500 else "Receiver"
    fixed = {"content-type": "application/x-amz-json-1.1", "x-amzn-query-error": f"{code};{whose}"}
    return _Answer(status, "Injected", {**fixed, **headers}, body)


def _skewed(seconds: float) -> _Answer:
    now = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    return _refusal(403, "InvalidSignatureException", "Signature expired: the request's time is too far off", date=now)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset instead of a farewell."""
    with contextlib.suppress(OSError, AttributeError):
        connection = cast("socket.socket", writer.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class ProxyThread:
    """A `FaultProxy` in a thread, for callers without a loop: a context manager.

    Attributes:
        proxy: `faults`, `weather` and the counters may be used from any thread.
    """

    def __init__(self, upstream: str, *, weather: Weather | None = None) -> None:
        self.proxy = FaultProxy(upstream, weather=weather)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)

    @property
    def endpoint_url(self) -> str:
        """See `FaultProxy`."""
        return self.proxy.endpoint_url

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        self._do(self.proxy.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and end the thread."""
        self._do(self.proxy.__aexit__)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def down(self) -> None:
        """See `FaultProxy.down`."""
        self._do(self.proxy.down)

    def up(self) -> None:
        """See `FaultProxy.up`."""
        self._do(self.proxy.up)

    def _do(self, call: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(call(), self._loop).result(_MOST_SECONDS)
