"""Reading answers: how each kind of body ends, when a connection may be used again, and what is no answer at all."""

from __future__ import annotations

import pytest

from esmd.pollers import http_answers
from esmd.pollers.http_answers import MAX_HEAD, AnswerReader, NotHttp


def read(*pieces: bytes, end: bool = False):
    reader = AnswerReader()
    answer = None
    for piece in pieces:
        answer = reader.feed(piece)
    return reader.end() if end and answer is None else answer


def whole(head: str, body: bytes = b"") -> bytes:
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("data", "end", "status", "body", "reusable"),
    [
        # the table's rows
        (whole("HTTP/1.1 200 OK\nContent-Length: 2", b"{}"), False, 200, b"{}", True),
        (whole("HTTP/1.1 204 No Content"), False, 204, b"", True),
        (whole("HTTP/1.1 304 Not Modified\nContent-Length: 7"), False, 304, b"", True),
        (
            whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n"),
            False,
            200,
            b"{}",
            True,
        ),
        (whole("HTTP/1.1 200 OK", b"{}"), True, 200, b"{}", False),
        (whole("HTTP/1.1 100 Continue") + whole("HTTP/1.1 200 OK\nContent-Length: 2", b"{}"), False, 200, b"{}", True),
        (
            whole("HTTP/1.1 103 Early Hints\nLink: <a>") * 2 + whole("HTTP/1.1 200 OK\nContent-Length: 0"),
            False,
            200,
            b"",
            True,
        ),
        # what else decides on using it again
        (whole("HTTP/1.0 200 OK\nContent-Length: 2", b"{}"), False, 200, b"{}", False),
        (whole("HTTP/1.0 200 OK\nContent-Length: 2\nConnection: Keep-Alive", b"{}"), False, 200, b"{}", True),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close", b"{}"), False, 200, b"{}", False),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2\nConnection: keep-alive, Close", b"{}"), False, 200, b"{}", False),
        (whole("HTTP/1.1 200 OK\nConnection: x\nConnection: close\nContent-Length: 0"), False, 200, b"", False),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2", b"{}HTTP/1.1 200 OK"), False, 200, b"{}", False),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"0\r\n\r\nx"), False, 200, b"", False),
        # odd, and yet allowed
        (whole("HTTP/1.1 200\ncOnTeNt-LeNgTh:2", b"{}"), False, 200, b"{}", True),
        (whole("HTTP/1.1 503 \nContent-Length: \t 2 \t", b"{}"), False, 503, b"{}", True),
        (whole("HTTP/1.1 200 OK\nContent-Encoding: identity\nContent-Length: 2", b"{}"), False, 200, b"{}", True),
        (
            whole("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked", b"A \r\n0123456789\r\n0\r\nX: y\r\n\r\n"),
            False,
            200,
            b"0123456789",
            True,
        ),
    ],
)
def test_a_body_ends_where_the_head_says(data, end, status, body, reusable):
    answer = read(data, end=end)
    assert (answer.status, bytes(answer.body), answer.reusable) == (status, body, reusable)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "begins with"),
        (b"<html>", "begins with"),
        (b"\x15\x03\x01\x00\x02\x02", "begins with"),
        (b"http/1.1 200 OK\r\n", "begins with"),
        (b"HTTP/2 200\r\n", "begins with"),
        (b"HTTP/1.1 OK\r\n\r\n", "begins with"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "begins with"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", "begins with"),
        (whole("HTTP/1.1 101 Switching Protocols\nUpgrade: h2c"), "change the protocol"),
        (whole("HTTP/1.1 200 OK\nContent-Length : 2", b"{}"), "malformed"),
        (whole("HTTP/1.1 200 OK\n Content-Length: 2", b"{}"), "malformed"),
        (whole("HTTP/1.1 200 OK\nnonsense", b"{}"), "malformed"),
        (whole("HTTP/1.1 200 OK\nX: a\x00b", b"{}"), "malformed"),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 2", b"{}"), "contradicts"),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2\ncontent-length: 3", b"{}"), "contradicts"),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2\nTransfer-Encoding: chunked", b"{}"), "no clear end"),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked", b"{}"), "no clear end"),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2\nContent-Encoding: gzip", b"{}"), "not asked for"),
        (whole("HTTP/1.1 200 OK\nContent-Encoding: br", b"{}"), "not asked for"),
        (whole("HTTP/1.1 200 OK\nContent-Length: -2", b"{}"), "length"),
        (whole("HTTP/1.1 200 OK\nContent-Length: 2, 2", b"{}"), "length"),
        (whole("HTTP/1.1 200 OK\nContent-Length:", b"{}"), "length"),
        (whole("HTTP/1.1 200 OK\nContent-Length: 1" + "0" * 12), "longer than"),
        (whole("HTTP/1.1 200 OK\nContent-Length: 1" + "0" * 30), "length"),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"x\r\n"), "chunk's size"),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"-1\r\n"), "chunk's size"),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"\r\n"), "chunk's size"),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"1\r\n{}\r\n"), "longer than it says"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD + b"\r\n\r\n", "head is longer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * (MAX_HEAD + 10), "head is longer"),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"1;" + b"a" * MAX_HEAD), "too long"),
        (whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"0\r\n" + b"X: yy\r\n" * MAX_HEAD), "too long"),
    ],
)
def test_what_is_no_clear_answer_is_refused(data, reason):
    with pytest.raises(NotHttp, match=reason):
        read(data)


@pytest.mark.parametrize("framing", ["Content-Length: 30", "Transfer-Encoding: chunked", "X: y"])
def test_a_body_may_not_grow_beyond_the_bound(framing, monkeypatch):
    monkeypatch.setattr(http_answers, "MAX_BODY", 20)
    piece = b"5\r\nabcde\r\n" * 5 if "chunked" in framing else b"a" * 25
    with pytest.raises(NotHttp, match="longer than 20"):
        read(whole(f"HTTP/1.1 200 OK\n{framing}"), piece)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTT",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        whole("HTTP/1.1 200 OK\nContent-Length: 3", b"{}"),
        whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"2\r\n{}\r\n"),
        whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n"),
        whole("HTTP/1.1 100 Continue"),
    ],
)
def test_an_answer_that_breaks_off_is_none(data):
    assert read(data, end=True) is None


def test_a_reader_reads_one_answer_after_the_other():
    reader = AnswerReader()
    chunked = whole("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"1\r\na\r\n0\r\n\r\n")
    plain = whole("HTTP/1.1 200 OK\nContent-Length: 1", b"b")
    for data, body in ((chunked, b"a"), (plain, b"b"), (chunked, b"a")):
        assert not reader.started
        assert reader.feed(data[:5]) is None
        assert reader.started
        assert bytes(reader.feed(data[5:]).body) == body


def test_a_buffer_may_be_used_again_after_it_was_read():
    data = whole("HTTP/1.1 200 OK\nContent-Length: 6", b"abcdef")
    buffer = bytearray(data)
    reader = AnswerReader()
    assert reader.feed(memoryview(buffer)[:-3]) is None
    last = bytes(buffer[-3:])
    buffer[:] = b"x" * len(buffer)
    buffer[:3] = last
    assert reader.feed(memoryview(buffer)[:3]).body == b"abcdef"


@pytest.mark.parametrize("name", ["date", "Date", "DATE"])
def test_headers_are_found_in_any_case(name):
    answer = read(whole("HTTP/1.1 400 Bad\ndAtE:  now\t\nContent-Length: 0\nDate: later"))
    assert answer.header(name) == "now"
    assert answer.header("x-other") is None
