"""Reads one HTTP/1 answer from the pieces it arrives in, and refuses what is not plainly one [RFC 9112].

The body ends by the first row that applies:

| the head says                                   | the body ends                    | the connection may be used again |
|-------------------------------------------------|----------------------------------|----------------------------------|
| status 100 to 199, other than 101, ten at most  | at once; the answer is yet to come | -                              |
| status 204 or 304                               | at once                          | yes                              |
| `Transfer-Encoding: chunked`, no length         | with the empty chunk's trailer   | yes                              |
| one `Content-Length`, no `Transfer-Encoding`    | after so many bytes              | yes                              |
| neither                                         | when the connection is closed    | no                               |

HTTP/1.0 without `Connection: keep-alive`, `Connection: close` and bytes behind the end also forbid using it again.

`NotHttp` is raised for everything else: another protocol, 101, a coding other than chunked, both or several lengths,
a compressed body (none was asked for), malformed lines, a head or body beyond the bounds.
"""

from __future__ import annotations

import re

MAX_HEAD = 64 * 1024
"""Longest head, trailer or line of a chunk's size, in bytes."""

MAX_BODY = 128 * 1024 * 1024
"""Longest body in bytes: ten messages of 1 MiB, each byte of them escaped, and 10 MiB of records in base64 fit."""

MAX_INTERIM = 10
"""Most answers of status 1xx before the real one: each of them is a sign of life, so that nothing else would end them."""

_UNTIL_CLOSE = -1
_CHUNKED = -2
_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_KEEP_ALIVE = b"\r\nconnection: keep-alive\r\n"
_ORDINARY = (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 \r\n", b"HTTP/1.1 400 Bad Request\r\n")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n]*)?\r\n")
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding|content-encoding|connection):[ \t]*([^\r\n]*)")
_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+:[^\r\n\x00]*\r\n)*")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?")
_PREFIX = b"HTTP/1."


class NotHttp(Exception):  # noqa: N818 - says what is the case
    """What came is no answer in HTTP/1, or not one to trust."""


class Answer:
    """A whole answer.

    Attributes:
        status: the HTTP status.
        body: decoded from chunks.
        reusable: whether the connection may carry another request.
    """

    __slots__ = ("_head", "body", "reusable", "status")

    def __init__(self, status: int, head: bytes, body: bytes | bytearray, *, reusable: bool) -> None:
        self.status = status
        self.body = body
        self.reusable = reusable
        self._head = head

    def header(self, name: str) -> str | None:
        """The value of the first header of this name, in any case; None without one."""
        for line in self._head.split(_LINE_END)[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name.lower().encode():
                return value.strip(b" \t").decode("latin-1")
        return None


class AnswerReader:
    """Reads answers, one after the other: `feed` it what arrives until it returns an answer.

    Attributes:
        started: whether any byte of the next answer has come.
    """

    __slots__ = ("_body", "_chunks", "_head", "_held", "_interim", "_length", "_reusable", "_status", "started")

    def __init__(self) -> None:
        self.started = False
        self._held = b""
        self._head: bytes | None = None
        self._interim = 0
        self._status = 0
        self._length = 0
        self._reusable = False
        self._body: bytearray | None = None
        self._chunks: _Chunks | None = None

    def feed(self, data: bytes | memoryview) -> Answer | None:
        """Take what arrived; the answer if it is whole now. Nothing of `data` is kept that is not copied.

        Raises:
            NotHttp: see the module's table. The connection is of no use any more.
        """
        self.started = True
        if self._body is not None and self._length >= 0:
            return self._take(self._body, data)
        data = bytes(data)
        if self._body is None:
            if self._held:
                data = self._held + data
            start = self._read_head(data)
            if start < 0:
                return None
            # Most answers come in one piece: their body is cut out once.
            if len(data) - start == self._length:
                return self._whole(data[start:])
            data = data[start:]
            self._body = bytearray()
            if self._length >= 0:
                return self._take(self._body, data)
        if self._chunks is not None:
            return self._take_chunks(self._chunks, self._body, data)
        self._body += data
        _check_size(len(self._body))
        return None

    def end(self) -> Answer | None:
        """The connection was closed: the answer if that is what ends it, else None, for it broke off."""
        if self._body is not None and self._length == _UNTIL_CLOSE:
            return self._whole(self._body)
        return None

    def _read_head(self, data: bytes) -> int:
        """Read the head if it is there; return where the body starts, or -1 while the head is not whole."""
        start = 0
        while True:
            end = data.find(_HEAD_END, start)
            if (end if end >= 0 else len(data) - 3) - start > MAX_HEAD:
                raise NotHttp(f"the answer's head is longer than {MAX_HEAD} bytes")
            if end < 0:
                _check_beginning(data[start:])
                self._held = data[start:]
                return -1
            head = data[start : end + 2]
            start = end + 4
            if self._frame(head):
                self._head = head
                self._held = b""
                return start

    def _frame(self, head: bytes) -> bool:
        """Note how the body ends; False for a head that only announces another."""
        lower = head.lower()
        at = lower.find(_LENGTH)
        is_ordinary = (
            at > 0
            and lower.find(_LENGTH, at + 1) < 0
            and b"encoding:" not in lower
            and (b"\r\nconnection:" not in lower or _KEEP_ALIVE in lower)
            and head.startswith(_ORDINARY)
        )
        if not is_ordinary:
            return self._frame_oddly(head, lower)
        self._status = int(head[9:12])
        self._reusable = True
        start = at + len(_LENGTH)
        self._length = _as_length(lower[start : lower.find(_LINE_END, start)])
        return True

    def _frame_oddly(self, head: bytes, lower: bytes) -> bool:
        """`_frame` for what is seldom: every line is looked at, for one spelled wrongly could frame the body."""
        first = _STATUS.match(head)
        if first is None:
            raise _strange(head)
        if _LINES.fullmatch(lower, first.end()) is None:
            raise NotHttp("the answer's head has a malformed line")
        framing = _FRAMING.findall(lower)
        names = [name for name, _ in framing if name != b"connection"]
        if len(set(names)) < len(names):
            raise NotHttp("the answer's head contradicts itself")
        status = int(first[2])
        if status < 200:
            if status == 101:
                raise NotHttp("the server wants to change the protocol")
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise NotHttp(f"the answer does not come: {MAX_INTERIM} times it was only announced")
            return False
        said = dict(framing)
        connection = b",".join(value for name, value in framing if name == b"connection")
        self._status = status
        self._reusable = b"close" not in connection and (first[1] == b"1" or b"keep-alive" in connection)
        self._length = 0 if status in {204, 304} else self._body_length(said)
        return True

    def _body_length(self, said: dict[bytes, bytes]) -> int:
        length, coding = said.get(b"content-length"), said.get(b"transfer-encoding")
        if said.get(b"content-encoding", b"identity").strip() not in {b"identity", b""}:
            raise NotHttp(f"the answer is encoded, which was not asked for: {said[b'content-encoding'][:40]!r}")
        if coding is not None:
            if coding.strip() != b"chunked" or length is not None:
                raise NotHttp(
                    f"the answer's body has no clear end: transfer-encoding {coding[:40]!r}, length {length!r}"
                )
            self._chunks = _Chunks()
            return _CHUNKED
        if length is None:
            self._reusable = False
            return _UNTIL_CLOSE
        return _as_length(length)

    def _take(self, body: bytearray, data: bytes | memoryview) -> Answer | None:
        body += data
        if len(body) < self._length:
            return None
        if len(body) > self._length:  # more than there should be: whatever it is, it is not ours
            self._reusable = False
            del body[self._length :]
        return self._whole(body)

    def _take_chunks(self, chunks: _Chunks, body: bytearray, data: bytes) -> Answer | None:
        rest = chunks.feed(data, body)
        _check_size(len(body))
        if rest is None:
            return None
        self._reusable = self._reusable and not rest
        return self._whole(body)

    def _whole(self, body: bytes | bytearray) -> Answer:
        answer = Answer(self._status, self._head or b"", body, reusable=self._reusable)
        self.started = False
        self._interim = 0
        self._head = self._body = self._chunks = None
        return answer


class _Chunks:
    """Takes a chunked body apart.

    | state    | what comes next                        |
    |----------|----------------------------------------|
    | size     | a line with the next chunk's size      |
    | data     | the chunk, `missing` bytes of it       |
    | data end | the empty rest of the chunk's line     |
    | trailer  | lines up to an empty one               |
    """

    __slots__ = ("_held", "_missing", "_state", "_trailed")

    def __init__(self) -> None:
        self._state = "size"
        self._held = b""
        self._missing = 0
        self._trailed = 0

    def feed(self, data: bytes, body: bytearray) -> bytes | None:
        """Add to `body` what the pieces so far say; what is behind its end, or None while there is more to come."""
        data = self._held + data
        at = 0
        while True:
            if self._state == "data":
                piece = data[at : at + self._missing]
                body += piece
                at += len(piece)
                self._missing -= len(piece)
                if self._missing:
                    self._held = b""
                    return None
                self._state = "data end"
            end = data.find(_LINE_END, at)
            if (end if end >= 0 else len(data) - 1) - at > MAX_HEAD - self._trailed:
                raise NotHttp("a line between the chunks of the answer is too long")
            if end < 0:
                self._held = data[at:]
                return None
            line = data[at:end]
            at = end + 2
            if self._read_line(line):
                return data[at:]

    def _read_line(self, line: bytes) -> bool:
        """Act on a line; True if the body ends with it."""
        if self._state == "trailer":
            self._trailed += len(line)
            return not line
        if self._state == "data end":
            if line:
                raise NotHttp("a chunk of the answer is longer than it says")
            self._state = "size"
            return False
        size = _SIZE.fullmatch(line)
        if size is None:
            raise NotHttp(f"a chunk's size is {line[:40]!r}")
        self._missing = int(size[1], 16)
        self._state = "data" if self._missing else "trailer"
        return False


def _check_beginning(data: bytes) -> None:
    """Refuse another protocol as soon as it shows, instead of waiting for an end that never comes."""
    known = min(len(data), len(_PREFIX))
    if data[:known] != _PREFIX[:known] or (b"\n" in data and _STATUS.match(data) is None):
        raise _strange(data)


def _as_length(text: bytes) -> int:
    digits = text.strip(b" \t")
    if not digits.isdigit() or len(digits) > 18:
        raise NotHttp(f"the answer's length is {digits[:40]!r}")
    length = int(digits)
    _check_size(length)
    return length


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        raise NotHttp(f"the answer's body is longer than {MAX_BODY} bytes")


def _strange(data: bytes) -> NotHttp:
    return NotHttp(f"the answer begins with {data[:40]!r}")
