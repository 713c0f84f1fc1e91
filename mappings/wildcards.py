r"""The `wildcard` operator: text in which `*` stands for anything, also for nothing.

| in the wildcard       | means                                                        |
|-----------------------|--------------------------------------------------------------|
| `*`                   | any text, also none                                          |
| `\*`, `\\`            | a star, a backslash                                          |
| `\` before others     | invalid                                                      |
| `**`                  | invalid: one star already spans anything                     |
| more than five stars  | invalid: EventBridge calls six too complex [specification C.4] |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_STARS = 5


def compile_wildcard(text: str) -> Callable[[str], bool]:
    """The test of one wildcard; its time grows with the length of the value, never faster.

    Raises:
        ValueError: the wildcard is invalid; the text of the error says why.
    """
    pieces = _pieces(text)
    if len(pieces) == 1:
        return lambda value: value == pieces[0]
    first, *middle, last = pieces

    def test(value: str) -> bool:
        if not value.startswith(first):
            return False
        # Each piece at its first place leaves the most room for the others, so no way back is ever needed.
        at = len(first)
        for piece in middle:
            at = value.find(piece, at)
            if at < 0:
                return False
            at += len(piece)
        return len(value) - len(last) >= at and value.endswith(last)

    return test


def _pieces(text: str) -> list[str]:
    """The literal texts between the stars, with escapes resolved."""
    pieces = [""]
    characters = iter(text)
    after_star = False
    for character in characters:
        if character == "*":
            if after_star:
                raise ValueError('"**" is not a wildcard: one star already spans anything')
            pieces.append("")
            after_star = True
            continue
        after_star = False
        literal = character
        if character == "\\":
            literal = next(characters, "")
            if literal not in ("*", "\\"):
                raise ValueError(r"in a wildcard a backslash stands only before a star or a backslash: \* or \\")
        pieces[-1] += literal
    if len(pieces) - 1 > MAX_STARS:
        raise ValueError(f"the wildcard is too complex: it has more than {MAX_STARS} stars")
    return pieces
