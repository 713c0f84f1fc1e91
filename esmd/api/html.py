"""HTML that cannot be broken by what it shows: text becomes markup only through `tag`, which escapes it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_VOID = frozenset({"meta", "br", "polyline", "rect", "link"})


class Html(str):
    """Markup that is safe as it is: made by `tag` and `joined`, or a literal of ours."""

    __slots__ = ()


Child = str | None
"""A string is text and will be escaped, unless it is `Html`. None is nothing."""


def tag(name: str, /, *children: Child | Iterable[Child], **attributes: str | float | bool | None) -> Html:
    """An element. Names of attributes: `class_` is `class`, `_` is `-`; False and None leave one out, True has no value."""
    text = "".join(
        f" {_attribute(key)}" if value is True else f' {_attribute(key)}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{text}>" if name not in {"polyline", "rect"} else f"<{name}{text}/>")
    return Html(f"<{name}{text}>{joined(*children)}</{name}>")


def joined(*children: Child | Iterable[Child]) -> Html:
    """One after the other."""
    parts = []
    for child in children:
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(escape(child))
        elif child is not None:
            parts.append(joined(*child))
    return Html("".join(parts))


def table(caption: Child, headers: Sequence[tuple[str, str]], rows: Iterable[Sequence[Child]]) -> Html:
    """A table whose first column names its rows.

    Args:
        caption: what it is of.
        headers: title and class of each column. On a narrow screen, where rows are no rows any more, each cell has its title.
        rows: cells.
    """
    head = tag("tr", [tag("th", title, scope="col", class_=kind or None) for title, kind in headers])
    body = [
        tag(
            "tr",
            [
                tag("th", cell, scope="row", class_=kind or None)
                if number == 0
                else tag("td", cell, class_=kind or None, data_label=headers[number][0])
                for number, (cell, (_, kind)) in enumerate(zip(row, headers, strict=True))
            ],
        )
        for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body))
    # What is wider than the page is scrolled in its own place, also with the keyboard.
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)


def sparkline(values: Sequence[float], failed: Sequence[float], *, label: str) -> Html:
    """A line of one value a second, and under it marks where something failed."""
    width, height = 150, 28
    most = max([*values, 1])
    step = width / max(1, len(values) - 1)
    points = [(n * step, height - 2 - (height - 4) * value / most) for n, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = [
        tag("rect", x=f"{max(0.0, n * step - 1):.1f}", y=height - 5, width=2.5, height=5, class_="mark")
        for n, value in enumerate(failed)
        if value
    ]
    area = f"0,{height} {line} {width},{height}" if points else ""
    return tag(
        "svg",
        tag("polyline", points=area, class_="area"),
        tag("polyline", points=line, class_="line"),
        marks,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        class_="spark",
    )


def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")
