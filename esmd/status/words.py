"""Numbers, times and states in few words, as people read them: in the terminal and on the web page."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.status.model import Backlog, MappingStatus, ShardStatus

Mood = Literal["good", "bad", "busy", "off"]
"""How a state is to be taken: all is well, somebody should look, something is under way, nothing is meant to run."""

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=*#"


def mood(mapping: MappingStatus) -> Mood:
    """How a mapping's state is to be taken."""
    if mapping.in_trouble:
        return "bad"
    if mapping.paused or mapping.state == "Disabled":
        return "off"
    return "good" if mapping.state == "Enabled" else "busy"


def state(mapping: MappingStatus) -> str:
    """AWS's state, and what it does not say."""
    if mapping.reason is not None:
        return f"{mapping.state}, unavailable"
    if mapping.blocked:
        return f"{mapping.state}, blocked"
    return f"{mapping.state}, paused" if mapping.paused else mapping.state


def number(value: float | None) -> str:
    """A count: in full below a hundred thousand, then with three digits and a letter."""
    if value is None:
        return "-"
    if abs(value) < 100_000:
        return f"{value:,.0f}"
    for letter, size in (("k", 1e3), ("M", 1e6)):
        if abs(value) < 999.5 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value / 1e9:,.3g}G" if abs(value) < 1e12 else f"{value / 1e9:,.0f}G"


def rate(value: float) -> str:
    """Per second: with a decimal below a hundred; `-` for nothing, `<0.1` for hardly anything."""
    if value == 0:
        return "-"
    if value < 0.1:
        return "<0.1"
    return f"{value:.1f}" if value < 100 else number(value)


def duration(seconds: float | None) -> str:
    """The two largest units: `3d 4h`, `2m 5s`, `1.5s`, `20ms`."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for (size, unit), (smaller, small_unit) in (
        ((86_400, "d"), (3_600, "h")),
        ((3_600, "h"), (60, "m")),
        ((60, "m"), (1, "s")),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{unit} {rest}{small_unit}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def milliseconds(value: float | None) -> str:
    """As `duration`, of milliseconds."""
    return duration(None if value is None else value / 1000)


def ago(at: float, now: float) -> str:
    """How long something is past."""
    return "now" if now - at < 1 else f"{duration(now - at)} ago"


def moment(at: float) -> str:
    """A time of day, UTC, as logs have it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def backlog(value: Backlog | None) -> str:
    """What waits in a queue, and what was received and not deleted."""
    if value is None:
        return "-"
    return "?" if value.visible is None else number(value.visible)


def behind(mapping: MappingStatus) -> str:
    """How far a mapping is behind: of a queue the messages, of a stream the age of the oldest of what it sent last."""
    return backlog(mapping.backlog) if mapping.source == "sqs" else milliseconds(mapping.iterator_age_ms)


def shard_state(shard: ShardStatus) -> str:
    """What a shard is doing."""
    if shard.blocked is not None:
        return "blocked"
    return "caught up" if shard.caught_up else "reading"


def next_try(retry_at: float | None, now: float) -> str:
    """When a blocked shard's batch is invoked again."""
    if retry_at is None:
        return "now, or waiting for a place in the function"
    return f"in {duration(max(0.0, retry_at - now))}"


def spark(values: Sequence[float], *, width: int, ascii_only: bool = False) -> str:
    """The latest `width` values as a row of bars, the highest as high as can be; nothing is a space."""
    bars = _ASCII_BARS if ascii_only else _BARS
    shown = list(values)[-width:]
    most = max(shown, default=0)
    cells = [" " if value <= 0 else bars[min(len(bars) - 1, int(value / most * len(bars)))] for value in shown]
    return "".join(cells).rjust(width)
