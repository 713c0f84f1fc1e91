"""One HTTP connection of the fake SQS: requests in, answers out in the same order, faults in between.

    state      leaves it when                                    then
    ---------  ------------------------------------------------  ------------------
    reading    a whole request is in the buffer                  working
    working    the answer is known at once                       reading
    working    the request is a long poll, or a fault stalls it  waiting
    waiting    messages or the poll's end; the stall's end       reading
    any        the client hangs up; a fault; the server stops    closed

While it waits nothing is read from the buffer, so pipelined requests are answered in order.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from typing import TYPE_CHECKING, Any

from esmd.testing.faults import Drop, FailEntries, Fault, Garbage, Refuse, Stall, Truncated
from esmd.testing.sqs_api import ACTIONS, failed_entry, receive_options, required
from esmd.testing.sqs_errors import SqsError

if TYPE_CHECKING:
    from esmd.testing.fake_sqs import FakeSqs
    from esmd.testing.queue_state import Poll

_HEAD_LIMIT = 65_536
_BODY_LIMIT = 16 * 1_048_576
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_TARGET = re.compile(rb"\r\nx-amz-target:[ \t]*AmazonSQS\.(\w+)[ \t]*\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 500: "Internal Server Error", 503: "Service Unavailable"}


class Connection(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, server: FakeSqs) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._is_waiting = False
        self._closes = False
        self._poll: Poll | None = None
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{transport} cannot be written to")
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a hang-up is one, however it came
        """See `asyncio.Protocol`."""
        self._transport = None
        self._server.connections.discard(self)
        if self._poll is not None:
            self._poll.abandon()
        if self._stall is not None:
            self._stall.cancel()

    def cut(self) -> None:
        """Close at once, whatever is going on."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        if not self._is_waiting:
            self._work_off()
        if self._is_waiting and self._transport is not None and len(self._buffer) > _BODY_LIMIT:
            self._transport.pause_reading()

    def _work_off(self) -> None:
        """Answer the requests in the buffer, until one has to wait."""
        while self._buffer and not self._is_waiting and self._transport and not self._transport.is_closing():
            end = self._buffer.find(_END_OF_HEAD)
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    self._refuse_http("The request's head is too long.")
                return
            head = bytes(self._buffer[: end + 2])
            start = end + len(_END_OF_HEAD)
            found = _LENGTH.search(head)
            length = int(found.group(1)) if found else 0
            if _CHUNKED.search(head) or length > _BODY_LIMIT:
                self._refuse_http("The request's body is chunked or too long.")
                return
            if len(self._buffer) < start + length:
                return
            body = bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            self._closes = _CLOSE.search(head) is not None
            self._handle(head, body)

    def _handle(self, head: bytes, body: bytes) -> None:
        try:
            action, request = _parsed(head, body)
        except SqsError as error:
            self._answer_error(error)
            return
        self._server.note(action, request)
        self._act(action, request, self._server.faults.next_for(action, request))

    def _act(self, action: str, request: dict[str, Any], fault: Fault | None) -> None:
        """Do what is asked, or what the fault makes of it."""
        match fault:
            case Refuse():
                self._answer_error(fault.error())
                return
            case Drop(after_work=False):
                self.cut()
                return
            case Stall(seconds=seconds):
                self._is_waiting = True
                if not math.isinf(seconds):
                    loop = asyncio.get_running_loop()
                    self._stall = loop.call_later(seconds, self._after_stall, action, request)
                return
        try:
            if action == "ReceiveMessage":
                self._receive(request, fault)
                return
            failed = _failed_entries(request, fault) if isinstance(fault, FailEntries) else []
            if failed:
                names = {entry["Id"] for entry in failed}
                request = {**request, "Entries": [e for e in request["Entries"] if e["Id"] not in names]}
            if failed and not request["Entries"]:
                answer: dict[str, Any] = {"Successful": []}
            else:
                answer = ACTIONS[action](self._server.engine, request)
        except SqsError as error:
            self._answer_error(error)
            return
        if failed:
            answer = {**answer, "Failed": failed + answer.get("Failed", [])}
        self._answer(answer, fault)

    def _after_stall(self, action: str, request: dict[str, Any]) -> None:
        self._is_waiting = False
        self._stall = None
        self._act(action, request, None)
        self._resume()

    def _receive(self, request: dict[str, Any], fault: Fault | None) -> None:
        is_late = False

        def deliver(messages: list[dict[str, Any]]) -> None:
            self._poll = None
            if self._transport is None:  # the client hung up; the messages stay hidden
                return
            self._is_waiting = False
            self._answer({"Messages": messages} if messages else {}, fault)
            if is_late:
                self._resume()

        self._is_waiting = True
        try:
            self._poll = self._server.engine.poll(required(request, "QueueUrl"), deliver, **receive_options(request))
        except SqsError:
            self._is_waiting = False
            raise
        is_late = True

    def _resume(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()
            self._work_off()

    def _answer(self, answer: dict[str, Any], fault: Fault | None) -> None:
        if isinstance(fault, Drop):
            self.cut()
            return
        body = json.dumps(answer, separators=(",", ":")).encode()
        cut_at = None
        if isinstance(fault, Garbage):
            body = fault.body
        elif isinstance(fault, Truncated) and fault.mid_body:
            cut_at = len(body) // 2
        elif isinstance(fault, Truncated):
            body = body[: len(body) // 2]
        self._write(200, body, cut_at=cut_at)

    def _answer_error(self, error: SqsError) -> None:
        body = json.dumps({"__type": error.wire_type, "message": error.message}).encode()
        self._write(error.status, body, header=f"x-amzn-query-error: {error.query_error}\r\n")

    def _refuse_http(self, why: str) -> None:
        self._closes = True
        self._buffer.clear()
        self._answer_error(SqsError("MalformedInput", why))

    def _write(self, status: int, body: bytes, *, header: str = "", cut_at: int | None = None) -> None:
        if not self._transport or self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\n"
            f"content-type: application/x-amz-json-1.0\r\n"
            f"x-amzn-requestid: {sum(self._server.calls.values()):032x}\r\n"
            f"{header}content-length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body[:cut_at])
        if self._closes or cut_at is not None:
            self._transport.close()


def _parsed(head: bytes, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return action and request, or raise `SqsError`."""
    target = _TARGET.search(head)
    if target is None or not head.startswith(b"POST "):
        raise SqsError("InvalidAction", "Only the JSON protocol of SQS is spoken here.")
    action = target.group(1).decode()
    if action != "ReceiveMessage" and action not in ACTIONS:
        raise SqsError("InvalidAction", f"The action {action} is not known here.")
    try:
        request = json.loads(body)
    except ValueError:
        raise SqsError("MalformedInput", "The request's body is not JSON.") from None
    if not isinstance(request, dict):
        raise SqsError("MalformedInput", "The request's body is not a JSON object.")
    return action, request


def _failed_entries(request: dict[str, Any], fault: FailEntries) -> list[dict[str, Any]]:
    """Return the failures of the entries that the fault strikes."""
    entries = enumerate(request.get("Entries") or [])
    return [failed_entry(entry["Id"], fault.error()) for n, entry in entries if n in fault.positions]
