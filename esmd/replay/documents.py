"""Takes JSON text apart without reading its values anew: what goes on keeps its numbers and its order to the byte.

| a file holds                          | its documents         |
|---------------------------------------|-----------------------|
| one value, on one line or many        | that one              |
| a list                                | its elements          |
| JSON lines, or values one after other | each of them          |
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def documents(text: str) -> list[str]:
    """The documents of a file.

    Raises:
        ValueError: it is not JSON; the message says where.
    """
    found: list[str] = []
    at = _skip(text, 0)
    while at < len(text):
        end = _end(text, at)
        found += _elements(text, at) if text[at] == "[" else [text[at:end]]
        at = _skip(text, end)
    return found


def member(text: str, name: str) -> str | None:
    """The text of a member of a JSON object; the last one of that name, None without one.

    Raises:
        ValueError: the text is no JSON object.
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    found = None
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # the colon
        end = _end(text, at)
        if key == name:
            found = text[at:end]
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    return found


def _elements(text: str, at: int) -> Iterator[str]:
    """The elements of a list that is known to be well formed."""
    at = _skip(text, at + 1)
    while text[at] != "]":
        end = _end(text, at)
        yield text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _end(text: str, at: int) -> int:
    try:
        end: int = _DECODER.raw_decode(text, at)[1]
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return end


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
