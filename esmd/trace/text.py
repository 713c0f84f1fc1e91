"""A life as text: what it is, how it stands, and a line for each event with its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.status.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.trace.life import Life

_MOST_OF_A_TEXT = 300

_MATES_SHOWN = 3

_VERBS = {
    "records.received": "received",
    "record.filtered": "filtered",
    "records.deleted": "deleted",
    "delete.failed": "not deleted",
    "visibility.failed": "visibility not changed",
    "records.released": "released",
    "records.expired": "expired",
    "batch.succeeded": "succeeded",
    "batch.failed": "failed",
    "batch.partial": "failed in part",
    "batch.delayed": "delayed",
    "batch.retrying": "will be retried",
    "batch.bisected": "split",
    "batch.discarded": "given up",
    "shard.blocked": "blocks its shard",
    "checkpoint.committed": "committed",
    "handler.timeout": "timed out",
    "handler.crashed": "crashed",
}


def timeline(life: Life) -> str:
    """All of it."""
    first = life.events[0]
    where = [f"{key} {first[key]}" for key in ("mapping", "shard", "function") if key in first]
    lines = [f"{printable(life.id)}  {printable(life.state)}", *([printable(", ".join(where))] if where else []), ""]
    for line in life.events:
        lines += _said(line, life)
    return "\n".join(lines)


def _said(line: Mapping[str, Any], life: Life) -> list[str]:
    event = line["event"]
    time = printable(str(line.get("timestamp", "")))
    if event == "handler.output":
        return [f"{time}    {line.get('stream', 'output')}: {_short(line.get('message', ''))}"]
    if event == "batch.records":
        return []  # what became of it follows, and says who was in it
    if event not in _VERBS:  # what a handler logged itself, or an event that has no words of its own
        return [
            f"{time}    {printable(event)}: {_short(line.get('error_message', line.get('exception', '')))}".rstrip(": ")
        ]
    verb = _VERBS[event]
    if event == "batch.partial" and life.kind == "record":
        verb = "succeeded" if _spared(line, life) else "failed"
    parts = _PARTS.get(event, _nothing)(line)
    if verb == "succeeded" and event == "batch.partial":
        parts = parts[:-1]  # what comes next is for those that failed
    if event in {"batch.succeeded", "batch.failed", "batch.partial"}:
        parts.append(f"request {line['request_id']}{_mates(_records_of(line, life), life)}")
    return [f"{time}  {printable(verb):<16}{printable(', '.join(parts))}".rstrip()]


def _spared(partial: Mapping[str, Any], life: Life) -> bool:
    """Whether the record was in an invocation that failed in part, and not among those that failed."""
    return life.id not in _records_of(partial, life).get("failed_ids", (life.id,))


def _records_of(outcome: Mapping[str, Any], life: Life) -> Mapping[str, Any]:
    """The line that names all records of an invocation: of one that failed, the one before it, if that was logged."""
    for line in life.events:
        if line["event"] == "batch.records" and line["request_id"] == outcome["request_id"]:
            return line
    return outcome


def _mates(line: Mapping[str, Any], life: Life) -> str:
    ids = list(line.get("ids") or ())
    others = [each for each in ids if each != life.id]
    count = line.get("records", len(ids)) - (len(ids) - len(others))
    if life.kind != "record":
        return f", {count} records: " + _named(others, count)
    return f", with {count} other{'' if count == 1 else 's'}: {_named(others, count)}" if count else ", alone"


def _named(ids: list[str], count: int) -> str:
    return ", ".join(ids[:_MATES_SHOWN]) + (" ..." if count > _MATES_SHOWN else "")


def _error(line: Mapping[str, Any]) -> list[str]:
    attempt = [f"attempt {line['attempt']}"] if "attempt" in line else []
    named = f"{line.get('error_type', '')}: {_short(line.get('error_message', ''))}"
    return [*attempt, named, *_next(line)]


def _next(line: Mapping[str, Any]) -> list[str]:
    if "next" not in line:
        return []
    following = str(line["next"]).replace("_", " ")
    delay = line.get("retry_in_s")
    return [f"next: {following}" + (f" in {delay:g} s" if isinstance(delay, int | float) and delay else "")]


def _discarded(line: Mapping[str, Any]) -> list[str]:
    where = line.get("destination")
    return [
        str(line["condition"]),
        f"{line['approximate_invoke_count']} attempts",
        f"sent to {where}" if where else "dropped",
    ]


def _received(line: Mapping[str, Any]) -> list[str]:
    others = line.get("records", 1) - 1
    return [f"with {others} other{'' if others == 1 else 's'}"] if others else ["alone"]


def _succeeded(line: Mapping[str, Any]) -> list[str]:
    return [f"attempt {line['attempt']}", f"{line['duration_ms']:g} ms"]


def _partial(line: Mapping[str, Any]) -> list[str]:
    return [f"attempt {line['attempt']}", f"{line['failed']} of {line['records']} failed", *_next(line)]


def _nothing(_: Mapping[str, Any]) -> list[str]:
    return []


_PARTS: dict[str, Any] = {
    "records.received": _received,
    "batch.succeeded": _succeeded,
    "batch.failed": _error,
    "batch.partial": _partial,
    "batch.retrying": lambda line: [f"attempt {line['attempt']} failed", f"in {line['retry_in_s']:g} s"],
    "batch.bisected": lambda line: [
        f"into {' and '.join(map(str, line['sizes']))}",
        f"at {line['at_sequence_number']}",
    ],
    "batch.discarded": _discarded,
    "batch.delayed": lambda line: [str(line["reason"])],
    "delete.failed": _error,
    "visibility.failed": _error,
    "shard.blocked": _error,
    "checkpoint.committed": lambda line: [str(line["position"])],
    "handler.timeout": lambda line: [f"after {line['timeout_s']:g} s"],
}


def _short(text: Any) -> str:
    text = printable(" ".join(str(text).split()))
    return text if len(text) <= _MOST_OF_A_TEXT else f"{text[:_MOST_OF_A_TEXT]}..."
