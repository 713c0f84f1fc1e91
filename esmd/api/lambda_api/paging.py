"""`Marker` and `MaxItems`: a list in pages that stay right while the list changes.

A list is sorted by its keys, and a marker is the last key of the page before. What goes meanwhile is not missed, and
nothing comes twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from esmd.api.lambda_api.errors import LambdaError, constraint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_Item = TypeVar("_Item")

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def page(
    items: Iterable[_Item], query: Mapping[str, str], *, key: Callable[[_Item], str], most: int
) -> tuple[list[_Item], str | None]:
    """One page, and the marker of the next; None where this is the last.

    Args:
        items: all of them.
        query: of the request.
        key: what sorts them; no two have the same.
        most: what a page holds at most, whatever is asked for.

    Raises:
        LambdaError: `MaxItems` is no number from 1 to 10,000.
    """
    size = min(_max_items(query.get("MaxItems")), most)
    after = query.get("Marker", "")
    left = sorted((item for item in items if key(item) > after), key=key)
    return left[:size], key(left[size - 1]) if len(left) > size else None


def _max_items(text: str | None) -> int:
    if text is None:
        return 10_000
    if not _WHOLE.fullmatch(text):
        raise LambdaError("SerializationException", "STRING_VALUE can not be converted to an Integer")
    number = int(text)
    if number < 1:
        raise constraint(f"'{number}'", "maxItems", "Member must have value greater than or equal to 1")
    if number > 10_000:
        raise constraint(f"'{number}'", "maxItems", "Member must have value less than or equal to 10000")
    return number
