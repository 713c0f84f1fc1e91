"""A keep-alive connection: one request and one answer at a time, over TCP or TLS.

| state    | event                                       | then                                                          |
|----------|---------------------------------------------|---------------------------------------------------------------|
| idle     | a request                                   | busy                                                          |
| idle     | `IDLE_SECONDS` without one; any byte; end   | closed: the pool never hands it out again                     |
| busy     | the answer, which allows another            | idle                                                          |
| busy     | the answer, which does not                  | closed, after the answer was handed over                      |
| busy     | the end before any byte of the answer       | closed, `Unanswered`                                          |
| busy     | the end in the middle of the answer         | closed, `Broken`                                              |
| busy     | no byte for the call's time                 | closed, `TooLate`                                             |
| busy     | what is no HTTP                             | closed, `NotHttp`                                             |
| busy     | the caller is cancelled                     | closed: the answer may come too late for anyone               |

A connection has one timer. It is set when it has to be and looks again when it rings, so that a busy connection does
not set and cancel one for every call.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

from esmd.pollers.http_answers import Answer, AnswerReader, NotHttp

IDLE_SECONDS = 12.0
"""An idle connection is closed after so long. Longer than the pause between two polls, shorter than most servers wait."""

READ_BYTES = 64 * 1024
"""Most bytes of one read."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


class ConnectionTrouble(Exception):  # noqa: N818 - the base of what happens to connections
    """The way to the service failed.

    Attributes:
        code: what botocore calls the same, so that both lanes say the same.
    """

    code = "HTTPClientError"


class NoConnection(ConnectionTrouble):
    """Nobody listens there, or the name is not known."""

    code = "EndpointConnectionError"


class NoConnectionInTime(ConnectionTrouble):
    """Connecting took too long."""

    code = "ConnectTimeoutError"


class NoTrust(ConnectionTrouble):
    """TLS failed: most often a certificate that is not trusted."""

    code = "SSLError"


class Unanswered(ConnectionTrouble):
    """The connection ended before any byte of an answer."""

    code = "ConnectionClosedError"


class Broken(ConnectionTrouble):
    """The connection ended in the middle of an answer."""

    code = "ConnectionClosedError"


class TooLate(ConnectionTrouble):
    """Nothing came for the time the call was given."""

    code = "ReadTimeoutError"


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom to connect to.

    Attributes:
        scheme: `http` or `https`.
        host: a name, or an address without brackets.
        port: the scheme's own unless the URL has one.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of a URL; raises `ValueError` for one that is not http or https, or has no host."""
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"{url} is not the URL of a service")
        return cls(parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def tls_context(ca_bundle: str | None = None) -> ssl.SSLContext:
    """TLS that verifies, always.

    Args:
        ca_bundle: file or folder of the only authorities to trust; None for those of the system and of botocore, which
            brings its own, so that a machine without any works on both lanes.

    Raises:
        OSError: the bundle cannot be read (`ssl.SSLError` if it has no certificate).
    """
    if ca_bundle is None:
        from botocore.httpsession import get_cert_path  # noqa: PLC0415 - heavy, and not needed without TLS

        context = ssl.create_default_context()
        context.load_verify_locations(get_cert_path(True))
        return context
    is_folder = os.path.isdir(ca_bundle)  # noqa: PTH112 - a text is what the next line takes
    return ssl.create_default_context(cafile=None if is_folder else ca_bundle, capath=ca_bundle if is_folder else None)


class Owner(Protocol):
    """What a connection belongs to: `esmd.pollers.connection_pool.Pool`.

    Attributes:
        idle_seconds: how long its connections may be idle.
        buffers: those that nobody is using.
    """

    idle_seconds: float
    buffers: list[memoryview]

    def lost(self, connection: Connection, /) -> None:
        """A connection is closed."""
        ...


class Connection(asyncio.BufferedProtocol):
    """One connection. See the module's table.

    It reads into a buffer that it borrows for as long as a read takes: a thousand long polls need one, not a thousand.
    """

    __slots__ = (
        "_answered",
        "_buffer",
        "_due",
        "_loop",
        "_patience",
        "_reader",
        "_rings_at",
        "_timer",
        "_transport",
        "gone",
        "owner",
        "uses",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = owner
        self.uses = 0
        self.gone: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[Answer] | None = None
        self._reader = AnswerReader()
        self._buffer: memoryview | None = None
        self._patience = 0.0
        self._due = 0.0
        self._rings_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, within: float) -> asyncio.Future[Answer]:
        """Send a request; its answer. See the module's table for what may become of it."""
        self._answered = answered = self._loop.create_future()
        if self._transport is None:
            self._fail(Unanswered("the connection was closed"))
            return answered
        self.uses += 1
        self._patience = within
        self._wait_until(self._loop.time() + within)
        self._transport.write(request)
        return answered

    def rest(self) -> bool:
        """Be idle from now on. False if the connection is of no use any more, and closed if its caller has gone."""
        if self._answered is not None:
            self._answered = None
            self.abort()
        if not self.is_open:
            return False
        self._wait_until(self._loop.time() + self.owner.idle_seconds)
        return True

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a long poll is silent for long

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop takes any size
        """See `asyncio.BufferedProtocol`."""
        if self._buffer is None:
            self._buffer = self.owner.buffers.pop() if self.owner.buffers else memoryview(bytearray(READ_BYTES))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        buffer, self._buffer = self._buffer, None
        if buffer is None:
            raise RuntimeError("read without a buffer")
        self.owner.buffers.append(buffer)
        answered = self._answered
        if answered is None:
            self.abort()  # nobody asked
            return
        try:
            answer = self._reader.feed(buffer[:nbytes])
        except NotHttp as error:
            self._fail(error)
            return
        if answer is None:
            self._due = self._loop.time() + self._patience
        else:
            self._finish(answered, answer)

    def eof_received(self) -> None:
        """See `asyncio.BufferedProtocol`."""
        answer = self._reader.end()
        if answer is not None and self._answered is not None:
            self._finish(self._answered, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._transport = None
        if self._buffer is not None:  # the end came where bytes could have
            self.owner.buffers.append(self._buffer)
            self._buffer = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kind = Broken if self._reader.started else Unanswered
        self._fail(kind(str(exc) if exc else "the connection was closed"))
        if not self.gone.done():
            self.gone.set_result(None)
        self.owner.lost(self)

    # ---

    def _finish(self, answered: asyncio.Future[Answer], answer: Answer) -> None:
        self._answered = None
        if not answer.reusable:
            self.abort()
        if not answered.done():
            answered.set_result(answer)

    def _fail(self, error: Exception) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_exception(error)
        self.abort()

    def _wait_until(self, due: float) -> None:
        self._due = due
        if self._rings_at > due:
            if self._timer is not None:
                self._timer.cancel()
            self._rings_at = due
            self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._rings_at = math.inf
        if self._loop.time() < self._due:
            self._wait_until(self._due)
        else:
            self._fail(TooLate(f"no answer for {self._patience:g} s"))
