"""Targets that read what a runtime, a program of the user's, sends over the Runtime API."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace

from esmd.invoke import runtime_messages
from esmd.invoke.protocol import MAX_RESPONSE_BYTES
from esmd.invoke.runtime_api import RuntimeApi
from esmd.invoke.runtime_connection import MAX_HEAD_BYTES, Connection
from esmd.invoke.runtime_session import Invocation, Refusal, RuntimeSession
from esmd.mappings.outcomes import FunctionError, Success

from fuzz.connections import pieces
from fuzz.handler_targets import check_error

INVOCATION = Invocation(request_id="one", event=b"{}", deadline_ms=5, arn="arn:x", trace="Root=1")


def runtime_message(data: bytes) -> None:
    """Whatever a request says, it is a call, a refusal, an answer or an error, with texts that can be written."""
    method, target, value, body = ([*data.split(b"\x1e", 3), b"", b"", b""])[:4]
    call = runtime_messages.route(method, target)
    assert isinstance(call, runtime_messages.Call | Refusal)
    names = (
        b"lambda-runtime-function-error-type",
        b"lambda-runtime-function-error-body",
        b"lambda-runtime-function-response-mode",
    )
    for name in names:
        headers = {name: value}
        refused = runtime_messages.refused_mode(headers)
        if refused is not None:
            check_error(refused[0])
        found = runtime_messages.answer(body, headers, {})
        assert found == runtime_messages.answer(body, {}, headers)
        if isinstance(found, FunctionError):
            check_error(found)
        check_error(runtime_messages.error(body, headers, kind="exception"))


class _Transport:
    """A client that takes everything."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False

    def get_extra_info(self, _name):
        return None

    def write(self, data):
        self.sent += data

    def write_eof(self):
        pass

    def abort(self):
        self.closed = True

    close = abort


def runtime_connection(data: bytes) -> None:
    """A connection holds no more than an answer may have, and an invocation has one outcome at most."""
    asyncio.run(_runtime_connection(data))


async def _runtime_connection(data: bytes) -> None:
    session = RuntimeSession()
    state, data = data[:1], data[1:]
    if state and state[0] % 4:
        session.next("another")
        session.lost("another")
    if state and state[0] % 4 > 1:
        session.offer(INVOCATION)
    if state and state[0] % 4 > 2:
        session.next("another")
    api = SimpleNamespace(session=session, served=set(), refused=set(), judge=None, prefix=b"", on_change=lambda: None)
    api.hosts = frozenset({b"localhost:1"})
    api.deliver = partial(RuntimeApi.deliver, api)
    transport = _Transport()
    connection = Connection(api)
    connection.connection_made(transport)
    brought = pieces(data)
    for piece in brought:
        if transport.closed:
            break
        connection.data_received(piece)
        assert sum(map(len, connection._body)) <= MAX_RESPONSE_BYTES
        assert len(connection._http.trailing_data[0]) <= MAX_HEAD_BYTES + len(brought[0])
        if connection.waiting and session.resting:
            api.deliver(session.offer(INVOCATION))
    connection.eof_received()
    connection.connection_lost(None)
    assert not connection.waiting
    assert connection not in api.served | api.refused
    assert bytes(transport.sent[:9]) in {b"", b"HTTP/1.1 "}
    for outcome in (session.outcome, session.failure):
        assert outcome is None or isinstance(outcome, Success | FunctionError)
        if isinstance(outcome, FunctionError):
            check_error(outcome)


_PATH = b" /2018-06-01/runtime/invocation/"
_HOST = b" HTTP/1.1\r\nHost: localhost:1\r\n"
_NEXT = b"GET" + _PATH + b"next" + _HOST + b"\r\n"
_RESPONSE = b"POST" + _PATH + b"one/response" + _HOST + b"Content-Length: 2\r\n\r\n{}"
_STREAMED = (
    b"POST" + _PATH + b"one/response" + _HOST + b"Lambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Transfer-Encoding: chunked\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n2\r\n{}\r\n0\r\n"
    b"Lambda-Runtime-Function-Error-Type: E\r\nLambda-Runtime-Function-Error-Body: e30=\r\n\r\n"
)
_FAILED = (
    b"POST"
    + _PATH
    + b"one/error"
    + _HOST
    + b"Lambda-Runtime-Function-Error-Type: Unhandled\r\nContent-Length: 20\r\n\r\n"
    b'{"errorMessage":"x"}'
)
_INIT_ERROR = b"POST /2018-06-01/runtime/init/error" + _HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"
_HEADERS = (
    *(b"Content-Length: 6291557\r\n", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Host: evil\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"A: b\r\n" * 200),
    *(b"ffffffff\r\n", b"1\r\na\r\n" * 100, b"0\r\n\r\n", b"one", b"error", b"/init/error", b"HTTP/1.0", _NEXT),
    *(b"Lambda-Runtime-Function-Response-Mode: x\r\n", b"POST", b"GET", b"CONNECT "),
)

TARGETS = (
    (
        runtime_message,
        (
            b"GET\x1e/2018-06-01/runtime/invocation/next\x1estreaming\x1e",
            (
                b"POST\x1e/2018-06-01/runtime/invocation/one/error\x1ee30=\x1e"
                b'{"errorMessage":"m","errorType":"E","stackTrace":["a",{"b":1}],"trace":"a\\nb"}'
            ),
            b'{"errorMessage":"m","errorType":"E","stackTrace":["a",{"b":1}],"cause":{"errorMessage":"x"}}',
        ),
        (b"\x1e", b"/2018-06-01/runtime/", b"\xc3\x28", b'"errorMessage":', b'"stackTrace":', b"e30="),
    ),
    (
        runtime_connection,
        (
            b"\0" + _INIT_ERROR,
            b"\0" + _NEXT,
            b"\1" + _NEXT,
            b"\2" + _NEXT + _RESPONSE + _NEXT,
            b"\3" + _STREAMED + _NEXT,
            b"\3" + _FAILED,
        ),
        _HEADERS,
    ),
)
