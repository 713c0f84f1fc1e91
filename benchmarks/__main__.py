"""Runs the benchmarks: `make bench`, or `python -m benchmarks --only sqs-noop --rounds 3`.

Rows of a scenario take turns, round by round (A B C A B C), each against a fresh fake of its own. With all scenarios the
tables go to benchmarks/RESULTS.md too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import goals, tools
from benchmarks.fake.process import compiled
from benchmarks.results import Table
from benchmarks.run import RunError
from benchmarks.scenarios import Scenario, scenarios

RESULTS = Path(__file__).parent / "RESULTS.md"


def run_scenario(scenario: Scenario, rounds: int) -> Table:
    """All rounds of a scenario. A row that fails is left out from then on, and said."""
    table = Table(
        name=scenario.name,
        title=scenario.title,
        compared=scenario.compared,
        shown=scenario.shown,
    )
    if scenario.missing:
        table.notes.append(f"not measured: {scenario.missing}")
        return table
    left_out = set()
    for row in scenario.rows:
        if row.subject.missing:
            table.notes.append(f"{row.subject.name} is left out: {row.subject.missing}")
            left_out.add(row.subject.name)
    for _ in range(min(rounds, scenario.rounds)):
        for row in scenario.rows:
            name = row.subject.name
            if name in left_out:
                continue
            try:
                table.add(name, scenario.measure(row.subject, row.spec))
            except RunError as error:
                print(error, file=sys.stderr)
                table.notes.append(f"{name} failed: {str(error).partition(chr(10))[0]}")
                left_out.add(name)
    return table


def machine() -> str:
    """The class of the machine, without its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    fake = "compiled" if compiled() else "in Python: it is the bottleneck of the quickest rows"
    return (
        f"{cores} cores of {platform.machine()}, {memory:.0f} GB, {platform.system()}, "
        f"Python {platform.python_version()}; the fake AWS is {fake}"
    )


def revision() -> str:
    """Which tree was measured: the commit, and whether it has been changed since."""
    try:
        seen = subprocess.run(
            ["git", "describe", "--always", "--dirty=, with changes"],
            cwd=RESULTS.parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return seen.stdout.strip()


def document(tables: list[Table], command: str, took: float, tree: str) -> str:
    """RESULTS.md."""
    run = goals.Run({table.name: table for table in tables})
    today = dt.datetime.now(dt.UTC).date()
    return "\n".join(
        [
            "# Results of the benchmarks",
            "",
            f"Made by `{command}` on {today}, in {took / 60:.0f} minutes, on {machine()}.",
            f"The tree: {tree}.",
            "",
            "How to read them, and how to make them: [README.md](README.md). Compare ratios, not figures: other work on the",
            "machine moves all figures of a round together.",
            "",
            "## Goals",
            "",
            goals.markdown(run),
            "## Tables",
            "",
            "\n".join(table.markdown() for table in tables),
        ]
    )


def main() -> None:
    """Run what is asked for."""
    known = [scenario.name for scenario in scenarios()]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=known, help="this scenario; repeatable")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each row")
    parser.add_argument("--long", action="store_true", help="pauses of a minute where ten seconds stand for it")
    options = parser.parse_args()
    tools.install()
    began, tree = time.monotonic(), revision()
    tables = []
    for scenario in scenarios(long=options.long):
        if not options.only or scenario.name in options.only:
            tables.append(run_scenario(scenario, options.rounds))
            print(tables[-1].markdown(), flush=True)
    print(goals.markdown(goals.Run({table.name: table for table in tables})))
    if not options.only:
        command = " ".join(["make bench", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
        if revision() != tree:
            tree = f"{tree}, and it changed during the run"
        RESULTS.write_text(document(tables, command, time.monotonic() - began, tree))
        print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
