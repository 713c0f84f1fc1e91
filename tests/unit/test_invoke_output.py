"""Cutting output into lines."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.invoke.output import MAX_LINE_CHARACTERS, Lines, Pipe


def lines_of(*pieces):
    lines = []
    cutter = Lines(lines.append)
    for piece in pieces:
        cutter.feed(piece)
    cutter.flush()
    return lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"on", b"e\nt", b"wo"], ["one", "two"]),
        ([b"one\r\ntwo"], ["one", "two"]),
        ([b"\n\n"], ["", ""]),
        (["é".encode()[:1], "é".encode()[1:]], ["é"]),
        ([b"\xff\n"], ["�"]),
        ([b"cut \xe2\x82"], ["cut �"]),
        ([b"x" * MAX_LINE_CHARACTERS, b"\n"], ["x" * MAX_LINE_CHARACTERS]),
        ([b"x" * (MAX_LINE_CHARACTERS + 1) + b"\n"], ["x" * MAX_LINE_CHARACTERS, "x"]),
        ([b"x" * MAX_LINE_CHARACTERS * 2], ["x" * MAX_LINE_CHARACTERS] * 2),
    ],
)
def test_bytes_become_lines(pieces, lines):
    assert lines_of(*pieces) == lines


@given(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])), st.data())
def test_lines_do_not_depend_on_how_the_bytes_were_cut(text, data):
    written = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=5)))
    pieces = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    assert "\n".join(lines_of(*pieces)) == text.removesuffix("\n")


def test_a_line_without_end_is_never_held_whole():
    cutter = Lines(lambda _: None)
    for _ in range(64):
        cutter.feed(b"x" * MAX_LINE_CHARACTERS)
    assert len(cutter._rest) <= MAX_LINE_CHARACTERS


def test_a_flushed_cutter_starts_anew():
    lines = []
    cutter = Lines(lines.append)
    cutter.feed(b"half \xe2")
    cutter.flush()
    cutter.feed(b"whole\n")
    assert lines == ["half �", "whole"]


def test_a_pipe_that_nobody_writes_to_is_at_its_end_and_an_empty_one_is_not():
    reading, writing = os.pipe()
    lines = []
    pipe = Pipe(reading, lines.append)
    assert pipe.read() is True
    os.write(writing, b"last")
    os.close(writing)
    assert pipe.read() is True
    assert pipe.read() is False
    pipe.flush()
    assert lines == ["last"]
    os.close(reading)
