"""Cuts what a process writes into lines."""

from __future__ import annotations

import codecs
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PIPE_BYTES = 65_536
"""What a pipe holds, on Linux and macOS: one read of this size takes all that was written before it."""

MAX_LINE_CHARACTERS = 65_536
"""A longer line is cut into pieces of this length, so that nobody can fill the daemon's memory with one."""


class Lines:
    """Turns bytes, in whatever pieces they come, into lines of text without their ends.

    Bytes that are not UTF-8 become U+FFFD. A line ends at a line feed; a carriage return before it is dropped.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Take bytes; emit the lines they complete."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._cut(line.removesuffix("\r"))
        while len(self._rest) > MAX_LINE_CHARACTERS:
            self._emit(self._rest[:MAX_LINE_CHARACTERS])
            self._rest = self._rest[MAX_LINE_CHARACTERS:]

    def flush(self) -> None:
        """Emit a last line that has no end, if there is one."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        if rest:
            self._cut(rest)

    def _cut(self, line: str) -> None:
        for start in range(0, max(len(line), 1), MAX_LINE_CHARACTERS):
            self._emit(line[start : start + MAX_LINE_CHARACTERS])


class Pipe:
    """The reading end of a process's stdout or stderr."""

    def __init__(self, descriptor: int, emit: Callable[[str], None]) -> None:
        self.descriptor = descriptor
        self._lines = Lines(emit)
        os.set_blocking(descriptor, False)

    def read(self) -> bool:
        """Take what is there, at most a pipe's content. False when every writer has closed it."""
        try:
            data = os.read(self.descriptor, PIPE_BYTES)
        except BlockingIOError:
            return True
        self._lines.feed(data)
        return bool(data)

    def flush(self) -> None:
        """Emit what was read to the last character: an invocation, or the process, has ended."""
        self._lines.flush()
