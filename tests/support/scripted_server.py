"""A server that answers as it is told, byte by byte: for clients that have to stand everything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl


class Then(Enum):
    """What is done instead of saying something."""

    CLOSE = auto()
    RESET = auto()
    HANG = auto()


Step = bytes | Then | asyncio.Event
"""Something to say, to do, or to wait for."""


def answer(body: bytes = b"{}", *, status: str = "200 OK", headers: dict[str, str] | None = None) -> bytes:
    """An ordinary answer."""
    lines = {"Content-Type": "application/x-amz-json-1.0", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


class ScriptedServer:
    """Answers the requests, over all connections, with the scripts in turn; the last one again and again.

    Args:
        scripts: the steps for each request.
        tls: serves HTTPS.
        host: where to listen.

    Attributes:
        requests: each as it came, head and body.
        connections: how many there were.
        open: how many there are.
    """

    def __init__(self, *scripts: list[Step], tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self._scripts = list(scripts)
        self._tls = tls
        self._host = host
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its URL, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = self._server.sockets[0].getsockname()[1] if self._server else 0
        return f"{'https' if self._tls else 'http'}://{host}:{port}"

    async def deserted(self) -> None:
        """Wait until the last connection has ended, which takes no more than a moment."""
        async with asyncio.timeout(5):
            while self.open:
                await asyncio.sleep(0.001)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        self.connections += 1
        self.open += 1
        try:
            # A client that goes away, and one that refuses the certificate, are what some tests are about.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._serve_one(reader, writer):
                    pass
        finally:
            self.open -= 1
            writer.transport.abort()
            self._serving.discard(task)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or b"0")
        self.requests.append(head + await reader.readexactly(length))
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        for step in script:
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                case Then.CLOSE:
                    return False
                case Then.RESET:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return False
                case Then.HANG:
                    await reader.read()
                    return False
                case asyncio.Event():
                    await step.wait()
        return True
