"""Binds located nodes to a model: names to fields, values to plain data, every value to its place.

| in the file                                   | becomes                                                       |
|-----------------------------------------------|---------------------------------------------------------------|
| a key in snake_case or as AWS spells it       | the model's field; both at once is an error                   |
| any other key                                 | an error, with the nearest known name                         |
| no value (`batch_size:`)                      | as if the key were not there                                  |
| `${VAR}` in a plain scalar                    | filled in, then read by the rules of YAML: may be a number    |
| `${VAR}` in quotes or a block scalar          | filled in, stays text                                         |
| values of `environment` and `tags`            | text as written: `1.10` keeps its zero                        |
| a mapping for a filter's `pattern`            | JSON text: keys in their order, numbers as written            |
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel

from esmd.config.document import Listing, Node, Plain, Scalar, Table, resolve
from esmd.config.fields import Api, Injected, JsonText, Texts
from esmd.config.interpolation import InterpolationError, interpolate
from esmd.config.report import Place, Report, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo

_Marker = TypeVar("_Marker")

Location = tuple[str | int, ...]
"""Names of fields and indexes of lists, from a model inwards."""

_LONG_PATH = 200
_KNOWN_NAMES = 500

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Source:
    """What a file is read with."""

    file: Path
    environ: Mapping[str, str]
    report: Report

    def place(self, node: Node, path: str) -> Place:
        """Where a node of this file stands."""
        return Place(self.file, node.line, node.column, path)

    def is_refused(self, node: Node) -> bool:
        """Whether the parser has refused a node, so that there is nothing more to say about it."""
        return bool(self.report.refused) and self.place(node, "") in self.report.refused


@dataclass(slots=True)
class Bound:
    """Data for one model.

    Attributes:
        data: what the model validates.
        places: where each value stands; the empty location is the whole.
        failed: locations whose value could not be read; they are reported, and absent from `data`.
    """

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Location, Place] = field(default_factory=dict)
    failed: set[Location] = field(default_factory=set)

    def place(self, location: Location) -> Place:
        """The place of a value, or of the nearest thing around it that stands in the file."""
        return self.places[location[: self.depth(location)]]

    def depth(self, location: Location) -> int:
        """How many steps of a location lead to something that stands in the file."""
        return next(steps for steps in range(len(location), -1, -1) if location[:steps] in self.places)


class Unreadable(Exception):  # noqa: N818 - not an error of the program: it is reported already
    """A value could not be read; the reason is reported."""


def scalar(node: Scalar, path: str, source: Source, *, accounts: bool = True) -> Plain:
    """The value of a scalar, variables filled in.

    Raises:
        Unreadable: a variable is missing.
    """
    text = text_of(node, path, source)
    return resolve(text, accounts=accounts) if node.plain else text


def text_of(node: Scalar, path: str, source: Source) -> str:
    """The text of a scalar as written, variables filled in.

    Raises:
        Unreadable: a variable is missing, or the parser has refused the node.
    """
    if source.is_refused(node):
        raise Unreadable
    try:
        return interpolate(node.text, source.environ)
    except InterpolationError as error:
        source.report.error(source.place(node, path), str(error))
        raise Unreadable from None


def plain(node: Node, path: str, source: Source) -> Any:
    """A node as Python data; lists become tuples, keys stay as written."""
    if isinstance(node, Scalar):
        return scalar(node, path, source)
    if isinstance(node, Listing):
        return tuple(plain(item, join(path, index), source) for index, item in enumerate(node.items))
    return {key.text: plain(value, join(path, key.text), source) for key, value in node.entries}


def join(path: str, name: str | int) -> str:
    """The path of a setting, or of a list's item, inside another; it stops growing where nobody would read it."""
    if len(path) > _LONG_PATH:
        return path if path.endswith("…") else f"{path}…"
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name[:_LONG_PATH]}" if path else name[:_LONG_PATH]


def suggestion(name: str, known: list[str]) -> str:
    """`did you mean ...?`, or nothing where no known name is near."""
    lower = {each.lower(): each for each in reversed(known[:_KNOWN_NAMES])}
    near = difflib.get_close_matches(name[:100].lower(), list(lower), n=1, cutoff=0.7)
    return f"did you mean {lower[near[0]]}?" if near else ""


def bind(
    node: Node, model: type[BaseModel], place: Place, source: Source, *, foreign: Mapping[str, str] | None = None
) -> Bound:
    """The data of `model` that stands in `node`.

    Args:
        node: what the file says.
        model: the model that will validate the data.
        place: where `node` stands, and its path.
        source: what the file is read with.
        foreign: settings by lower-case name without underscores that are known but belong elsewhere, each with the
            sentence that says so.
    """
    bound = Bound(places={(): place})
    binder = _Binder(source, bound, foreign or {})
    try:
        bound.data = binder.model(node, model, place.path, ())
    except Unreadable:
        bound.failed.add(())
    return bound


class _Binder:
    def __init__(self, source: Source, bound: Bound, foreign: Mapping[str, str]) -> None:
        self.source = source
        self.bound = bound
        self.foreign = foreign

    def model(self, node: Node, model: type[BaseModel], path: str, location: Location) -> dict[str, Any]:
        if not isinstance(node, Table):
            raise self._unreadable(
                node, path, f"must be a mapping of settings, not {described(self._plain(node, path))}"
            )
        data: dict[str, Any] = {}
        spelled: dict[str, Scalar] = {}
        spellings = spellings_of(model)
        for key, value in node.entries:
            inner = join(path, key.text)
            name = spellings.get(key.text)
            if name is None:
                self._unknown(key, inner, list(spellings))
            elif name in spelled:
                first = self.source.place(spelled[name], "")
                self.source.report.error(
                    self.source.place(key, inner), f"the same setting as {spelled[name].text}, which stands at {first}"
                )
            else:
                spelled[name] = key
                here = (*location, name)
                self.bound.places[here] = self.source.place(value, inner)
                try:
                    item = self._field(value, model.model_fields[name], inner, here)
                except Unreadable:
                    self.bound.failed.add(here)
                else:
                    if item is not None:
                        data[name] = item
        return data

    def _unknown(self, key: Scalar, path: str, known: list[str]) -> None:
        sentence = self.foreign.get(key.text.replace("_", "").lower())
        hint = "" if sentence or self.source.report.is_full else suggestion(key.text, known)
        self.source.report.error(self.source.place(key, path), sentence or "unknown setting", hint=hint)

    def _field(self, node: Node, info: FieldInfo, path: str, location: Location) -> Any:
        if self.source.is_refused(node):
            raise Unreadable
        if isinstance(node, Scalar) and self._plain(node, path) is None:
            return None
        texts = marker(info, Texts)
        if texts:
            return self._texts(node, texts, path, location)
        if marker(info, JsonText):
            return self._json_text(node, path, location)
        inner, is_list = inner_model(info)
        if inner is None:
            return self._located(node, path, location)
        if not is_list:
            return self.model(node, inner, path, location)
        if not isinstance(node, Listing):
            raise self._unreadable(node, path, f"must be a list, not {described(self._plain(node, path))}")
        return tuple(
            self._item(item, inner, join(path, index), (*location, index)) for index, item in enumerate(node.items)
        )

    def _item(self, node: Node, model: type[BaseModel], path: str, location: Location) -> dict[str, Any]:
        self.bound.places[location] = self.source.place(node, path)
        return self.model(node, model, path, location)

    def _located(self, node: Node, path: str, location: Location) -> Any:
        """Plain data, with the places of the items of a list or mapping."""
        if isinstance(node, Listing):
            for index, item in enumerate(node.items):
                self.bound.places[*location, index] = self.source.place(item, join(path, index))
        if isinstance(node, Table):
            for key, item in node.entries:
                self.bound.places[*location, key.text] = self.source.place(item, join(path, key.text))
        return self._plain(node, path)

    def _plain(self, node: Node, path: str) -> Any:
        return plain(node, path, self.source)

    def _texts(self, node: Node, texts: Texts, path: str, location: Location) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value, inner in self._pairs(node, texts, path):
            if not isinstance(value, Scalar):
                raise self._unreadable(value, inner, f"must be text, not {described(self._plain(value, inner))}")
            if value.plain and resolve(value.text) is None:
                raise self._unreadable(value, inner, "has no value", hint='write "" for an empty text')
            found[key] = text_of(value, inner, self.source)
            self.bound.places[*location, key] = self.source.place(value, inner)
        return found

    def _pairs(self, node: Node, texts: Texts, path: str) -> list[tuple[str, Node, str]]:
        if isinstance(node, Table):
            if len(node.entries) == 1:
                key, value = node.entries[0]
                if key.text.lower() == texts.wrapper.lower() and isinstance(value, Table):
                    node, path = value, join(path, key.text)
            return [(key.text, value, join(path, key.text)) for key, value in node.entries]
        if texts.pairs and isinstance(node, Listing):
            return [self._pair(item, join(path, index)) for index, item in enumerate(node.items)]
        raise self._unreadable(
            node, path, f"must be a mapping of text to text, not {described(self._plain(node, path))}"
        )

    def _pair(self, node: Node, path: str) -> tuple[str, Node, str]:
        entries = {key.text: value for key, value in node.entries} if isinstance(node, Table) else {}
        key = entries.get("Key")
        if set(entries) != {"Key", "Value"} or not isinstance(key, Scalar):
            raise self._unreadable(node, path, "must be a mapping of Key and Value")
        return text_of(key, path, self.source), entries["Value"], path

    def _json_text(self, node: Node, path: str, location: Location) -> str:
        if isinstance(node, Scalar):
            return text_of(node, path, self.source)
        return self._json(node, path, location)

    def _json(self, node: Node, path: str, location: Location) -> str:
        self.bound.places[location] = self.source.place(node, path)
        if isinstance(node, Listing):
            items = (self._json(each, join(path, index), (*location, index)) for index, each in enumerate(node.items))
            return f"[{','.join(items)}]"
        if isinstance(node, Table):
            return f"{{{','.join(self._entry(key, value, path, location) for key, value in node.entries)}}}"
        text = text_of(node, path, self.source)
        value = resolve(text, accounts=False) if node.plain else text
        if isinstance(value, bool) or not isinstance(value, int | float):
            return json.dumps(value, ensure_ascii=False)
        if _JSON_NUMBER.fullmatch(text):
            return text
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - true of NaN only
            raise self._unreadable(node, path, f"{text} is no number of JSON")
        return str(value)

    def _entry(self, key: Scalar, value: Node, path: str, location: Location) -> str:
        inner = self._json(value, join(path, key.text), (*location, key.text))
        return f"{json.dumps(key.text, ensure_ascii=False)}:{inner}"

    def _unreadable(self, node: Node, path: str, message: str, *, hint: str = "") -> Unreadable:
        self.source.report.error(self.source.place(node, path), message, hint=hint)
        return Unreadable()


def spellings_of(model: type[BaseModel]) -> dict[str, str]:
    """Every accepted name of the settings of a model, with the field it means; canonical names first."""
    fields = {name: info for name, info in model.model_fields.items() if not marker(info, Injected)}
    names = {written(name, info): name for name, info in fields.items()}
    for name, info in fields.items():
        api = marker(info, Api)
        names.update(dict.fromkeys(api.names if api else (), name))
    return names


def written(name: str, info: FieldInfo) -> str:
    """The canonical name of a setting in a file: its alias where the field's own name could not be that."""
    return info.alias or name


def described(value: Any) -> str:
    """What a value is, for a sentence such as "must be text, not the number 5"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {str(value)[:30]}"
    if isinstance(value, str):
        return f"the text {shown(value)}" if value else "empty text"
    if value is None:
        return "nothing"
    return "a mapping" if isinstance(value, dict) else "a list"


def marker(info: FieldInfo, kind: type[_Marker]) -> _Marker | None:
    """The mark of that kind that a field bears, if any."""
    return next((each for each in info.metadata if isinstance(each, kind)), None)


def inner_model(info: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The model that a field holds, if any, and whether it holds a list of them."""
    annotation = info.annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate, candidate is not annotation and type(None) not in get_args(annotation)
    return None, False
