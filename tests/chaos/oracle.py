"""What must be true at the end of a chaos run, whatever has happened. Pure: it is given what was sent and what came of it.

| claim                                                                            | finding         |
|----------------------------------------------------------------------------------|-----------------|
| what was sent was processed, or is in the dead-letter queue or the destination    | `lost`          |
| nothing else was processed                                                       | `invented`      |
| what always fails was never processed                                            | `poison`        |
| of each key of an ordered source, numbers were first processed in ascending order | `disorder`      |
| what was processed twice had a fault in between, or shortly before                | `unexplained`   |
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that the server has accepted. `n` is unique within its source."""

    key: str
    n: int
    wish: str


@dataclass(frozen=True, slots=True)
class Done:
    """A record that a handler has processed, and when (epoch seconds)."""

    key: str
    n: int
    at: float


@dataclass(slots=True)
class Verdict:
    """What was found of one mapping.

    Attributes:
        sent: records.
        processed: different ones.
        given_up: different ones, in a dead-letter queue or destination.
        duplicates: times that a processed record was processed again.
        findings: every broken claim, for a person.
    """

    sent: int = 0
    processed: int = 0
    given_up: int = 0
    duplicates: int = 0
    findings: list[str] = field(default_factory=list)


class Faults:
    """When something was amiss: spans of time (epoch seconds), each with what still follows from it for a while.

    Args:
        aftermath: seconds after a span's end for which it still explains what is seen.
    """

    def __init__(self, *, aftermath: float) -> None:
        self._aftermath = aftermath
        self._spans: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        """Note a span."""
        self._spans.append((start, end))

    def explain(self, first: float, again: float) -> bool:
        """Whether one was under way, or has just been, between two times."""
        return any(start <= again and first <= end + self._aftermath for start, end in self._spans)


def judge(
    name: str,
    sent: Sequence[Sent],
    done: Iterable[Done],
    given_up: Iterable[int],
    *,
    ordered: bool,
    faults: Faults,
) -> Verdict:
    """Compare what was sent to one mapping with what came of it.

    Args:
        name: for the findings.
        sent: all records that were accepted.
        done: what handlers have written down, in its order.
        given_up: numbers of records in the dead-letter queue or destination.
        ordered: whether the source keeps the order of a key.
        faults: when there were any.
    """
    verdict, wanted = Verdict(sent=len(sent)), {each.n: each for each in sent}
    gone = set(given_up)
    firsts: dict[int, float] = {}
    order: dict[str, list[int]] = defaultdict(list)
    for each in done:
        if each.n not in wanted:
            verdict.findings.append(f"{name}: invented: {each.n} of {each.key} was never sent")
        elif wanted[each.n].wish == "poison":
            verdict.findings.append(f"{name}: poison: {each.n} cannot have been processed")
        elif each.n in firsts:
            verdict.duplicates += 1
            if not faults.explain(firsts[each.n], each.at):
                verdict.findings.append(f"{name}: unexplained: {each.n} of {each.key} came twice, {_gap(firsts, each)}")
        else:
            firsts[each.n] = each.at
            order[each.key].append(each.n)
    verdict.processed, verdict.given_up = len(firsts), len(gone)
    lost = sorted(wanted.keys() - firsts.keys() - gone)
    if lost:
        verdict.findings.append(f"{name}: lost: {len(lost)} of {len(sent)}, the first {lost[:10]}")
    if ordered:
        verdict.findings += _disorder(name, order)
    return verdict


def _gap(firsts: Mapping[int, float], again: Done) -> str:
    return f"{again.at - firsts[again.n]:.3f} s apart"


def _disorder(name: str, order: Mapping[str, Sequence[int]]) -> list[str]:
    findings = []
    for key, numbers in order.items():
        wrong = next(((a, b) for a, b in itertools.pairwise(numbers) if a > b), None)
        if wrong is not None:
            findings.append(f"{name}: disorder: of {key}, {wrong[0]} was processed before {wrong[1]}")
    return findings
