"""Serves Lambda's Runtime API to one execution environment: HTTP/1.1 on a loopback port of its own.

What a request means is read by `esmd.invoke.runtime_messages`, what may be done when is decided by
`esmd.invoke.runtime_session`, and a connection is read and written by `esmd.invoke.runtime_connection`; here is the port.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from esmd.invoke.runtime_connection import MAX_CONNECTIONS, Connection
from esmd.invoke.runtime_session import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.invoke.peers import Address, Peer
    from esmd.invoke.runtime_session import Deliveries, RuntimeSession


class RuntimeApi:
    """The server of one environment. Listens from the beginning, serves after `serve`, ends with `close`.

    Args:
        session: decides; nobody else feeds it.
        on_change: called after whatever the runtime did, to look at the session again.
        on_foreign: called with the address and user of a client that is not the environment's.
        token: leading part of every path, where clients cannot be told apart otherwise.

    Raises:
        OSError: no port could be opened.
    """

    def __init__(
        self,
        session: RuntimeSession,
        *,
        on_change: Callable[[], None],
        on_foreign: Callable[[Address, int | None], None],
        token: str = "",
    ) -> None:
        self.session = session
        self.on_change = on_change
        self.on_foreign = on_foreign
        self.prefix = f"/{token}".encode() if token else b""
        self.judge: Callable[[Address, Address], Peer] | None = None
        self.served: set[Connection] = set()
        self.refused: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._listener = socket.socket()
        try:
            self._listener.bind(("127.0.0.1", 0))
            self._listener.listen(MAX_CONNECTIONS)
            self._listener.setblocking(False)
            self.port = cast("Address", self._listener.getsockname())[1]
        except OSError:
            self._listener.close()
            raise
        # Our own name for it, and what people write instead.
        self.hosts = frozenset({b"127.0.0.1:%d" % self.port, b"localhost:%d" % self.port})

    @property
    def address(self) -> str:
        """`AWS_LAMBDA_RUNTIME_API`."""
        return f"127.0.0.1:{self.port}{self.prefix.decode()}"

    async def serve(self, judge: Callable[[Address, Address], Peer] | None) -> None:
        """Begin to accept; clients that connected before were kept waiting.

        Args:
            judge: tells from the client's and our own address whose the connection is; None: everybody's.
        """
        self.judge = judge
        if self._listener.fileno() < 0:
            return  # closed already
        # In two steps: whoever closes it in the middle of the second, which takes a turn of the loop, has to find it.
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), sock=self._listener, start_serving=False
        )
        await self._server.start_serving()

    def offer(self, invocation: Invocation) -> None:
        """Hand an invocation to the runtime, or keep it until the runtime asks."""
        connection = cast("Connection | None", self.session.waiter)
        if connection is not None and connection.has_news():
            connection.drop()  # it was closed, and the loop has not come to see that yet
        self.deliver(self.session.offer(invocation))

    def deliver(self, deliveries: Deliveries) -> None:
        """Send what the session decided to those that wait for it."""
        for waiter, what in deliveries:
            connection = cast("Connection", waiter)
            if isinstance(what, Invocation):
                connection.send_invocation(what)
            else:
                connection.send_refusal(what)

    def take(self) -> None:
        """Act on what has come and the loop has not seen yet: nothing more will."""
        for connection in list(self.served):
            connection.take()

    def close(self) -> None:
        """Close the port and every connection, at once."""
        self.session.end()
        if self._server is not None:
            self._server.close()
        self._listener.close()
        for connection in [*self.served, *self.refused]:
            connection.drop()
