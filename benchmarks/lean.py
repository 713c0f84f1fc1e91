"""The two leanest ways to call AWS that Python has: a blocking socket, and an asyncio protocol. For the floors only.

They understand what the fake AWS answers and nothing more: a status, a Content-Length, a body.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable


def _body_start(head: bytes | bytearray) -> tuple[int, int] | None:
    """Where the body starts and ends; None while the head is incomplete."""
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return None
    at = head.find(b"Content-Length: ", 0, end) + 16
    return end + 4, end + 4 + int(head[at : head.find(b"\r", at)])


class Blocking:
    """One keep-alive connection that waits for each answer."""

    def __init__(self, url: str, service: str) -> None:
        where = urlsplit(url)
        self._signer = Signer(where.netloc, service)
        self._socket = socket.create_connection((where.hostname, where.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, target: str, payload: bytes) -> bytes:
        """The body of the answer."""
        self._socket.sendall(self._signer.request(target, payload))
        data = self._socket.recv(262_144)
        while (bounds := _body_start(data)) is None:
            data += self._more()
        start, end = bounds
        if len(data) >= end:
            return data[start:end]
        parts, size = [data], len(data)
        while size < end:
            parts.append(self._more())
            size += len(parts[-1])
        return b"".join(parts)[start:end]

    def _more(self) -> bytes:
        if not (data := self._socket.recv(1_048_576)):
            raise ConnectionError("the fake AWS hung up")
        return data


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time; `answered` gets the body."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._end = 0
        self.answered: Callable[[bytes], None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def send(self, request: bytes, answered: Callable[[bytes], None]) -> None:
        self.answered = answered
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._end:
            bounds = _body_start(self._data)
            if bounds is None:
                return
            self._start, self._end = bounds
        if len(self._data) >= self._end:
            body = bytes(self._data[self._start : self._end])
            self._data.clear()
            self._end = 0
            self.answered(body)


class Lean:
    """A pool of connections to one service."""

    def __init__(self, url: str, service: str) -> None:
        where = urlsplit(url)
        self._host, self._port = where.hostname or "", where.port or 80
        self._signer = Signer(where.netloc, service)
        self._free: deque[_Connection] = deque()
        self._waiting: deque[tuple[bytes, Callable[[bytes], None]]] = deque()

    async def open(self, connections: int) -> None:
        """Connect; more calls than connections wait their turn."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, protocol = await loop.create_connection(_Connection, self._host, self._port)
            self._free.append(protocol)

    def post(self, target: str, payload: bytes, answered: Callable[[bytes], None]) -> None:
        """Call; `answered` gets the body."""
        request = self._signer.request(target, payload)
        if self._free:
            self._start(self._free.popleft(), request, answered)
        else:
            self._waiting.append((request, answered))

    def _start(self, connection: _Connection, request: bytes, answered: Callable[[bytes], None]) -> None:
        def done(body: bytes) -> None:
            if self._waiting:
                self._start(connection, *self._waiting.popleft())
            else:
                self._free.append(connection)
            answered(body)

        connection.send(request, done)

    async def call(self, target: str, payload: bytes) -> bytes:
        """The body of the answer."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.post(target, payload, future.set_result)
        return await future
