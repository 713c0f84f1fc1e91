"""A target that asks the daemon's API: raw bytes on a connection, as any program of the machine may send them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from esmd.api.lambda_api import routes
from esmd.api.parts import ApiParts
from esmd.api.server import make_runner
from esmd.config.schema import ApiSettings, Config
from esmd.observe.control_events import ApiFailed
from esmd.observe.lambda_api_events import RequestFailed
from esmd.state.memory import MemoryStateStore
from esmd.trace.trail import Trail

from fuzz.connections import pieces
from support.fake_control import FakeControl, config_of
from support.functions import function_of
from support.lambda_stage import (
    FUNCTIONS,
    MAPPINGS,
    QUEUE,
    ScriptedInvoker,
    ScriptedProbe,
    kinesis_mapping,
    sqs_mapping,
)
from support.mapping_lab import Collector
from support.status_lab import FixedStatus, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOKEN = "0123456789abcdef"
_PLACES: Sequence[tuple[Any, str | None]] = (
    ("/run/esmd.sock", None),
    (("127.0.0.1", 1), None),
    (("127.0.0.1", 1), TOKEN),
)
"""Where a connection comes in, and the token that is asked for there; the first byte of an input chooses."""

_TURNS = 60
"""Turns of the loop that an answer may take."""

_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3}) ")
_MEANT = frozenset({100, 200, 202, 204, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 417, 429, 503})


class _Transport(asyncio.Transport):
    """A client that takes everything and sends nothing more once it has been closed."""

    def __init__(self, place: Any) -> None:
        super().__init__({"sockname": place, "peername": ("127.0.0.1", 2)})
        self.sent = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def api_connection(data: bytes) -> None:
    """Every answer has a status that is meant; nothing failed, and nobody else's log has anything to say of it."""
    asyncio.run(_connection(data))


async def _connection(data: bytes) -> None:
    place, token = _PLACES[data[0] % len(_PLACES) if data else 0]
    data = data[1:]
    telemetry = Collector()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with patch.object(routes, "SourceProbe", lambda *_, **__: ScriptedProbe()):  # nobody else is asked
        runner = make_runner(_parts(telemetry, token))
    await runner.setup()
    connection = runner.server()
    transport = _Transport(place)
    with _overheard() as lines:
        connection.connection_made(transport)
        for piece in pieces(data):
            if transport.closed:
                break
            connection.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        await runner.cleanup()
    assert not complaints
    assert not lines
    assert [each for each in telemetry.said if isinstance(each, ApiFailed | RequestFailed)] == []
    sent = bytes(transport.sent)
    if sent:
        status = _STATUS_LINE.match(sent)
        assert status is not None
        assert int(status[1]) in _MEANT


def _parts(telemetry: Collector, token: str | None) -> ApiParts:
    control = FakeControl(
        config_of("process", "other"),
        functions={"process": function_of(ScriptedInvoker())},
        mappings=[sqs_mapping(), kinesis_mapping()],
    )
    return ApiParts(
        control=control,
        status=FixedStatus(snapshot()),
        store=MemoryStateStore(),
        telemetry=telemetry,
        config=Config(api=ApiSettings(listen="127.0.0.1:1", token=token)),
        trail=Trail(),
    )


class _Overheard(logging.Handler):
    """Keeps what libraries log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def _overheard() -> Iterator[list[str]]:
    heard = _Overheard()
    root = logging.getLogger()
    root.addHandler(heard)
    try:
        yield heard.lines
    finally:
        root.removeHandler(heard)


def _request(place: bytes, method: str, path: str, body: bytes | None = None, *lines: str) -> bytes:
    sized = () if body is None else (f"Content-Length: {len(body)}",)
    head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *lines, *sized))
    return place + head.encode() + b"\r\n\r\n" + (body or b"")


_LOCAL, _OPEN, _GUARDED = (bytes([n]) for n in range(3))
_V1 = "/esmd/v1"
_SHOWN = f"Authorization: Bearer {TOKEN}"
_CREATE = f'{{"EventSourceArn":"{QUEUE}","FunctionName":"other","BatchSize":3,"Tags":{{"a":"b"}}}}'.encode()
_SIGNED = (
    "Authorization: AWS4-HMAC-SHA256 Credential=esmd/20261127/eu-west-1/lambda/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=00"
)

_ODD_LINES = (
    _SIGNED,
    *"""\
Origin: http://[
Origin: //[::
Origin: null
Host: [
Host: evil
Connection: close
Range: bytes=0-
Content-Length: 9
Content-Length: 1048577
Content-Length: -1
Expect: 100-continue
Expect: what
Content-Encoding: gzip
Content-Encoding: br
Transfer-Encoding: chunked
Upgrade: websocket
Cookie: a=\u00e9;b
Authorization: Basic =
Authorization: Bearer \u00e9
Authorization: AWS4-HMAC-SHA256
X-Amz-Date: x
Content-Type: application/json; charset=x
Content-Type: \u00e9
Accept: ;;q=
If-None-Match: x
no header
""".splitlines(),
)
"""Header lines that no program of ours sends."""

SEEDS = (
    _request(_LOCAL, "GET", f"{_V1}/mappings"),
    _request(_LOCAL, "POST", f"{_V1}/mappings/orders/pause?wait", b""),
    _request(_LOCAL, "POST", f"{_V1}/reload", b"{}"),
    _request(_LOCAL, "GET", f"{_V1}/mappings/clicks/checkpoint"),
    _request(_LOCAL, "POST", f"{_V1}/mappings/clicks/checkpoint", b'{"to":"TRIM_HORIZON","shard":"a","yes":true}'),
    _request(_LOCAL, "GET", f"{_V1}/status"),
    _request(_LOCAL, "GET", f"{_V1}/trace/1"),
    _request(_LOCAL, "POST", MAPPINGS, _CREATE, "Content-Type: application/json"),
    _request(_LOCAL, "GET", f"{MAPPINGS}?MaxItems=1&Marker=x"),
    _request(_LOCAL, "POST", f"{FUNCTIONS}/process/invocations", b"{}", "X-Amz-Invocation-Type: Event"),
    _request(_LOCAL, "GET", "/metrics") + _request(b"", "GET", "/readyz"),
    _request(_OPEN, "GET", "/?mapping=orders", None, "Accept: text/html", "Origin: http://localhost"),
    _request(_GUARDED, "GET", "/livez"),
    _request(_GUARDED, "GET", f"{_V1}/mappings", None, _SHOWN),
    _request(_GUARDED, "GET", "/", None, "Authorization: Basic ZXNtZDowMTIzNDU2Nzg5YWJjZGVm"),
    _request(_GUARDED, "POST", MAPPINGS, b"{}", _SIGNED, "X-Amz-Date: 20261127T000000Z"),
    b"\0POST /esmd/v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"\0GET / HTTP/1.0\r\n\r\n",
    *(
        _request(place, *asked, line)
        for line in _ODD_LINES
        for place in (_LOCAL, _OPEN, _GUARDED)
        for asked in (("GET", "/", None), ("POST", f"{_V1}/reload", b"{}"))
    ),
)
WORDS = (
    *(f"{line}\r\n".encode() for line in _ODD_LINES),
    *b"GET |POST |PUT |DELETE |CONNECT |OPTIONS |HTTP/1.0|HTTP/2.0|localhost|[::1".split(b"|"),
    *b"%00 %ff %2f %ed%a0%80 ?wait ?format= /.. // # 1e999 orders clicks process checkpoint pause resume".split(),
    *b"import reset AT_TIMESTAMP MaxItems= Marker= FunctionName= tagKeys= /2017-03-31/tags/".split(),
    *(MAPPINGS.encode(), FUNCTIONS.encode()),
)

TARGETS = ((api_connection, SEEDS, WORDS),)
