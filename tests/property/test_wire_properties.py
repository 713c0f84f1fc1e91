"""An answer is read the same, however it is split on its way; a request is the same, however it is made."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from esmd.mappings.events import encode
from esmd.pollers.http_answers import Answer, AnswerReader, NotHttp
from esmd.pollers.wire_sqs import delete_request

NOTHING = "broke off"


def read(pieces: list[bytes], *, until_close: bool) -> tuple[object, ...] | str:
    """What comes of the pieces: the answer, that it broke off, or that it is none."""
    reader = AnswerReader()
    try:
        for n, piece in enumerate(pieces):
            answer = reader.feed(memoryview(bytearray(piece)))
            if answer is not None:
                return seen(answer, rest=b"".join(pieces[n + 1 :]))
        answer = reader.end() if until_close else None
        return NOTHING if answer is None else seen(answer, rest=b"")
    except NotHttp:
        return "no answer"


def seen(answer: Answer, *, rest: bytes) -> tuple[object, ...]:
    # Bytes behind the end forbid using the connection again; those that come later it notices by itself.
    return answer.status, bytes(answer.body), answer.reusable and not rest, answer.header("date")


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)] or [b""]


CUTS = st.lists(st.integers(0, 400), max_size=12)
BODIES = st.one_of(
    st.binary(max_size=80), st.sampled_from([b"{}", b"\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
)


def chunked(parts: list[bytes]) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


ANSWERS = st.one_of(
    st.builds(
        lambda status, extra, body: (
            b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, extra, len(body), body)
        ),
        st.sampled_from([200, 204, 400, 503]),
        st.sampled_from([b"", b"Date: now\r\n", b"Connection: close\r\n", b"connection: keep-alive\r\nDate: x\r\n"]),
        BODIES,
    ),
    st.lists(BODIES, max_size=5).map(chunked),
    BODIES.map(lambda body: b"HTTP/1.0 200 OK\r\n\r\n" + body),
    BODIES.map(lambda body: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + body),
)
PIECES_OF_HTTP = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 ",
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 100 \r\n\r\n",
            b"\r\n",
            b"\n",
            b"\r\n\r\n",
            b"Content-Length: 3",
            b"Content-Length : 3",
            b"Transfer-Encoding: chunked",
            b"Content-Encoding: gzip",
            b"Connection: close",
            b"X: y",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"abc",
            b"\x00",
            b" ",
            b"z",
        ]
    ),
    max_size=9,
).map(b"".join)


@given(ANSWERS, BODIES, CUTS)
def test_an_answer_is_the_same_however_it_is_split(answer, behind, cuts):
    data = answer + behind
    assert read(split(data, cuts), until_close=True) == read([data], until_close=True)


@given(st.one_of(PIECES_OF_HTTP, st.binary(max_size=200)), CUTS)
@example(b"HTTP/1.1 200 OK\r\nX: a\n\nb\r\nContent-Length: 2\r\n\r\n{}", [30])
@example(b"HTTP/1.1 200 O\nK\r\nContent-Length: 2\r\n\r\n{}", [5])
def test_so_is_what_is_none(data, cuts):
    one_by_one = [data[n : n + 1] for n in range(len(data))]
    expected = read([data], until_close=True)
    assert read(split(data, cuts), until_close=True) == expected
    assert read(one_by_one, until_close=True) == expected


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), CUTS)
def test_chunks_are_put_together(parts, cuts):
    found = read(split(chunked(parts), cuts), until_close=False)
    assert found == (200, b"".join(parts), True, None)


@given(ANSWERS, st.integers(0, 200))
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(answer, kept):
    whole = read([answer], until_close=False)
    part = read([answer[:kept]], until_close=False)
    assert part == NOTHING or part[:2] == whole[:2]


@given(
    st.lists(
        st.text(max_size=40) | st.from_regex(r"AQEB[A-Za-z0-9+/=]{0,40}", fullmatch=True), min_size=1, max_size=10
    ),
    st.text(max_size=40),
)
@example(['quo"te', "back\\slash", "\ud800", "é", "\x00"], "http://127.0.0.1/q")
@example(["AQEB+/="] * 10, 'http://127.0.0.1/"q')
def test_a_delete_request_is_that_of_its_entries(handles, url):
    entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)]
    assert json.loads(delete_request(url, handles)) == json.loads(encode({"QueueUrl": url, "Entries": entries}))
