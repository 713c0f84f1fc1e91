"""Lines of a log: JSON as the daemon writes it, alone, behind a prefix, or inside what journald and others wrap around it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from esmd.trace.life import Life, Search

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WRAPPED_IN = ("MESSAGE", "log", "message")
"""Members in which `journalctl -o json`, Docker's json-file and others keep a line."""

_DEEPEST = 3
"""Wrappings around a line that are taken off."""


@dataclass(slots=True)
class Read:
    """What was read. `debug`: whether there are lines of that level, which say what went well."""

    lines: int = 0
    debug: bool = False


def trace_logs(wanted: str, files: Sequence[BinaryIO]) -> tuple[Life | None, Read]:
    """The life of a record or an invocation, from logs; they are read twice, from where they stand.

    Args:
        wanted: see `Search`.
        files: in the order in which they were written; they have to be able to go back.
    """
    search = Search(wanted)
    read = Read()
    starts = [file.tell() for file in files]
    clue = wanted.encode()
    for line in _lines(files):
        read.lines += 1
        read.debug = read.debug or b"debug" in line
        if clue in line and (event := event_of(line)) is not None:
            search.learn(event)
    for file, start in zip(files, starts, strict=True):
        file.seek(start)
    clues = [each.encode() for each in search.clues]
    for line in _lines(files):
        if any(each in line for each in clues) and (event := event_of(line)) is not None:
            search.take(event)
    return search.life(), read


def event_of(line: bytes | str) -> Mapping[str, Any] | None:
    """The event of a line; None if there is none in it."""
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    for _ in range(_DEEPEST):
        start = text.find("{")
        if start < 0:
            return None
        try:
            value = json.loads(text[start:])
        except ValueError:
            return None
        if not isinstance(value, dict):
            return None
        if isinstance(value.get("event"), str):
            return value
        wrapped = next((value[key] for key in _WRAPPED_IN if key in value), None)
        if isinstance(wrapped, list):  # journald spells bytes that are no text as numbers
            try:
                wrapped = bytes(wrapped).decode(errors="replace")
            except (ValueError, TypeError):
                return None
        if not isinstance(wrapped, str):
            return None
        text = wrapped
    return None


def _lines(files: Sequence[BinaryIO]) -> Iterator[bytes]:
    for file in files:
        yield from file
