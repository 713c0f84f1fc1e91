"""What is said about a configuration: every problem with its place, in one form.

A diagnostic reads `file:line:column: path: message`, so that editors and CI systems can jump to it. Warnings carry the
word `warning:` before the path. A hint, where there is one, follows in parentheses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Severity = Literal["error", "warning"]

MAX_DIAGNOSTICS = 200
"""Nobody reads more of them; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands.

    Attributes:
        file: as the user named it.
        line: from 1; 0 where the file as a whole is meant.
        column: in characters, from 1; 0 where the file as a whole is meant.
        path: the setting, as the file spells it: `mappings.orders.BatchSize`, `filters[0].pattern`; may be empty.
    """

    file: Path
    line: int = 0
    column: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. An error makes the configuration unusable, a warning does not.

    Attributes:
        file: as the user named it.
        line: from 1; 0 where the file as a whole is meant.
        column: in characters, from 1; 0 where the file as a whole is meant.
        path: the setting, as the file spells it; empty where no setting is meant.
        message: one line.
        hint: what to do about it; empty where the message says it.
        severity: `error` or `warning`.
    """

    file: Path
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)
        return _one_line(f"{place}: {'warning: ' if self.severity == 'warning' else ''}") + self.text

    @property
    def text(self) -> str:
        """Path, message and hint, without the place."""
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return _one_line(f"{path}{self.message}{hint}")


@dataclass(slots=True)
class Report:
    """Gathers diagnostics while files are read: the first 200 of them, and counts the rest.

    Attributes:
        diagnostics: in the order in which they were found.
        failed: whether there was an error.
        left_out: how many were not kept.
        refused: places of values that cannot be read at all, so that nothing more needs to be said about them.
    """

    diagnostics: list[Diagnostic] = field(default_factory=list)
    failed: bool = False
    left_out: int = 0
    refused: set[Place] = field(default_factory=set)

    def error(self, place: Place, message: str, *, hint: str = "") -> None:
        """Note what makes the configuration unusable."""
        self._add(place, message, hint, "error")

    def warning(self, place: Place, message: str, *, hint: str = "") -> None:
        """Note what the user should know, and that does not stop anything."""
        self._add(place, message, hint, "warning")

    def _add(self, place: Place, message: str, hint: str, severity: Severity) -> None:
        self.failed = self.failed or severity == "error"
        if self.is_full:
            self.left_out += 1
            return
        self.diagnostics.append(Diagnostic(place.file, place.line, place.column, place.path, message, hint, severity))

    @property
    def is_full(self) -> bool:
        """Whether further diagnostics are only counted."""
        return len(self.diagnostics) >= MAX_DIAGNOSTICS

    def ordered(self) -> tuple[Diagnostic, ...]:
        """All of them by place; files stay in the order in which they were read, equal lines appear once."""
        files = {each.file: None for each in self.diagnostics}
        rank = {file: index for index, file in enumerate(files)}
        unique = dict.fromkeys(self.diagnostics)
        found = sorted(unique, key=lambda each: (rank[each.file], each.line, each.column, each.path))
        if self.left_out:
            severity: Severity = "error" if self.failed else "warning"
            found.append(Diagnostic(found[-1].file, 0, 0, "", f"and {self.left_out} more", severity=severity))
        return tuple(found)


def shown(text: str, limit: int = 80) -> str:
    """`text` in double quotes, as a message quotes what the user wrote: shortened, control characters escaped."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{_one_line(short)}"'


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
