"""Figures of interleaved rounds: medians, and the ratio of each row to the first one, round by round.

Other work on the machine slows a whole round, so the ratio of two rows of one round says more than either figure: shown is
the median of these ratios with its least and greatest.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS = {
    "us": "us",
    "all_us": "us, all processes",
    "rate": "per s",
    "server": "fake busy",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_percent": "% of a core",
    "memory_mb": "MB",
    "start_s": "s",
    "drain_s": "s",
    "receive_us": "ReceiveMessage, us",
    "delete_us": "DeleteMessageBatch, us",
    "read_100_us": "GetRecords of 100, us",
    "read_1000_us": "GetRecords of 1,000, us",
}
"""Heading of each figure."""

MORE_IS_BETTER = frozenset({"rate"})
"""Figures of which more is better; of all others less."""

SERVER_BOUND = 0.9
"""Where the fake was busy for more of the time than this, the row is about the fake."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of some values."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True, kw_only=True)
class Table:
    """What one scenario gave.

    Attributes:
        name: of the scenario.
        title: of the table.
        compared: the figures whose ratios are shown; the first is the one that matters most.
        shown: the figures with a column.
        rows: figures of each row, a dict for each round; the first row is what the others are compared with.
        notes: rows that are left out, and why.
    """

    name: str
    title: str
    compared: tuple[str, ...]
    shown: tuple[str, ...]
    rows: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, row: str, figures: dict[str, float]) -> None:
        """One more round of a row."""
        self.rows.setdefault(row, []).append(figures)

    def figure(self, row: str, name: str) -> float | None:
        """The median of a figure; None if it was not measured."""
        values = [figures[name] for figures in self.rows.get(row, ())]
        return statistics.median(values) if values else None

    def ratio(self, row: str, *, to: str | None = None, figure: str | None = None) -> Spread | None:
        """How many times worse than `to` (the first row) a row is, in one figure (the first compared one).

        None if either row was not measured.
        """
        name = figure or self.compared[0]
        base = self.rows.get(to or next(iter(self.rows), ""), ())
        pairs = [(mine[name], theirs[name]) for mine, theirs in zip(self.rows.get(row, ()), base, strict=False)]
        if name in MORE_IS_BETTER:
            pairs = [(theirs, mine) for mine, theirs in pairs]
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return Spread.of(ratios) if ratios else None

    def markdown(self) -> str:
        """The table as text."""
        lines = [f"### {self.name}: {self.title}", ""]
        if self.rows:
            ratios = [f"x first row{self._of(name)} (least to greatest)" for name in self.compared]
            heads = ["", *(UNITS[name] for name in self.shown), *ratios]
            lines += [_line(heads), _line(["---"] * len(heads))]
            lines += [_line(self._cells(row)) for row in self.rows]
            lines.append("")
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def _cells(self, row: str) -> list[str]:
        cells = [row]
        for name in self.shown:
            value = self.figure(row, name)
            cells.append("" if value is None else _shown(name, value))
        first = row == next(iter(self.rows))
        for name in self.compared:
            ratio = None if first else self.ratio(row, figure=name)
            text = "" if ratio is None else f"{ratio.median:.2f} ({ratio.least:.2f} to {ratio.greatest:.2f})"
            cells.append("1" if first else text)
        return cells

    def _of(self, name: str) -> str:
        """Which figure a ratio is of, where there are several."""
        return "" if len(self.compared) == 1 else f", {UNITS[name].removesuffix(', us')}"


def _shown(name: str, value: float) -> str:
    if name == "server":
        return f"{value:.0%}" + (" (server-bound)" if value > SERVER_BOUND else "")
    if name == "rate":
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
