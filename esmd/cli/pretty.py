"""How a command puts JSON on stdout: indented for people, byte for byte for programs."""

from __future__ import annotations

import json
import re
import sys

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
_STEP = "  "


def put(data: bytes) -> None:
    """Write JSON and the end of the line to stdout: indented if that is a terminal, else as it is."""
    if sys.stdout.isatty():
        data = indented(data.decode(errors="replace")).encode()
    sys.stdout.flush()
    sys.stdout.buffer.write(data if data.endswith(b"\n") else data + b"\n")
    sys.stdout.buffer.flush()


def indented(text: str) -> str:
    """JSON with a line for each member and element, every value as it is written; text that is no JSON unchanged.

    Reading and writing it again would round numbers and lose keys that are given twice.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    written: list[str] = []
    depth = 0
    before = ""
    for piece in _PIECE.findall(text):
        if piece in "}]":
            depth -= 1
            if before not in "{[":
                written.append("\n" + _STEP * depth)
        elif before and before in "{[,":
            written.append("\n" + _STEP * depth)
        written.append(piece + " " * (piece == ":"))
        depth += piece in "{["
        before = piece
    return "".join(written)
