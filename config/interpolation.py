"""`${VAR}` in values: filled in after the YAML is parsed, so that a variable can never add structure.

| written             | becomes                                                               |
|---------------------|-----------------------------------------------------------------------|
| `${VAR}`            | its value; an error where it is not set                               |
| `${VAR:-default}`   | its value; `default` where it is not set or empty                     |
| `${VAR:?message}`   | its value; an error with `message` where it is not set or empty       |
| `$$`                | `$`                                                                   |
| `$` before anything else | itself: `$LATEST` and `$or` need no care                         |
| any other `${`      | an error                                                              |
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from esmd.config.report import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK = re.compile(r"\$(?:\$|\{(?P<inside>[^}]*)(?P<end>\})?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<form>:-|:\?)(?P<rest>.*))?", re.DOTALL)


class InterpolationError(ValueError):
    """A variable is missing, or `${` is not followed by one of the known forms."""


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its variables filled in.

    Raises:
        InterpolationError: the sentence for the user.
    """
    return _MARK.sub(lambda mark: _replacement(mark, environ), text)


def _replacement(mark: re.Match[str], environ: Mapping[str, str]) -> str:
    inside = mark["inside"]
    if inside is None:
        return "$"
    parts = _INSIDE.fullmatch(inside)
    if parts is None or mark["end"] is None or "${" in inside:
        raise InterpolationError(
            f"cannot read {shown(mark[0])}: use ${{VAR}}, ${{VAR:-default}}, ${{VAR:?message}}, or $$ for a dollar sign"
        )
    name, form, rest = parts["name"], parts["form"], parts["rest"]
    value = environ.get(name)
    if form == ":-":
        return value or rest
    if form == ":?" and not value:
        raise InterpolationError(f"the environment variable {name} is needed: {rest or 'not set'}")
    if value is None:
        raise InterpolationError(f"the environment variable {name} is not set")
    return value
