"""What an import finds, whatever it reads: functions and mappings as a configuration spells them, and what to say about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.config.report import shown

if TYPE_CHECKING:
    from collections.abc import Container

    from esmd.config.report import Place

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFunction:
    """A function.

    Attributes:
        name: in the configuration.
        settings: as the configuration spells them.
        notes: what its reader should know; each becomes a comment.
        place: where it stands in what was read.
    """

    name: str
    settings: dict[str, Any]
    place: Place
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedMapping:
    """A mapping; attributes as those of a function."""

    name: str
    settings: dict[str, Any]
    place: Place
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Imported:
    """All that was found, in the order of what was read."""

    functions: list[ImportedFunction] = field(default_factory=list)
    mappings: list[ImportedMapping] = field(default_factory=list)
    aws: dict[str, Any] = field(default_factory=dict)

    def used_functions(self) -> list[ImportedFunction]:
        """Those that a mapping invokes."""
        used = {mapping.settings["function_name"] for mapping in self.mappings}
        return [function for function in self.functions if function.name in used]


class Refused(Exception):  # noqa: N818 - a value that is not imported, and no error of the program
    """Something cannot be known here, or not be imported.

    Attributes:
        place: where it stands.
        message: what, for the user.
        hint: what to do about it.
    """

    def __init__(self, place: Place, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.hint = hint


def name_for(text: str, taken: Container[str]) -> str:
    """A mapping's name made of `text`, that no other one has: letters, digits, hyphens, underscores and dots, 64 at most."""
    base = _NOT_IN_NAMES.sub("-", text).strip("-")[:_LONGEST_NAME] or "mapping"
    name, number = base, 1
    while name in taken:
        number += 1
        suffix = f"-{number}"
        name = base[: _LONGEST_NAME - len(suffix)] + suffix
    return name


def function_key(text: str, place: Place) -> str:
    """The name of a function, checked.

    Raises:
        Refused: no function can have that name.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise Refused(
            place, f"a function's name must be 1 to 64 letters, digits, hyphens or underscores, not {shown(text)}"
        )
    return text
