"""Finds and reads configuration files, and unites their sections.

| section                  | in several files                                                        |
|--------------------------|-------------------------------------------------------------------------|
| `functions`, `mappings`  | united; a name twice is an error that names both places                  |
| `version`, `aws`, `state`, `api` | may be repeated where they say the same                                 |
| `x-...`                  | ignored: room for anchors                                               |
| anything else            | an error                                                                |

A folder stands for its `*.yaml` and `*.yml` files in the order of their names; folders inside it are not entered. A
file that is named twice is read once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esmd.config.binding import Source, described, suggestion
from esmd.config.document import MAX_BYTES, Node, Scalar, Table, read_document
from esmd.config.report import Place, Report, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SINGLE = ("version", "aws", "state", "api")
"""Sections that all files share."""

NAMED = ("functions", "mappings")
"""Sections that hold named entries."""


@dataclass(frozen=True, slots=True)
class Section:
    """A top-level key of one file, or an entry of one: what stands there and what it is read with."""

    key: Scalar
    node: Node
    source: Source
    path: str

    @property
    def place(self) -> Place:
        """Where its key stands."""
        return self.source.place(self.key, self.path)

    @property
    def directory(self) -> Path:
        """The absolute folder of its file: relative paths start there."""
        return self.source.file.absolute().parent

    @property
    def is_empty(self) -> bool:
        """Whether the key has no value."""
        return isinstance(self.node, Scalar) and self.node.plain and self.node.text in ("", "~", "null")


@dataclass(slots=True)
class Contents:
    """What the files say, section by section.

    Attributes:
        files: those that were found, as named.
        complete: whether every file could be read to its end.
        single: each occurrence of `version`, `aws`, `state` and `api`.
        named: the entries of `functions` and `mappings` by name.
    """

    files: list[Path] = field(default_factory=list)
    complete: bool = True
    single: dict[str, list[Section]] = field(default_factory=lambda: {name: [] for name in SINGLE})
    named: dict[str, dict[str, Section]] = field(default_factory=lambda: {name: {} for name in NAMED})


def read_files(paths: Sequence[Path], *, environ: Mapping[str, str], report: Report) -> Contents:
    """Read all files that `paths` name; problems are reported, never raised."""
    contents = Contents()
    seen: set[Path] = set()
    for path in paths:
        for file in _files(path, contents, report):
            identity = file.absolute()
            if identity not in seen:
                seen.add(identity)
                contents.files.append(file)
                _read(Source(file, environ, report), contents)
    return contents


def _files(path: Path, contents: Contents, report: Report) -> Iterator[Path]:
    try:
        if not path.is_dir():
            yield path
            return
        found = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml") and not each.is_dir())
    except (OSError, ValueError) as error:
        report.error(Place(path), _reason(error))
        contents.complete = False
        return
    if not found:
        report.error(Place(path), "a folder without *.yaml or *.yml files")
    yield from found


def _read(source: Source, contents: Contents) -> None:
    whole = Place(source.file)
    try:
        with source.file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        source.report.error(whole, _reason(error))
        contents.complete = False
        return
    root = read_document(raw, file=source.file, report=source.report)
    if root is None:
        contents.complete = False
    elif not isinstance(root, Table):
        kind = "text" if isinstance(root, Scalar) else "a list"
        place = source.place(root, "")
        source.report.error(place, f"must be a mapping with functions and mappings, not {kind}")
        contents.complete = False
    else:
        for key, node in root.entries:
            _section(Section(key, node, source, key.text), contents)


def _section(section: Section, contents: Contents) -> None:
    name, report = section.key.text, section.source.report
    if name.startswith("x-") or (section.is_empty and name in (*SINGLE, *NAMED)):
        return
    if name in SINGLE:
        contents.single[name].append(section)
    elif name not in NAMED:
        hint = suggestion(name, [*SINGLE, *NAMED]) or "keys that start with x- are yours to use"
        report.error(section.place, "unknown section", hint=hint)
    elif isinstance(section.node, Table):
        for key, node in section.node.entries:
            _entry(Section(key, node, section.source, f"{name}.{key.text}"), contents.named[name], report)
    else:
        kind = described(section.node.text if isinstance(section.node, Scalar) else ())
        place = section.source.place(section.node, name)
        report.error(place, f"must be a mapping of names to settings, not {kind}")
        contents.complete = False


def _entry(entry: Section, known: dict[str, Section], report: Report) -> None:
    first = known.setdefault(entry.key.text, entry)
    if first is not entry:
        report.error(entry.place, f"{shown(entry.key.text)} stands twice, first at {first.place}")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return f"cannot be read: {error}"
