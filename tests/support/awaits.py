"""Every `await`, `async with` and `async for` of a room, found in its source; and which of them are at given places."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from support.walker import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support.walker import Place


class Await(NamedTuple):
    """One of them: its file below the checkout, its function, how it is written, and its lines."""

    file: str
    function: str
    text: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """What it is called in a table: the lines come and go."""
        return f"{self.file} {self.function}: {self.text}"


def awaits_of(rooms: Iterable[str]) -> list[Await]:
    """All of the modules and folders, given by their paths below the checkout."""
    found: list[Await] = []
    for room in rooms:
        path = ROOT / room
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            relative = str(file.relative_to(ROOT))
            found += _below(ast.parse(file.read_text(encoding="utf-8")), relative, ())
    return found


def _below(node: ast.AST, file: str, inside: tuple[str, ...]) -> Iterator[Await]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from _below(child, file, (*inside, child.name) if named else inside)  # type: ignore[attr-defined]
        function = ".".join(inside)
        if isinstance(child, ast.Await):
            yield Await(file, function, ast.unparse(child), child.lineno, child.end_lineno or child.lineno)
        elif isinstance(child, ast.AsyncWith):
            items = ", ".join(map(ast.unparse, child.items))
            last = max(item.context_expr.end_lineno or child.lineno for item in child.items)
            yield Await(file, function, f"async with {items}", child.lineno, last)
        elif isinstance(child, ast.AsyncFor):
            text = f"async for {ast.unparse(child.target)} in {ast.unparse(child.iter)}"
            yield Await(file, function, text, child.lineno, child.iter.end_lineno or child.lineno)


def at(places: Iterable[Place], awaits: Iterable[Await]) -> set[Await]:
    """Those of `awaits` at which frames were suspended."""
    by_function: dict[tuple[str, str], list[Await]] = {}
    for each in awaits:
        by_function.setdefault((each.file, each.function), []).append(each)
    found: set[Await] = set()
    for place in places:
        known = by_function.get((place.file, place.function), ())
        around = [each for each in known if each.first <= place.line <= each.last]
        shortest = min((each.last - each.first for each in around), default=0)
        found.update(each for each in around if each.last - each.first == shortest)
    return found
