"""Fails when the daemon has lost speed: its main scenarios against the floor scripts of the same run.

    python -m benchmarks.guard            compare with guard.json (`make bench-guard`)
    python -m benchmarks.guard --write    keep what this run gives as the new bounds

| check          | share that is compared                                                    |
|----------------|---------------------------------------------------------------------------|
| sqs-noop       | CPU per message of the lean floor, of the daemon's                        |
| kinesis        | CPU per record of the lean floor, of the daemon's                         |
| kinesis-worker | CPU per record of the floor with a worker, of the daemon's first process  |
| latency        | median latency of a raw blocking client, of the daemon's                  |

A share of 1 is the floor itself. Shares depend on the machine far less than times do, and a lost 15 % of one fails. A check
that would fail is measured again first, and the median of both counts: one bad moment of a shared machine is no loss.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import tools
from benchmarks.run import RunError
from benchmarks.scenarios import scenarios

if TYPE_CHECKING:
    from benchmarks.scenarios import Row, Scenario

COMMITTED = Path(__file__).parent / "guard.json"
ALLOWED_LOSS = 0.15
"""The part of a committed share that may be missing."""

ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One share: the floor's figure divided by the daemon's."""

    name: str
    scenario: str
    daemon: str
    floor: str

    def rounds(self, count: int) -> list[float]:
        """Measure, by turns: one share for each round.

        Raises:
            RunError: one of the two did not run.
        """
        scenario = next(each for each in scenarios() if each.name == self.scenario)
        rows = {row.subject.name: row for row in scenario.rows}
        shares = []
        for _ in range(count):
            floor, daemon = (_figure(scenario, rows[name]) for name in (self.floor, self.daemon))
            shares.append(floor / daemon)
        return shares


CHECKS = (
    Check("sqs-noop", "sqs-noop", "esmd, inline", "floor, lean asyncio x4"),
    Check("kinesis", "kinesis", "esmd, inline", "floor, lean asyncio"),
    Check("kinesis-worker", "kinesis", "esmd, worker", "floor, lean asyncio to a worker"),
    Check("latency", "latency", "esmd, inline", "raw blocking long poll"),
)
"""All of them; `guard.json` has a share for each."""


def _figure(scenario: Scenario, row: Row) -> float:
    return scenario.measure(row.subject, row.spec)[scenario.compared]


def is_loss(share: float, committed: float) -> bool:
    """Whether too much of a committed share is gone."""
    return share < committed * (1 - ALLOWED_LOSS)


def judge(check: Check, committed: float | None, *, rounds: int = ROUNDS) -> tuple[float, bool]:
    """The check's share, and whether it is a loss. Without a committed share nothing can be lost."""
    shares = check.rounds(rounds)
    if committed is not None and is_loss(statistics.median(shares), committed):
        shares += check.rounds(rounds)
    share = statistics.median(shares)
    return share, committed is not None and is_loss(share, committed)


def main() -> None:
    """Run all checks; exit code 1 if any of them is a loss, or did not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each check")
    parser.add_argument("--write", action="store_true", help="write guard.json instead of comparing with it")
    options = parser.parse_args()
    tools.install()
    committed = {} if options.write else json.loads(COMMITTED.read_text())
    found, failed = {}, False
    for check in CHECKS:
        try:
            share, lost = judge(check, committed.get(check.name), rounds=options.rounds)
        except RunError as error:
            print(f"{check.name:16} did not run: {error}", file=sys.stderr)
            failed = True
            continue
        found[check.name] = round(share, 3)
        before = f", committed {committed[check.name]:.1%}" if check.name in committed else ""
        print(f"{check.name:16} {share:.1%} of the floor{before}{'   LOST' if lost else ''}", flush=True)
        failed |= lost
    if failed:
        raise SystemExit(1)
    if options.write:
        COMMITTED.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
