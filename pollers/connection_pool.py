"""The connections to one origin, kept open for the next call.

| a call comes and                        | it goes out on                                              |
|-----------------------------------------|-------------------------------------------------------------|
| a connection is idle                    | that, the one used last                                     |
| none is, and there may be more          | a new one                                                   |
| there are as many as there may be       | in its turn, the next that becomes idle or can be opened    |

A server may close an idle connection at the very moment a request leaves on it. Such a request is `Unanswered`. Nobody
knows whether the server saw it, so it goes out again, once and not on an idle one, only where the caller allows that.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING

from esmd.pollers.connections import (
    IDLE_SECONDS,
    Connection,
    NoConnection,
    NoConnectionInTime,
    NoTrust,
    Unanswered,
)

if TYPE_CHECKING:
    from esmd.pollers.connections import Origin
    from esmd.pollers.http_answers import Answer

CONNECT_SECONDS = 5.0
"""Longest wait for a connection, TLS included."""


class Pool:
    """The connections to one origin.

    Args:
        origin: whom to connect to.
        tls: for https, see `tls_context`.
        most: most connections at once; who wants one more waits for its turn, in order.
        connect_seconds: longest wait for a connection.
        idle_seconds: see `IDLE_SECONDS`.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        tls: ssl.SSLContext | None,
        most: int,
        connect_seconds: float = CONNECT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        if (origin.scheme == "https") != (tls is not None):
            raise ValueError("TLS is for https, and https for TLS")
        self.idle_seconds = idle_seconds
        self.buffers: list[memoryview] = []
        self._origin = origin
        self._tls = tls
        self._most = most
        self._connect_seconds = connect_seconds
        self._idle: list[Connection] = []
        self._connected: set[Connection] = set()
        self._claimed = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._is_closed = False

    async def request(self, request: bytes, *, within: float, repeatable: bool) -> Answer:
        """Send a whole request and return its answer.

        Args:
            request: head and body.
            within: the longest silence before the answer and in it, in seconds.
            repeatable: whether it may go out twice, see the module's text.

        Raises:
            ConnectionTrouble: no answer came.
            NotHttp: what came is none.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:  # else its end is known already, and it is about to say so
                break
        else:
            connection = await self._another()
        is_reused = connection.uses > 0
        try:
            return await connection.send(request, within)
        except Unanswered:
            if not (is_reused and repeatable):
                raise
            # Not another idle one: it may have ended in the same moment. The place of the one that ended may be taken.
            connection = await self._another()
            return await connection.send(request, within)
        finally:
            # Also where an answer came and its caller was cancelled in the same moment: the connection is still good.
            if connection.rest():
                self._pass_on(connection)

    async def close(self) -> None:
        """Close all connections; calls under way fail. Returns when they are gone."""
        self.drop()
        if self._connected:
            await asyncio.wait([connection.gone for connection in self._connected])

    def drop(self) -> None:
        """Close all connections, without waiting until they are gone."""
        self._is_closed = True
        for connection in self._connected:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        """A connection is closed; it says so itself."""
        if connection in self._idle:
            self._idle.remove(connection)
        if connection in self._connected:
            self._connected.remove(connection)
            self._pass_on(None)

    def _pass_on(self, connection: Connection | None) -> None:
        """Hand a connection that is idle now, or the place for one (None), to whoever has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is None:
            self._claimed -= 1
        else:
            self._idle.append(connection)

    async def _another(self) -> Connection:
        """A new connection, or in its turn one that became idle."""
        while self._claimed >= self._most:
            turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                connection = await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # handed over, and the one it was for has gone
                    connection = turn.result()
                    if connection is None or connection.is_open:
                        self._pass_on(connection)
                raise
            if connection is None:
                return await self._open()
            if connection.is_open:
                return connection
        self._claimed += 1
        return await self._open()

    async def _open(self) -> Connection:
        """A new connection; its place is claimed already, and free again if there is none."""
        try:
            connection = await self._connect(asyncio.get_running_loop())
        except BaseException:
            self._pass_on(None)
            raise
        if connection.gone.done() or self._is_closed:
            connection.abort()
            self._pass_on(None)
            raise Unanswered("the connection was closed at once")
        self._connected.add(connection)
        return connection

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        origin = self._origin
        if self._is_closed:
            raise NoConnection("the client is closed")
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, loop), origin.host, origin.port, ssl=self._tls
                )
        except TimeoutError as error:
            raise NoConnectionInTime(f"no connection to {origin} in {self._connect_seconds:g} s") from error
        except ssl.SSLError as error:
            raise NoTrust(f"no TLS with {origin}: {error}") from error
        except (OSError, UnicodeError) as error:
            raise NoConnection(f"no connection to {origin}: {error}") from error
        return connection
