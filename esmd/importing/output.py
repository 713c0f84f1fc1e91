"""Writes what was imported as YAML of esmd, and checks that it would pass `esmd lint`."""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esmd.config.document import resolve
from esmd.config.loader import load
from esmd.config.report import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esmd.config.report import Report
    from esmd.importing.model import Imported, ImportedFunction, ImportedMapping

_WIDTH = 120

_DOLLARS = re.compile(r"\$+(?=\{)|\$\$+")
"""Dollar signs that a configuration would read as a variable, or as fewer of them."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that a configuration would read as something else: it reads YAML 1.2, PyYAML writes YAML 1.1."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write everything out: an anchor would surprise the reader."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent lists below their key."""
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolve(text, accounts=False), str) and text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def render(imported: Imported, *, made_by: str) -> str:
    """The configuration as YAML, with notes as comments.

    Args:
        imported: what to write; functions that no mapping uses are left out.
        made_by: what made it, for the first line.
    """
    parts = [_comments([f"Made by `{made_by}`."], ""), "version: 1\n"]
    if imported.aws:
        parts.append(_dumped({"aws": imported.aws}))
    parts += ["functions:\n", *_entries(imported.used_functions())]
    parts += ["mappings:\n", *_entries(imported.mappings)]
    return "".join(parts)


def _entries(entries: Iterable[ImportedFunction | ImportedMapping]) -> Iterable[str]:
    for entry in entries:
        yield _comments(entry.notes, "  ")
        yield textwrap.indent(_dumped({entry.name: entry.settings}), "  ")


def _comments(notes: Sequence[str], indent: str) -> str:
    lines = []
    for note in notes:
        # What a template calls something may hold anything: a comment has to stay one.
        plain = "".join(char if char.isprintable() else "?" for char in note)
        lines += textwrap.wrap(plain, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")
    return "".join(f"{line}\n" for line in lines)


def _dumped(data: Any) -> str:
    text: str = yaml.dump(
        _escaped(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096, default_flow_style=False
    )
    return text


def _escaped(data: Any) -> Any:
    """Values in which a dollar sign is no variable of a configuration."""
    if isinstance(data, str):
        return _DOLLARS.sub(lambda dollars: dollars[0] * 2, data)
    if isinstance(data, dict):
        return {key: _escaped(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_escaped(item) for item in data]
    return data


def check(text: str, imported: Imported, report: Report) -> None:
    """Report what `esmd lint` would refuse, at the places of what was read."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "esmd.yaml"
        file.write_text(text, encoding="utf-8")
        loaded = load([file], environ=os.environ)
    if loaded.config is not None:
        return
    places = {f"mappings.{mapping.name}": mapping.place for mapping in imported.mappings}
    places |= {f"functions.{function.name}": function.place for function in imported.used_functions()}
    for found in loaded.diagnostics:
        if found.severity != "error":
            continue
        owners = [path for path in places if found.path == path or found.path.startswith(f"{path}.")]
        owner = max(owners, key=len, default=None)
        if owner is None:  # about the whole, such as how many more there are
            report.error(Place(imported.mappings[0].place.file), found.text)
            continue
        setting = found.path.removeprefix(owner).lstrip(".")
        message = re.sub(rf" at {re.escape(str(file))}:[0-9:]+", "", found.message)
        report.error(places[owner], f"{setting}: {message}" if setting else message, hint=found.hint)
