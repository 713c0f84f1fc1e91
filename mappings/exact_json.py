"""JSON read with nothing lost: exact numbers, and for patterns the place of every value.

| input                                         | `decode` (events)              | `read` (patterns)             |
|-----------------------------------------------|--------------------------------|-------------------------------|
| `5`                                           | `int`                          | `int`                         |
| an integer of more digits than `int()` takes  | `Decimal`                      | `Decimal`                     |
| `5.0`, `5e0`                                  | `Decimal`                      | `Decimal`                     |
| an exponent beyond `Decimal`                  | `Decimal`: 0 or infinity       | the same                      |
| `NaN`, `Infinity`                             | `ValueError`                   | `InvalidPattern`              |
| deep nesting                                  | `ValueError` (about 1,000)     | `InvalidPattern` (100 levels) |
| the same key twice                            | the last one wins              | the last one wins, and is told |
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

MAX_PATTERN_DEPTH = 100
"""Levels of objects and lists in a pattern. Far beyond any real one, and safe for recursive readers."""

Path = tuple[str | int, ...]
"""Where a value stands: keys of objects and indexes of lists, from the outside in."""

_SPACE = re.compile(r"[ \t\n\r]*")


class InvalidPattern(ValueError):  # noqa: N818 - named after the thing, like AWS's own message
    """A filter pattern that cannot be used.

    Attributes:
        message: what is wrong and how to put it right, in plain words.
        path: where inside the pattern; empty for the whole.
        offset: the character in the text where the wrong value starts, from 0; None if it has no place.
        index: which of several filters it is, from 0; None for a pattern compiled alone.
    """

    aws_message = "Invalid filter pattern definition."
    """What Lambda answers to every such pattern [specification C.1]."""

    def __init__(self, message: str, *, path: Path = (), offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.offset = offset
        self.index: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value of a pattern, and the offset in the text where it starts."""

    value: dict[str, Node] | tuple[Node, ...] | str | int | Decimal | bool | None
    offset: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that one object has more than once; the offset is that of the later one."""

    path: Path
    offset: int


@dataclass(frozen=True, slots=True)
class Document:
    """A pattern as read: its root, and the keys that were given twice."""

    root: Node
    duplicates: tuple[Duplicate, ...]


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        # The exponent has some twenty digits. A double calls this infinity or zero, and so do we.
        return Decimal(float(text))


def _integer(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        return _number(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Two decoders: a Python function for integers makes each of them slower, and nearly none needs it.
_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_refuse_constant)
_PATIENT_DECODER = json.JSONDecoder(parse_float=_number, parse_int=_integer, parse_constant=_refuse_constant)


def decode(text: str) -> Any:
    """The value of a JSON text of an event.

    Raises:
        ValueError: it is not JSON, or nested deeper than the parser reads.
    """
    try:
        try:
            return _DECODER.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:
            return _PATIENT_DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read(text: str) -> Document:
    """Read a pattern.

    Raises:
        InvalidPattern: it is not JSON, or nested too deeply; with path and offset.
    """
    reader = _Reader(text)
    root, end = reader.value(reader.skip_space(0), ())
    end = reader.skip_space(end)
    if end < len(text):
        raise InvalidPattern(
            "the pattern goes on after its end: a pattern is one JSON object; check the brackets before this place",
            offset=end,
        )
    return Document(root, tuple(reader.duplicates))


class _Reader:
    """Reads the containers itself, to know places and duplicate keys, and leaves scalars to the library."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.duplicates: list[Duplicate] = []

    def skip_space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return at if match is None else match.end()

    def value(self, at: int, path: Path) -> tuple[Node, int]:
        """The value that starts at `at`, and the offset after it."""
        opening = self.text[at : at + 1]
        if opening and opening in "{[":
            if len(path) >= MAX_PATTERN_DEPTH:
                raise InvalidPattern(
                    f"nested deeper than {MAX_PATTERN_DEPTH} levels: flatten the pattern", path=path, offset=at
                )
            return self._object(at, path) if opening == "{" else self._list(at, path)
        return self._scalar(at, path)

    def _object(self, start: int, path: Path) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        at = self.skip_space(start + 1)
        if self.text.startswith("}", at):
            return Node(members, start), at + 1
        while True:
            if not self.text.startswith('"', at):
                raise self._expected("a key in double quotes", at, path)
            key_node, end = self._scalar(at, path)
            key = str(key_node.value)
            here = (*path, key)
            end = self.skip_space(end)
            if not self.text.startswith(":", end):
                raise self._expected('":" after the key', end, here)
            value, end = self.value(self.skip_space(end + 1), here)
            if key in members:
                self.duplicates.append(Duplicate(here, at))
                # Put back at the end: which of two equal paths counts is decided by what comes later.
                del members[key]
            members[key] = value
            end = self.skip_space(end)
            if self.text.startswith("}", end):
                return Node(members, start), end + 1
            if not self.text.startswith(",", end):
                raise self._expected('"," or "}"', end, path)
            at = self.skip_space(end + 1)

    def _list(self, start: int, path: Path) -> tuple[Node, int]:
        items: list[Node] = []
        at = self.skip_space(start + 1)
        if self.text.startswith("]", at):
            return Node((), start), at + 1
        while True:
            item, end = self.value(at, (*path, len(items)))
            items.append(item)
            end = self.skip_space(end)
            if self.text.startswith("]", end):
                return Node(tuple(items), start), end + 1
            if not self.text.startswith(",", end):
                raise self._expected('"," or "]"', end, path)
            at = self.skip_space(end + 1)

    def _scalar(self, at: int, path: Path) -> tuple[Node, int]:
        try:
            value, end = _PATIENT_DECODER.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            if self.text.startswith('"', at):
                message = f"the text is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
                raise InvalidPattern(message, path=path, offset=error.pos) from None
            raise self._expected("a JSON value", at, path) from None
        except ValueError as error:
            raise InvalidPattern(f"{error}: use a number", path=path, offset=at) from None
        return Node(value, at), end

    def _expected(self, what: str, at: int, path: Path) -> InvalidPattern:
        found = self.text[at : at + 1]
        if not found:
            hint = "the text ends here: a bracket is not closed" if self.text.strip() else "the pattern is empty"
        elif found in "'\u2018\u2019\u201c\u201d":
            hint = "JSON takes straight double quotes"
        elif found in "}]":
            hint = "a comma before a closing bracket, or a value left out"
        elif found == "/":
            hint = "JSON has no comments"
        elif found == "\ufeff":
            hint = "the text starts with a byte order mark"
        elif found.isalpha():
            hint = "text goes in double quotes; true, false and null are written in small letters"
        else:
            hint = f"found {found!r}"
        return InvalidPattern(f"expected {what}: {hint}", path=path, offset=at)
