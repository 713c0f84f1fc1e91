"""A snapshot as a full screen of `esmd top`: what fits, the most urgent first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from esmd.status import words
from esmd.status.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from esmd.status.model import MappingStatus, Snapshot

_STYLES: dict[words.Mood, str] = {"good": "green", "bad": "bold red", "busy": "yellow", "off": "dim"}

_SPARK = 20
_WIDE = 110
"""Columns from which on there is room for the rows of bars."""

_NARROW = 80
"""Columns below which only the mappings are shown, and of them only what matters most."""

_FUNCTIONS = 6
_SHARDS = 8
_FAILURES = 5


def screen(
    snapshot: Snapshot, *, width: int, height: int, ascii_only: bool = False, trouble: str | None = None
) -> RenderableType:
    """What a terminal of that size shows. `trouble`: why it is not of now.

    `ascii_only` is for a terminal that knows no other characters.
    """
    parts: list[RenderableType] = [_title(snapshot, trouble)]
    left = height - 2
    lower: list[RenderableType] = []
    for part, lines in (
        (_blocked(snapshot), min(_SHARDS, sum(len(m.blocked) for m in snapshot.mappings))),
        (_functions(snapshot), min(_FUNCTIONS, len(snapshot.functions))),
        (_failures(snapshot), min(_FAILURES, len(snapshot.failures))),
    ):
        # Mappings are what it is about: of what is below them only as much as leaves them half of the screen.
        if part is not None and width >= _NARROW and left - (lines + 2) >= height // 2:
            lower.append(part)
            left -= lines + 2
    parts.append(_mappings(snapshot, most=max(1, left - 3), width=width, ascii_only=ascii_only))
    return Group(*parts, *lower)


def _title(snapshot: Snapshot, trouble: str | None) -> Text:
    daemon = snapshot.daemon
    title = Text(f"esmd {daemon.version}", style="bold", no_wrap=True, overflow="ellipsis")
    title.append(f"  pid {daemon.pid}  up {words.duration(daemon.uptime_s)}  {printable(daemon.endpoint)}", style="dim")
    if daemon.draining:
        title.append("  draining", style="yellow")
    if trouble is not None:
        title.append(f"  seen {words.moment(snapshot.at)}: {printable(trouble)}", style="bold red")
    return title


def _table(*columns: str) -> Table:
    """Columns whose title begins with `>` hold numbers."""
    table = Table(box=None, expand=True, pad_edge=False, header_style="reverse")
    for column in columns:
        table.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            min_width=len(column.removeprefix(">")),
            no_wrap=True,
            overflow="ellipsis",
        )
    return table


def _mappings(snapshot: Snapshot, *, most: int, width: int, ascii_only: bool) -> Table:
    columns = ["MAPPING", "STATE", ">INVOKED/S", ">RECV/S", ">FAILED/S", ">BEHIND", ">RUNNING"]
    sparks, shown = width >= _WIDE, len(columns) if width >= _NARROW else 3
    table = _table(*columns[:shown], *(["INVOKED, LAST SECONDS"] if sparks else []))
    # Those in trouble first, then the busiest: what does not fit is what nobody needs to see.
    ordered = sorted(snapshot.mappings, key=lambda m: (not m.in_trouble, -m.pace.last_10_s.invoked))
    for mapping in ordered[:most]:
        table.add_row(*_row(mapping)[:shown], *([_spark(mapping, ascii_only=ascii_only)] if sparks else []))
    if len(ordered) > most:
        table.add_row(Text(f"and {len(ordered) - most} more", style="dim"))
    return table


def _row(mapping: MappingStatus) -> list[Text]:
    rates = mapping.pace.last_10_s
    return [
        Text(printable(mapping.name), style="bold"),
        Text(words.state(mapping), style=_STYLES[words.mood(mapping)]),
        Text(words.rate(rates.invoked)),
        Text(words.rate(rates.received)),
        Text(words.rate(rates.failed), style="red" if rates.failed else ""),
        Text(words.behind(mapping)),
        Text(f"{mapping.in_flight}/{mapping.concurrency}"),
    ]


def _spark(mapping: MappingStatus, *, ascii_only: bool) -> Text:
    return Text(words.spark(mapping.pace.invoked, width=_SPARK, ascii_only=ascii_only), style="cyan")


def _blocked(snapshot: Snapshot) -> RenderableType | None:
    found = [(mapping, shard) for mapping in snapshot.mappings for shard in mapping.blocked]
    if not found:
        return None
    table = _table("BLOCKED SHARD", ">RECORDS", ">ATTEMPTS", ">FOR", "NEXT", "ERROR")
    for mapping, shard in found[:_SHARDS]:
        blocked = shard.blocked
        assert blocked is not None  # noqa: S101 - it is among the blocked
        table.add_row(
            Text(printable(f"{mapping.name} {shard.shard}")),
            str(blocked.records),
            str(blocked.attempts),
            words.duration(snapshot.at - blocked.since),
            "now" if blocked.retry_at is None else words.next_try(blocked.retry_at, snapshot.at),
            Text(printable(f"{blocked.error_type}: {blocked.error_message}"), style="red"),
        )
    return Group(Text(), table)


def _functions(snapshot: Snapshot) -> RenderableType | None:
    if not snapshot.functions:
        return None
    table = _table(
        "FUNCTION", ">RUNNING", ">ENVIRONMENTS", ">INVOCATIONS", ">ERRORS", ">THROTTLES", ">MEAN", ">LONGEST"
    )
    busiest = sorted(snapshot.functions, key=lambda each: (-each.busy, -each.invocations))
    for each in busiest[:_FUNCTIONS]:
        table.add_row(
            Text(printable(each.name)),
            f"{each.busy}/{each.limit}",
            words.number(each.environments),
            words.number(each.invocations),
            words.number(each.errors),
            words.number(each.throttles),
            words.milliseconds(each.duration_avg_ms),
            words.milliseconds(each.duration_max_ms if each.invocations else None),
        )
    return Group(Text(), table)


def _failures(snapshot: Snapshot) -> RenderableType | None:
    if not snapshot.failures:
        return None
    table = _table("WHEN", "FAILURE", "OF", "ERROR")
    for each in snapshot.failures[:_FAILURES]:
        error = ": ".join(str(each.fields[key]) for key in ("error_type", "error_message") if key in each.fields)
        table.add_row(
            words.ago(each.at, snapshot.at),
            Text(each.event, style="red" if each.level == "error" else "yellow"),
            Text(printable(each.mapping or each.function or "")),
            Text(printable(error)),
        )
    return Group(Text(), table)
