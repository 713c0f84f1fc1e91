"""One connection to an environment's Runtime API: HTTP/1.1 by h11, which also shows what comes after a body.

A connection is judged once, before anything of it is read:

| connection                         | what becomes of it                           |
|------------------------------------|----------------------------------------------|
| of the environment's own processes | served, with keep-alive                      |
| of any other process               | 403 and closed; said once for an environment |
| whose client has closed it already | closed                                       |
| above `MAX_CONNECTIONS` at once    | closed                                       |

| request                                                            | what becomes of it                               |
|--------------------------------------------------------------------|--------------------------------------------------|
| for another host name (a browser led here by a foreign DNS)        | 403 and closed                                   |
| with a path that does not begin with the token, where there is one | 404                                              |
| that may not be made now                                           | its body is read and dropped, then the refusal   |
| with a body above `MAX_RESPONSE_BYTES`                             | 413 at once, and closed                          |
| that ends before its body does                                     | none: it never came                              |
| that comes while a `next` waits on the same connection             | closed: nobody could tell what is being answered |

A `next` whose connection closes does not wait any more. That goes for the client's half of it as well: a runtime that
only said that it will send no more looks the same as one that was killed.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, cast

import h11

from esmd.invoke import runtime_messages as messages
from esmd.invoke.protocol import MAX_RESPONSE_BYTES
from esmd.invoke.runtime_session import TOO_LARGE, Refusal

if TYPE_CHECKING:
    from esmd.invoke.runtime_api import RuntimeApi
    from esmd.invoke.runtime_session import Invocation

MAX_CONNECTIONS = 64
"""How many an environment may have open: a runtime needs one or two, a program that leaks them is stopped."""

MAX_HEAD_BYTES = 1_179_648
"""Longest request head: official clients send an X-Ray cause of up to 1 MiB in a header."""

_PIECE_BYTES = 262_144
"""How much of an event is given to the transport at once, so that the rest is not copied while it waits."""

_LINGER_SECONDS = 1.0
_LINGER_BYTES = 16 * 1024 * 1024
"""How long, and for how much, a refused client is listened to: a reset would take the refusal away from it."""

_JSON = (b"Content-Type", b"application/json")
_ACCEPTED_BODY = b'{"status":"OK"}\n'
_ACCEPTED = h11.Response(status_code=202, headers=[_JSON, (b"Content-Length", b"%d" % len(_ACCEPTED_BODY))])
_CONTINUE = h11.InformationalResponse(status_code=100, headers=[])


class Connection(asyncio.Protocol):
    """One client. `waiting`: its `next` has no answer yet."""

    def __init__(self, api: RuntimeApi) -> None:
        self.waiting = False
        self._api = api
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._call: messages.Call | Refusal = messages.NEXT
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._length = 0
        self._unsent = memoryview(b"")
        self._full = False
        self._closing: asyncio.TimerHandle | None = None
        self._dropped = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Judge the client before anything that it sends is read."""
        self._transport = cast("asyncio.Transport", transport)
        api = self._api
        if len(api.served) >= MAX_CONNECTIONS:
            self._transport.abort()
            return
        if api.judge is not None:
            client = self._transport.get_extra_info("peername")
            try:
                peer = api.judge(client, self._transport.get_extra_info("sockname"))
            except Exception:
                self._transport.abort()
                raise
            if peer.verdict == "gone":
                self._transport.abort()
                return
            if peer.verdict == "foreign":
                api.on_foreign(client, peer.uid)
                self._refuse_and_close(Refusal(403, "AccessDenied", "This is the Runtime API of another process."))
                return
        api.served.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  why it closed makes no difference
        """Nobody waits here any more."""
        self._forget()
        self._api.refused.discard(self)
        if self._closing is not None:
            self._closing.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self not in self._api.served:  # refused
            self._dropped += len(data)
            if self._dropped > _LINGER_BYTES:
                self._transport.abort()
        elif self.waiting:
            self.drop()
        else:
            self._http.receive_data(data)
            self._read()

    def eof_received(self) -> None:
        """The client sends no more: what it began is void, what it waits for goes to another."""
        self._forget()

    def pause_writing(self) -> None:
        """The client takes an event slower than we can send it."""
        self._full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._full = False
        self._send_more()

    def has_news(self) -> bool:
        """Whether something has come that the loop has not seen: from a client that waits, only its end."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    def take(self) -> None:
        """Read what has come, before the loop does."""
        with self._transport.get_extra_info("socket").dup() as twin:
            while self in self._api.served:
                try:
                    data = twin.recv(_PIECE_BYTES)
                except OSError:  # nothing is there, or the other end has reset it
                    return
                if not data:
                    return
                self.data_received(data)

    def drop(self) -> None:
        """Close at once, with nothing more said."""
        self._forget()
        self._transport.abort()

    def _forget(self) -> None:
        self._api.served.discard(self)
        if self.waiting:
            self.waiting = False
            self._api.session.lost(self)

    # --- reading

    def _read(self) -> None:
        while self in self._api.served and not self.waiting:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as problem:
                self._refuse_and_close(Refusal(problem.error_status_hint, "InvalidRequest", str(problem)))
                return
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    if isinstance(self._call, Refusal):
                        self._refuse_and_close(self._call)
                    else:
                        self._transport.write(self._http.send(_CONTINUE) or b"")
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._collect(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._complete(event)
            else:  # it has closed, or an answer is to end first
                return

    def _begin(self, request: h11.Request) -> None:
        """A head has come: decide what can be decided without the body."""
        self._headers = _headers_of(request)
        self._body = []
        self._length = 0
        host = self._headers.get(b"host")
        if host is not None and host.lower() not in self._api.hosts:
            self._refuse_and_close(Refusal(403, "AccessDenied", "The Runtime API is not served under this host name."))
            return
        target = request.target
        if target.startswith(self._api.prefix):
            self._call = messages.route(request.method, target[len(self._api.prefix) :])
        else:
            self._call = messages.NO_SUCH_PATH
        call = self._call
        if isinstance(call, messages.Call) and call.kind != "next":
            self._call = self._api.session.refusal(call.kind, call.request_id) or call
        if int(self._headers.get(b"content-length", b"0")) > MAX_RESPONSE_BYTES:
            self._refuse_size()

    def _collect(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > MAX_RESPONSE_BYTES:
            self._refuse_size()
        elif isinstance(self._call, messages.Call):
            self._body.append(bytes(data))

    def _refuse_size(self) -> None:
        """More is coming than an answer may have: say so without reading it."""
        call = self._call
        if isinstance(call, Refusal):
            self._refuse_and_close(call)
        elif call.request_id:
            self._refuse_and_close(self._api.session.too_large(call.request_id))
            self._api.on_change()
        else:
            self._refuse_and_close(TOO_LARGE)

    def _complete(self, end: h11.EndOfMessage) -> None:
        """The whole request has come: act on it."""
        call, session = self._call, self._api.session
        if isinstance(call, Refusal):
            self.send_refusal(call)
            return
        if call.kind == "next":
            self.waiting = True
            self._api.deliver(session.next(self))
            self._api.on_change()
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        refusal: Refusal | None
        if call.kind == "init/error":
            refusal = session.init_error(messages.error(body, self._headers, kind="init"))
        elif call.kind == "error":
            refusal = session.respond(call.request_id, messages.error(body, self._headers, kind="exception"))
        elif (wrong := messages.refused_mode(self._headers)) is not None:
            failure, unknown = wrong
            refusal = session.respond(call.request_id, failure) or unknown
        else:
            refusal = session.respond(call.request_id, messages.answer(body, self._headers, _headers_of(end)))
        self._body = []
        if refusal is None:
            self._send(_ACCEPTED, _ACCEPTED_BODY)
        else:
            self.send_refusal(refusal)
        self._api.on_change()

    # --- writing

    def send_invocation(self, invocation: Invocation) -> None:
        """Answer a `next` with an event."""
        self.waiting = False
        self._send(h11.Response(status_code=200, headers=messages.next_headers(invocation)), invocation.event)

    def send_refusal(self, refusal: Refusal) -> None:
        """Answer with a refusal; the connection may go on."""
        self.waiting = False
        body = messages.error_json(refusal.error_type, refusal.message)
        headers = [_JSON, (b"Content-Length", b"%d" % len(body))]
        self._send(h11.Response(status_code=refusal.status, headers=headers), body)

    def _send(self, response: h11.Response, body: bytes) -> None:
        head = self._http.send(response) or b""
        self._http.send_with_data_passthrough(h11.Data(data=body))
        self._http.send(h11.EndOfMessage())
        if len(body) <= _PIECE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._unsent = memoryview(body)
            self._send_more()
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        elif not self._unsent:
            self._transport.close()

    def _send_more(self) -> None:
        while self._unsent and not self._full:
            piece, self._unsent = self._unsent[:_PIECE_BYTES], self._unsent[_PIECE_BYTES:]
            self._transport.write(piece)
        if not self._unsent and self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()

    def _refuse_and_close(self, refusal: Refusal) -> None:
        """Answer before the request has ended; then wait for the client to close, as it may still be sending."""
        self._forget()
        self._body = []
        if len(self._api.refused) >= MAX_CONNECTIONS:
            self._transport.abort()
            return
        self._api.refused.add(self)
        self._transport.write(_raw_refusal(refusal))
        try:
            self._transport.write_eof()
        except OSError:  # the client has reset the connection
            self._transport.abort()
        self._closing = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)


def _headers_of(event: h11.Request | h11.EndOfMessage) -> messages.Headers:
    """Headers by their names in lower case; the way round h11's own iteration costs half the time."""
    return {name.lower(): value for name, value in event.headers.raw_items()}


def _raw_refusal(refusal: Refusal) -> bytes:
    """A whole response, for a connection that is not in step with its client."""
    body = messages.error_json(refusal.error_type, refusal.message)
    connection = h11.Connection(h11.SERVER)
    headers = [_JSON, (b"Content-Length", b"%d" % len(body)), (b"Connection", b"close")]
    return b"".join(
        connection.send(part) or b""
        for part in (
            h11.Response(status_code=refusal.status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
    )
