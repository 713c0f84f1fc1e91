"""Compares what was seen of a scenario with what AWS was recorded to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_OF_RECORD = ("condition", "approximateInvokeCount", "batchSize", "functionError")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fact; see scenarios.yaml."""

    name: str
    fact: str
    source: str
    handler: dict[str, Any]
    send: list[dict[str, Any]]
    expect: dict[str, Any]
    mapping: dict[str, Any] = field(default_factory=dict)
    queue: dict[str, Any] = field(default_factory=dict)
    together: bool = False
    """Whether the messages have to come in one batch, and so are sent in one call before anybody polls."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of it.

    Attributes:
        journal: the lines of the handler.
        left: messages in the queue, hidden ones included; None for streams.
        dead: the numbers of the messages in the dead-letter queue.
        destination: the failure records.
    """

    journal: list[dict[str, Any]]
    left: int | None
    dead: list[int]
    destination: list[dict[str, Any]]

    @property
    def invocations(self) -> list[dict[str, Any]]:
        """The lines of invocations."""
        return [line for line in self.journal if "records" in line]


def differences(expect: dict[str, Any], seen: Seen) -> list[str]:
    """Every expectation that does not hold, for a person; empty if all do."""
    found = []
    batches = [line["records"] for line in seen.invocations]
    flat = [n for batch in batches for n in batch]
    for claim, wanted in expect.items():
        match claim:
            case "invocations":
                actual: Any = batches
            case "most_invocations":
                actual = max(wanted, len(batches))
            case "attempts":
                # Nothing else may have come either.
                actual = {n: flat.count(n) for n in wanted}
                if expect.get("most_invocations") is None and set(flat) - set(wanted):
                    actual |= {n: flat.count(n) for n in flat}
            case "receive_counts":
                actual = [line["receive_counts"] for line in seen.invocations]
            case "order":
                actual = [list(dict.fromkeys(n for n in flat if n in set(each))) for each in wanted]
            case "overlap":
                actual = _most_at_once(seen.journal)
            case "left":
                actual = seen.left
            case "dead":
                actual = sorted(seen.dead)
            case "destination":
                actual = [_told(record) for record in seen.destination]
            case "absent":
                first = seen.invocations[0]["first"] if seen.invocations else None
                actual = [name for name in wanted if first is not None and name not in first]
            case "present":
                first = seen.invocations[0]["first"] if seen.invocations else {}
                actual = {name: first.get(name, "(absent)") for name in wanted}
            case "event":
                actual = [name for name in wanted if seen.invocations and name in seen.invocations[0]["event"]]
            case _:
                raise ValueError(f"no such claim: {claim}")
        if actual != wanted:
            found.append(f"{claim}: {actual!r} instead of {wanted!r}")
    return found


def _told(record: dict[str, Any]) -> dict[str, Any]:
    info = record.get("KinesisBatchInfo") or record.get("DDBStreamBatchInfo") or {}
    flat = {**record.get("requestContext", {}), **record.get("responseContext", {}), **info}
    return {name: flat.get(name) for name in _OF_RECORD}


def _most_at_once(journal: list[dict[str, Any]]) -> int:
    """The most invocations under way at one moment."""
    moves = [(line["at"], 1) for line in journal if "records" in line] + [
        (x["ended"], -1) for x in journal if "ended" in x
    ]
    most = now = 0
    for _, step in sorted(moves):
        now += step
        most = max(most, now)
    return most
