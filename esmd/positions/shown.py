"""Positions as lines for a person."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esmd.positions.change import Planned
    from esmd.state.position import Position
    from esmd.state.protocol import ShardProgress, Stored

_GAP = "  "


def position_text(position: Position | None) -> str:
    """A position; times as UTC."""
    if position is None:
        return "nothing"
    if position.timestamp is not None:
        return f"at {time_text(position.timestamp)}"
    return str(position)


def time_text(moment: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago_text(seconds: float) -> str:
    """How long ago something was, in one unit."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def trouble_text(progress: ShardProgress) -> str:
    """What the failing batches of a shard are, as far as they are stored: attempts, records, and the last error."""
    parts = [part for part in _parts(progress.trouble) if part.get("failure")]
    if not parts:
        return "-"
    attempts = max(part["attempts"] for part in parts)
    records = sum(part["records"] for part in parts)
    error = parts[0]["failure"].get("type") or "failed"
    return f"{error}: {_count(records, 'record')}, {_count(attempts, 'attempt')}"


def window_text(progress: ShardProgress) -> str:
    """The open tumbling window: when it began, and its records."""
    try:
        window = json.loads(progress.window or "{}").get("open")
        return "-" if window is None else f"{time_text(window['start'])}, {_count(window['records'], 'record')}"
    except (ValueError, KeyError, AttributeError, TypeError, OSError):
        return "cannot be read"


def stored_lines(mapping: str, stored: Stored, *, now: float) -> Iterator[str]:
    """A table of the shards of a mapping."""
    yield f"{mapping}: {stored.identity.arn}"
    rows = [
        (
            each.shard_id,
            position_text(each.position),
            ago_text(now - each.updated_at),
            trouble_text(each),
            window_text(each),
        )
        for _, each in sorted(stored.shards.items())
    ]
    yield from table(("shard", "position", "stored", "trouble", "window"), rows)


PLANNED = ("shard", "from", "to", "meaning")
"""Titles of `planned_rows`."""


def planned_rows(planned: Planned) -> list[tuple[str, str, str, str]]:
    """What moves: the shard, from where, where to, and what comes of it."""
    return [
        (
            move.after.shard_id,
            position_text(None if move.before is None else move.before.position),
            position_text(move.after.position),
            move.meaning,
        )
        for move in planned.moves
    ]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they need."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield (_GAP + _GAP.join(cells)).rstrip()


def _parts(trouble: str | None) -> list[dict[str, Any]]:
    """The parts of all failing batches; none where that cannot be read: whoever wrote it was another version."""
    try:
        batches = json.loads(trouble or "{}").get("batches", {})
        return [part for batch in batches.values() for part in batch["parts"]]
    except (ValueError, KeyError, AttributeError, TypeError):
        return []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
