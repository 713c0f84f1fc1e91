"""`FakeSqs`: an HTTP server in front of `QueueEngine` that speaks SQS's JSON protocol, with faults on demand.

For tests it runs inside their loop; for load tests by itself:

    python -m esmd.testing.fake_sqs --port 0 --queue orders

which prints its URL on standard output. HTTP/1.1 with keep-alive and pipelining; signatures are not checked; the
older query protocol is not spoken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from esmd.testing.aws_http import Connection
from esmd.testing.faults import Faults
from esmd.testing.queues import QueueEngine

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakeSqs:
    """The server: `async with FakeSqs() as server: ... server.endpoint_url`.

    Args:
        host: where to listen.
        port: 0 for a free one.
        engine: the queues; new ones by default, whose URLs point here.
        keep_requests: whether `requests` fills; off for load.

    Attributes:
        faults: see `esmd.testing.faults`.
        calls: how often each action was called.
        requests: every request as (action, request), in order of arrival.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        engine: QueueEngine | None = None,
        keep_requests: bool = True,
    ) -> None:
        self.engine = engine or QueueEngine()
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.connections: set[Connection] = set()
        self._keep_requests = keep_requests
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    @property
    def endpoint_url(self) -> str:
        """The server's URL, without a slash at its end."""
        return f"http://{self._host}:{self._port}"

    def requests_of(self, action: str) -> list[dict[str, Any]]:
        """Return the requests of one action, oldest first."""
        return [request for name, request in self.requests if name == action]

    def note(self, action: str, request: dict[str, Any]) -> None:
        """Count a call; its connection does."""
        self.calls[action] += 1
        if self._keep_requests:
            self.requests.append((action, request))

    async def __aenter__(self) -> Self:
        """Start to listen; after an exit, on the same port again, with the same queues."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.engine.base_url = self.endpoint_url
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and cut every connection; waiting polls die unanswered."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.cut()
            self.engine.close()
            await self._server.wait_closed()
            self._server = None


async def _serve(host: str, port: int, queues: Sequence[str]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with FakeSqs(host, port, keep_requests=False) as server:
        for name in queues:
            server.engine.create_queue(name, {"FifoQueue": True} if name.endswith(".fifo") else {})
        with contextlib.suppress(BrokenPipeError):  # nobody reads the URL: serve all the same
            sys.stdout.write(f"{server.endpoint_url}\n")
            sys.stdout.flush()
        await stopped.wait()


def main() -> None:
    """Run the server until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m esmd.testing.fake_sqs", description="A fast SQS in memory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one; printed as a URL")
    parser.add_argument("--queue", action="append", default=[], metavar="NAME", help="create it; repeatable")
    options = parser.parse_args()
    asyncio.run(_serve(options.host, options.port, options.queue))


if __name__ == "__main__":
    main()
