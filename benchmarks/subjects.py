"""Who is measured: the daemon, the floors, the peers, each as a command line to be run against a fake AWS."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.tally import VARIABLE
from benchmarks.tools import environment_python, node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.configuration import Setup

HERE = Path(__file__).parent

CALLS_FILE = "calls.json"
"""Where `benchmarks.calls` leaves what it found, in the subject's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a subject runs: the fake's URL, a folder of its own, the file of its tally."""

    url: str
    folder: Path
    tally: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One who is measured.

    Attributes:
        name: in the tables.
        command: its command line.
        missing: why it cannot run here; empty if it can.
        progress: what tells how far it is: messages that the fake saw deleted, or what its handler counted.
        drains: whether it finishes what it has begun when it is told to stop, so that nothing may be left in flight.
        counts_all: whether its CPU is that of all its processes; else that of the first one.
        environment: added to the process's.
    """

    name: str
    command: Callable[[Place], list[str]]
    missing: str = ""
    progress: Literal["deleted", "tally"] = "deleted"
    drains: bool = False
    counts_all: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def daemon(name: str, setup: Setup, *, processes: int = 1, loop: str = "auto") -> Subject:
    """`esmd run`, by this interpreter, on a configuration of its own; `loop` as in `ESMD_LOOP`."""

    def command(place: Place) -> list[str]:
        file = setup.write(place.folder, tally=place.tally)
        more = [] if processes == 1 else ["--processes", str(processes)]
        return [sys.executable, "-m", "esmd", "run", str(file), "--log-format", "json", *more]

    return Subject(
        name=name,
        command=command,
        progress="deleted" if setup.kind == "sqs" else "tally",
        drains=True,
        counts_all=processes > 1,
        missing="uvloop is not installed" if loop == "uvloop" and find_spec("uvloop") is None else "",
        environment={"ESMD_LOOP": loop},
    )


def floor(name: str, kind: str, *options: str, own: bool = False) -> Subject:
    """One of `benchmarks.floors`, with the peers' interpreter; with our `own` where that is asked for or the other is missing."""
    python = str((None if own else environment_python()) or sys.executable)
    return Subject(
        name=name,
        command=lambda place: [python, "-m", "benchmarks.floors", kind, place.url, str(place.tally), *options],
        progress="tally" if kind.startswith("kinesis") else "deleted",
    )


def caller(name: str, clients: str, *, blocks: int = 16, loop: str = "auto") -> Subject:
    """`benchmarks.calls` of those clients, that many blocks; the floor alone with the peers' interpreter."""
    python = str((environment_python() if clients == "floor" else None) or sys.executable)

    def command(place: Place) -> list[str]:
        file = str(place.folder / CALLS_FILE)
        return [python, "-m", "benchmarks.calls", clients, place.url, file, "--blocks", str(blocks)]

    return Subject(
        name=name,
        command=command,
        missing="uvloop is not installed" if loop == "uvloop" and find_spec("uvloop") is None else "",
        environment={"ESMD_LOOP": loop},
    )


def loop(name: str, kind: str, *options: str) -> Subject:
    """One of `benchmarks.peers.loops`."""
    python = environment_python()
    return Subject(
        name=name,
        command=lambda place: [
            str(python),
            "-m",
            "benchmarks.peers.loops",
            kind,
            place.url,
            str(place.tally),
            *options,
        ],
        missing="" if python else "benchmarks/.env could not be installed",
        progress="tally" if "kinesis" in kind else "deleted",
    )


def sqs_consumer(consumers: int = 1, *, latencies: bool = False) -> Subject:
    """Npm's sqs-consumer, that many in one process."""
    program = node()

    def command(place: Place) -> list[str]:
        more = [str(place.folder / "latencies")] if latencies else []
        return [str(program), str(HERE / "peers" / "consumer.mjs"), place.url, str(consumers), *more]

    return Subject(
        name=f"sqs-consumer x{consumers}",
        command=command,
        missing="" if program else "there is no node, or sqs-consumer could not be installed",
    )


def environment(subject: Subject, place: Place) -> dict[str, str]:
    """The environment of a subject's process."""
    root = str(HERE.parent)
    aws = {"AWS_ENDPOINT_URL": place.url, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    own = {VARIABLE: str(place.tally), "PYTHONPATH": root, "HOME": str(place.folder)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ESMD_"))}
    return {**inherited, **aws, **keys, **own, **subject.environment}
