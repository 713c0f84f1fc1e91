"""Reads one YAML text into located nodes: YAML 1.2 scalars, no surprises, bounded time and memory.

PyYAML is used for its parser only. Its resolver follows YAML 1.1, where `on` is true, `0123` is 83 and `12:30` is 750;
its composer recurses, lets duplicate keys pass, and expands aliases without a bound.

| in the file                        | becomes                                                                |
|------------------------------------|------------------------------------------------------------------------|
| `true` `false` (also `True`, `TRUE`) | a boolean; `yes`, `no`, `on`, `off` are text                          |
| nothing, `~`, `null`               | no value                                                               |
| `10` `-3` `0x1f` `0o17`            | a whole number                                                         |
| `0123`, exactly twelve digits      | text: an account id is no number                                       |
| `1.5` `1e3` `.inf`                 | a number                                                               |
| `12:30`, `2026-01-31`, the rest    | text                                                                   |
| anything in quotes, block scalars  | text                                                                   |
| `&name` and `*name`                | the same node again; all aliases together may stand for 50,000 nodes   |
| `<<: *name`, `<<: [*a, *b]`        | the entries that the mapping itself (or an earlier one) does not have  |
| a tag (`!Ref`, `!!str`)            | refused; kept (`Ref`) where the caller says `tags`, unless it is `!!`   |
| a key twice                        | refused, both places named                                             |
| a key that is a list or a mapping  | refused                                                                |
| a second document                  | refused                                                                |
| more than 100 levels, aliases expanded; more than 4 MiB | refused                                           |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from esmd.config.report import Place, Report, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 4 * 1024 * 1024
"""Largest file that is read."""

MAX_DEPTH = 100
"""Deepest nesting."""

MAX_NODES = 50_000
"""Most nodes of a document, aliases expanded."""

Plain: TypeAlias = str | int | float | bool | None
"""What a scalar is."""

# libyaml is about ten times faster; a PyYAML built without it still has the parser in Python.
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_OCTAL = re.compile(r"0o[0-7]+")
_ACCOUNT = re.compile(r"[0-9]{12}")
_WORDS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A value as the file spells it; `plain` where it stands without quotes and may be more than text."""

    line: int
    column: int
    text: str
    plain: bool
    tag: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """A sequence."""

    line: int
    column: int
    items: tuple[Node, ...]
    tag: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A mapping: key and value in the order of the file, no key twice, merged entries last."""

    line: int
    column: int
    entries: tuple[tuple[Scalar, Node], ...]
    tag: str = ""


Node: TypeAlias = Scalar | Listing | Table


def resolve(text: str, *, accounts: bool = True) -> Plain:
    """What a plain scalar is by the YAML 1.2 core schema, narrowed as the table above says.

    With `accounts` off, twelve digits are a number like any other: filter patterns are data, not settings.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > 300 or (accounts and _ACCOUNT.fullmatch(text)):
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return float(text)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    return text


def read_document(raw: bytes, *, file: Path, report: Report, tags: bool = False) -> Node | None:
    """The root node of a YAML file; None after an error that leaves nothing to go on with, which is reported.

    With `tags`, a node keeps its own tag without the exclamation mark: templates of CloudFormation have them.
    """
    whole = Place(file)
    if len(raw) > MAX_BYTES:
        report.error(whole, f"larger than {MAX_BYTES // 1024 // 1024} MiB")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        report.error(Place(file, line, column), f"not UTF-8: byte 0x{raw[error.start]:02x}")
        return None
    return _Builder(file, report, tags=tags).build(text)


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    line: int
    column: int
    is_table: bool
    anchor: str | None
    started_at: int
    tag: str
    children: list[Node]
    height: int = 0
    """Levels inside of it so far."""


class _Stop(Exception):  # noqa: N818 - a jump, never seen outside
    """The document cannot be read any further; the reason is reported."""


class _Builder:
    def __init__(self, file: Path, report: Report, *, tags: bool) -> None:
        self.file = file
        self.report = report
        self.tags = tags
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.nodes = 0

    def build(self, text: str) -> Node | None:
        root: Node | None = None
        try:
            root = self._document(yaml.parse(text, Loader=_PARSER))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file)
            self.report.error(place, f"not valid YAML: {error.problem or error.context}")
            return None
        except yaml.reader.ReaderError as error:
            place, code = self._character(text, error)
            self.report.error(place, f"not valid YAML: the character U+{code:04X} is not allowed")
            return None
        except _Stop:
            return None
        if root is None:
            self.report.error(Place(self.file), "the file is empty")
        return root

    def _character(self, text: str, error: yaml.reader.ReaderError) -> tuple[Place, int]:
        # libyaml counts bytes, the parser in Python characters; both know the character itself.
        code = error.character if isinstance(error.character, int) else ord(error.character)
        at = text.find(chr(code))
        return Place(self.file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)), code

    def _document(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        open_: list[_Open] = []
        for event in events:
            node: Node | None = None
            height = 0
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._stop(event, "a second document: one per file")
                continue
            if isinstance(event, yaml.AliasEvent):
                node, height = self._alias(event, len(open_))
            elif isinstance(event, yaml.ScalarEvent):
                node = self._scalar(event)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                tag = self._tag(event)
                if len(open_) >= MAX_DEPTH:
                    raise self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
                line, column = _start(event)
                is_table = isinstance(event, yaml.MappingStartEvent)
                open_.append(_Open(line, column, is_table, event.anchor, self.nodes, tag, []))
                self._count(event, 1)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                done = open_.pop()
                node, height = self._close(done), done.height + 1
            if node is None:
                continue
            if open_:
                open_[-1].children.append(node)
                open_[-1].height = max(open_[-1].height, height)
            else:
                root = node
        return root

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        tag = self._tag(event)
        before = self.nodes
        self._count(event, 1)
        scalar = Scalar(*_start(event), event.value, plain=event.style is None or event.style == "", tag=tag)
        if event.anchor:
            self.anchors[event.anchor] = (scalar, self.nodes - before, 0)
        return scalar

    def _alias(self, event: yaml.AliasEvent, depth: int) -> tuple[Node, int]:
        """What an alias at a depth stands for, and the levels inside of it."""
        # An anchor is known once its node is complete, so an alias inside of what it names finds nothing.
        if event.anchor not in self.anchors:
            raise self._stop(event, f"*{event.anchor} stands for nothing: no complete &{event.anchor} before it")
        node, weight, height = self.anchors[event.anchor]
        self._count(event, weight)
        # Each of a chain of aliases adds its levels to those of the one before it.
        if depth + height > MAX_DEPTH:
            raise self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        return node, height

    def _close(self, done: _Open) -> Node:
        node: Node
        if done.is_table:
            node = Table(done.line, done.column, self._entries(done.children), done.tag)
        else:
            node = Listing(done.line, done.column, tuple(done.children), done.tag)
        if done.anchor:
            self.anchors[done.anchor] = (node, self.nodes - done.started_at, done.height + 1)
        return node

    def _entries(self, children: list[Node]) -> tuple[tuple[Scalar, Node], ...]:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Table] = []
        for key, value in zip(children[::2], children[1::2], strict=True):
            place = Place(self.file, key.line, key.column)
            if not isinstance(key, Scalar):
                self.report.error(place, "a key must be text, not a list or a mapping")
            elif key.plain and key.text == "<<":
                merged += self._merged(place, value)
            elif not key.text:
                self.report.error(place, "a key is empty")
            elif key.text in own:
                first = own[key.text][0]
                first_place = Place(self.file, first.line, first.column)
                self.report.error(place, f"{shown(key.text)} stands twice in one mapping, first at {first_place}")
            else:
                own[key.text] = (key, value)
        for table in merged:
            for key, value in table.entries:
                own.setdefault(key.text, (key, value))
        return tuple(own.values())

    def _merged(self, place: Place, value: Node) -> list[Table]:
        values = value.items if isinstance(value, Listing) else (value,)
        tables = [each for each in values if isinstance(each, Table)]
        if len(tables) < len(values):
            self.report.error(place, "<< merges mappings only")
        return tables

    def _count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self._stop(event, f"more than {MAX_NODES:,} values, aliases expanded")

    def _tag(self, event: Any) -> str:
        """The tag of a node where tags are kept; else it is refused."""
        own = event.tag is not None and event.tag[:1] == "!" and len(event.tag) > 1
        if self.tags and own:
            return str(event.tag[1:])
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            place = Place(self.file, *_start(event))
            self.report.refused.add(place)
            self.report.error(place, f"the tag {tag} is not supported", hint="write the value itself")
        return ""

    def _stop(self, event: Any, message: str) -> _Stop:
        line, column = _start(event)
        self.report.error(Place(self.file, line, column), message)
        return _Stop()


def _start(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
