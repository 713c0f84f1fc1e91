"""Fails when the daemon has lost speed: its main scenarios against the floor scripts of the same run. Half a minute.

    python -m benchmarks.guard            compare with guard.json (`make bench-guard`, and part of `make test`)
    python -m benchmarks.guard --write    keep what this run gives as the new shares

| share          | what is compared, the floor's by the daemon's                                              |
|----------------|--------------------------------------------------------------------------------------------|
| sqs-noop       | CPU per message: receive, no-op, delete                                                    |
| kinesis-worker | CPU of the first process per record: read, event as JSON, a worker, its answer             |
| latency        | latency at 100 messages a second, its lower quartile, of a raw blocking client             |
| receive, ...   | CPU of one call of the daemon's client: `receive`, `delete`, `read-100`, `read-1000`       |

A share of 1 is the floor itself. A lost 15 % of a committed share fails: see `benchmarks.verdict`. A check that would fail is
measured again by new processes first, and fails only if that says the same.

Shares hardly depend on the machine, but they do on the interpreter, its loop and the fake: `guard.json` has them for each
such environment. In one that it does not have, nothing is measured, and that is said.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import turns
from benchmarks.configuration import Setup
from benchmarks.fake.process import compiled
from benchmarks.run import RunError
from benchmarks.scenarios import CALLED, PACED, QUEUE, SHARD
from benchmarks.subjects import caller, daemon, floor
from benchmarks.verdict import Patience, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.verdict import Share

COMMITTED = Path(__file__).parent / "guard.json"
HOW_TO_WRITE = 'Where a loss is meant, or a floor has changed: make bench-guard ARGS="--write"'


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        names: of its shares.
        rounds: the shares of one round after another.
        patience: how many rounds it takes.
    """

    names: tuple[str, ...]
    rounds: Callable[[], Iterator[Mapping[str, float]]]
    patience: Patience

    def shares(self, committed: Mapping[str, float]) -> dict[str, Share]:
        """Measure: for long where nothing is committed, and twice where the first look says that something is lost."""
        if not committed:
            with contextlib.closing(self.rounds()) as rounds:  # type: ignore[type-var]
                return judge(rounds, committed, Patience(self.patience.most, self.patience.most))
        with contextlib.closing(self.rounds()) as rounds:  # type: ignore[type-var]
            found = judge(rounds, committed, self.patience)
        if any(share.is_lost for share in found.values()):
            with contextlib.closing(self.rounds()) as rounds:  # type: ignore[type-var]
                found = judge(rounds, committed, self.patience)
        return found


def checks() -> tuple[Check, ...]:
    """All of them. The floors run in this environment, not in that of the peers, which may be missing."""
    worker = Setup(kind="kinesis", batch_size=1000, handler="worker")
    sqs = (floor("floor", "sqs-lean", own=True), daemon("esmd", Setup()), QUEUE)
    kinesis = (floor("floor", "kinesis-worker", "--batch-size", "1000", own=True), daemon("esmd", worker), SHARD)
    timed = (floor("floor", "raw-latency", own=True), daemon("esmd", Setup(handler="timed")), PACED)
    called = (caller("floor and esmd's client", "floor,wire", blocks=12), CALLED)
    return (
        Check(("sqs-noop",), functools.partial(turns.throughput, "sqs-noop", *sqs), Patience(6, 24)),
        Check(("kinesis-worker",), functools.partial(turns.throughput, "kinesis-worker", *kinesis), Patience(6, 24)),
        Check(("latency",), functools.partial(turns.latency, "latency", *timed), Patience(3, 9)),
        Check(
            ("receive", "delete", "read-100", "read-1000"), functools.partial(turns.calls, *called), Patience(12, 48)
        ),
    )


def environment() -> str:
    """What shares depend on, as `guard.json` names it."""
    loop = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio's loop"
    fake = "compiled fake" if compiled() else "fake in Python"
    return f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}, {loop}, {fake}"


def line(name: str, share: Share) -> str:
    """What is said of a share."""
    text = f"{name:16} {share.now:.1%} of the floor"
    if share.committed is not None:
        text += f", was {share.committed:.1%}, must be {share.least:.1%}"
    return f"{text} ({len(share.rounds)} rounds){'   LOST' if share.is_lost else ''}"


def reason_to_skip(known: Mapping[str, object], here: str, platform_name: str) -> str:
    """Why nothing can be compared; empty if it can."""
    if not platform_name.startswith("linux"):
        return "CPU is read from /proc, which only Linux has"
    if here not in known:
        return f'guard.json has no shares for "{here}", only for {", ".join(map(repr, known)) or "nothing"}'
    return ""


def main() -> None:
    """Run all checks; exit code 1 if a share is lost, or a check did not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write guard.json instead of comparing with it")
    options = parser.parse_args()
    known = json.loads(COMMITTED.read_text())
    here = environment()
    if (reason := reason_to_skip(known, here, sys.platform)) and not options.write:
        print(f"guard of the benchmarks: skipped: {reason}")
        return
    committed = {} if options.write else known[here]
    print(f"guard of the benchmarks, {here}:")
    found: dict[str, Share] = {}
    failed = False
    for check in checks():
        try:
            shares = check.shares(committed)
        except RunError as error:
            print(f"{check.names[0]:16} did not run: {error}", file=sys.stderr)
            failed = True
            continue
        for name, share in shares.items():
            print(line(name, share), flush=True)
        found |= shares
    if failed or any(share.is_lost for share in found.values()):
        raise SystemExit(HOW_TO_WRITE)
    if options.write:
        known[here] = {name: round(share.now, 3) for name, share in found.items()}
        COMMITTED.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
