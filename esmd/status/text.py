"""A snapshot as text for a terminal: aligned columns, colours only where they are asked for, nothing that could steer it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from esmd.status import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esmd.status.model import Failure, FunctionStatus, MappingStatus, ShardStatus, Snapshot

_COLOURS = {"good": "green", "bad": "red", "busy": "yellow", "off": "bright_black"}

_FAILURES_SHOWN = 5
_MOST_OF_AN_ERROR = 200


def overview(snapshot: Snapshot) -> str:
    """All mappings, a line for each; below it what keeps those that are in trouble."""
    lines = [_daemon(snapshot), ""]
    if not snapshot.mappings:
        return "\n".join([*lines, "There is no mapping."])
    headers = (
        "MAPPING",
        "STATE",
        "SOURCE",
        "FUNCTION",
        ">RECEIVED/S",
        ">INVOKED/S",
        ">FAILED/S",
        ">BEHIND",
        ">UNDER WAY",
    )
    rows = [_row(mapping) for mapping in snapshot.mappings]
    lines += table(headers, rows)
    troubles = [line for mapping in snapshot.mappings for line in _troubles(mapping, snapshot.at)]
    if troubles:
        lines += ["", *troubles]
    return "\n".join(lines)


def details(snapshot: Snapshot, mapping: MappingStatus) -> str:
    """Everything of one mapping, of its function, and what failed lately."""
    now = snapshot.at
    colour = _COLOURS[words.mood(mapping)]
    lines = [
        f"{printable(mapping.name)}  {click.style(words.state(mapping), fg=colour)}",
        *_troubles(mapping, now),
        "",
        *_pairs(_facts(mapping, now)),
        "",
        *table(
            ("", *(f">{name.upper()}" for name in _COUNTED)),
            [
                ("total", *(words.number(getattr(mapping.totals, name)) for name in _COUNTED)),
                ("per second, 10 s", *(words.rate(getattr(mapping.pace.last_10_s, name)) for name in _COUNTED)),
                ("per second, 60 s", *(words.rate(getattr(mapping.pace.last_60_s, name)) for name in _COUNTED)),
            ],
        ),
    ]
    if mapping.shards:
        headers = ("SHARD", "STATE", ">ITERATOR AGE", ">BEHIND LATEST", ">UNRESOLVED", "STORED POSITION")
        lines += ["", *table(headers, [_shard(shard) for shard in mapping.shards])]
    function = next((each for each in snapshot.functions if each.name == mapping.function), None)
    if function is not None:
        lines += ["", *_pairs(_of_function(function))]
    failures = [each for each in snapshot.failures if mapping.concerned_by(each.mapping, each.function)]
    for failure in failures[:_FAILURES_SHOWN]:
        lines += ["", *_failure(failure, now)]
    return "\n".join(lines)


_COUNTED = ("received", "filtered", "invoked", "failed", "deleted", "discarded")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned columns; a header that begins with `>` is one of numbers, at the right. Cells may be styled."""
    titles = [header.removeprefix(">") for header in headers]
    cells = [titles, *([*row] for row in rows)]
    widths = [max(len(click.unstyle(row[n])) for row in cells) for n in range(len(titles))]
    lines = []
    for row in cells:
        padded = []
        for cell, header, width in zip(row, headers, widths, strict=True):
            blank = " " * (width - len(click.unstyle(cell)))
            padded.append(blank + cell if header.startswith(">") else cell + blank)
        lines.append("  ".join(padded).rstrip())
    return lines


def printable(text: str) -> str:
    """Text on one line that cannot steer a terminal: what is no character to see is written as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _daemon(snapshot: Snapshot) -> str:
    daemon = snapshot.daemon
    parts = [f"esmd {daemon.version}", f"pid {daemon.pid}", f"up {words.duration(daemon.uptime_s)}"]
    if daemon.processes > 1:
        parts.append(f"{daemon.processes} processes")
    parts.append(daemon.endpoint if daemon.region is None else f"{daemon.endpoint} ({daemon.region})")
    if daemon.missing:
        parts.append(f"without process {', '.join(map(str, daemon.missing))}, which did not answer")
    if daemon.draining:
        parts.append("draining")
    return printable(", ".join(parts))


def _row(mapping: MappingStatus) -> tuple[str, ...]:
    rates = mapping.pace.last_10_s
    failed = words.rate(rates.failed)
    return (
        printable(mapping.name),
        click.style(words.state(mapping), fg=_COLOURS[words.mood(mapping)]),
        mapping.source,
        printable(mapping.function),
        words.rate(rates.received),
        words.rate(rates.invoked),
        click.style(failed, fg="red") if rates.failed else failed,
        words.behind(mapping),
        f"{mapping.in_flight}/{mapping.concurrency}",
    )


def _troubles(mapping: MappingStatus, now: float) -> list[str]:
    lines = []
    name = printable(mapping.name)
    if mapping.reason is not None:
        lines.append(f"{name}: {printable(mapping.reason)}")
    for shard in mapping.blocked:
        blocked = shard.blocked
        assert blocked is not None  # noqa: S101 - it is among the blocked
        error = printable(f"{blocked.error_type}: {blocked.error_message}"[:_MOST_OF_AN_ERROR])
        lines.append(f"{name}: {printable(shard.shard)} is blocked by {error}")
        lines.append(
            f"  {blocked.records} records, {blocked.first_sequence_number} to {blocked.last_sequence_number}; "
            f"{blocked.attempts} attempts in {words.duration(now - blocked.since)}; "
            f"next: {words.next_try(blocked.retry_at, now)}"
        )
    return lines


def _facts(mapping: MappingStatus, now: float) -> list[tuple[str, str]]:
    error = mapping.last_error
    facts = [
        ("source", mapping.source_arn),
        ("function", mapping.function),
        ("UUID", mapping.uuid),
        ("written in", mapping.file or "the API"),
        ("last result", mapping.last_result),
        ("under way", f"{mapping.in_flight} of {mapping.concurrency} batches, {mapping.pollers} pollers"),
        ("retries", words.number(mapping.totals.retries)),
    ]
    if (waiting := mapping.backlog) is not None:
        text = waiting.reason or (
            f"{words.number(waiting.visible)} visible, {words.number(waiting.not_visible)} received and not deleted, "
            f"{words.number(waiting.delayed)} delayed"
        )
        facts.append(("backlog", text))
    if mapping.iterator_age_ms is not None:
        facts.append(("iterator age", words.milliseconds(mapping.iterator_age_ms)))
    if error is not None:
        what = f"{error.error_type}: {error.error_message}"[:_MOST_OF_AN_ERROR]
        facts.append(("last error", f"{what} ({words.ago(error.at, now)})"))
    return facts


def _of_function(function: FunctionStatus) -> list[tuple[str, str]]:
    environments = "" if function.environments is None else f", {function.environments} environments"
    counts = (
        f"invocations {words.number(function.invocations)}, errors {words.number(function.errors)}, "
        f"throttles {words.number(function.throttles)}; mean {words.milliseconds(function.duration_avg_ms)}, "
        f"longest {words.milliseconds(function.duration_max_ms if function.invocations else None)}"
    )
    return [
        (f"function {function.name}", f"{function.busy} of {function.limit} running{environments}"),
        ("", counts),
    ]


def _shard(shard: ShardStatus) -> tuple[str, ...]:
    state = words.shard_state(shard)
    return (
        printable(shard.shard),
        click.style(state, fg="red") if shard.blocked is not None else state,
        words.milliseconds(shard.iterator_age_ms),
        words.milliseconds(shard.millis_behind_latest),
        words.number(shard.outstanding),
        printable(shard.position),
    )


def _failure(failure: Failure, now: float) -> list[str]:
    fields = " ".join(
        f"{key}={value if isinstance(value, str | int | float) else json.dumps(value)}"
        for key, value in failure.fields.items()
        if key not in {"mapping", "function", "stack"}
    )
    title = f"{words.ago(failure.at, now)}: {failure.event}"
    lines = [f"  {line.stream}: {printable(line.message)}" for line in failure.lines]
    return [click.style(title, fg="red" if failure.level == "error" else "yellow"), f"  {printable(fields)}", *lines]


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in pairs)
    return [f"{printable(name):{width}}  {printable(text)}".rstrip() for name, text in pairs]
