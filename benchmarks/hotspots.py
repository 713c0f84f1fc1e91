"""Shows where the daemon's time goes, as text: the profiles that are committed are made with it.

    python -m benchmarks.hotspots sqs                the whole daemon against the fake AWS
    python -m benchmarks.hotspots kinesis --inside   without the AWS client (see `benchmarks.inside`)
    python -m benchmarks.hotspots sqs --write        into benchmarks/profiles/

py-spy samples the process. A sample counts for the innermost line of the daemon's own code; what runs below it, such as a
JSON parser, is that line's doing. Shares are turned into microseconds by the CPU that the run took per message.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.configuration import Setup
from benchmarks.fake.spec import FakeSpec
from benchmarks.run import measure_once
from benchmarks.subjects import daemon
from benchmarks.tools import environment_tool

_HERE = Path(__file__).parent
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^():]+)(?::(?P<line>\d+))?\)$")
_OURS = ("esmd/", "pollers/", "mappings/", "config/")
_CLIENT = ("botocore/", "aiobotocore/", "aiohttp/")
_WIRE = tuple(f"esmd/pollers/{name}" for name in ("wire", "connection", "http_answers", "sigv4"))
_NOT_THE_DAEMON = ("benchmarks/", "<frozen importlib")
"""The stand-in of `benchmarks.inside`, and imports."""
_DEEP = 6
"""How far from a stack's end these are looked for: at its outer end `benchmarks.inside` is always there."""
_RATE = 500
_WINDOW = 8.0
"""Seconds: py-spy needs two of them to begin."""


@dataclass(slots=True)
class Profile:
    """Samples by place."""

    client: int = 0
    wire: int = 0
    lines: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All samples."""
        return self.client + self.lines.total()


def read_raw(text: str) -> Profile:
    """Sort py-spy's raw output: a stack on each line, outermost frame first, and how often it was seen.

    Stacks that are not of the event loop's thread are left out: an idle thread of a pool is seen all the time. So is what
    a benchmark does itself.
    """
    profile = Profile()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [match for frame in stack.split(";") if (match := _FRAME.match(frame))]
        if not any(frame["function"] == "Runner.run" for frame in frames):
            continue
        if any(frame["file"].startswith(_NOT_THE_DAEMON) for frame in frames[-_DEEP:]):
            continue
        ours = [frame for frame in frames if frame["file"].startswith(_OURS)]
        for name in {f"{frame['file']} {frame['function']}" for frame in ours}:
            profile.functions[name] += int(count)
        if any(frame["file"].startswith(_CLIENT) for frame in frames):
            profile.client += int(count)
            continue
        profile.wire += int(count) if ours and ours[-1]["file"].startswith(_WIRE) else 0
        if ours and not _is_start(ours[-1]["function"]):
            profile.lines[f"{ours[-1]['file']}:{ours[-1]['line']} {ours[-1]['function']}"] += int(count)
        else:
            profile.lines[f"the loop: {frames[-1]['function']}"] += int(count)
    return profile


def _is_start(function: str) -> bool:
    """Whether a frame is below the event loop: what it is in then is the loop's own work."""
    return function in ("run_to_exit", "main", "command")


def report(profile: Profile, *, title: str, cost: float, most: int) -> str:
    """The text. `cost` is the CPU per message, in microseconds."""

    def line(name: str, count: int) -> str:
        return f"{count / profile.total * cost:8.2f}  {count / profile.total:6.1%}  {name}"

    return "\n".join(
        [
            f"{title}: {cost:.1f} us of CPU a message; {profile.total} samples. Columns: us a message, share, place.",
            "",
            line("botocore and aiohttp", profile.client),
            line("the wire client", profile.wire),
            line("everything else", profile.lines.total() - profile.wire),
            "",
            "The innermost line of the daemon that is not in the client:",
            *(line(name, count) for name, count in profile.lines.most_common(most)),
            "",
            "Functions, with all that they call, the client included:",
            *(line(name, count) for name, count in profile.functions.most_common(most)),
            "",
        ]
    )


def profile_inside(kind: str, batch_size: int, total: int) -> tuple[Profile, float]:
    """Profile `benchmarks.inside`; the cost is from a run without py-spy."""
    command = [sys.executable, "-m", "benchmarks.inside", kind, "--batch-size", str(batch_size), "--total", str(total)]
    plain = subprocess.run(command, cwd=_HERE.parent, capture_output=True, text=True, check=True).stdout
    cost = float(plain.partition(":")[2].split()[0])
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        spy = [environment_tool("py-spy"), "record", "-r", str(_RATE), "-f", "raw", "-o", str(raw), "--", *command]
        subprocess.run(spy, cwd=_HERE.parent, capture_output=True, check=True)
        return read_raw(raw.read_text()), cost


def profile_daemon(kind: str, batch_size: int, _total: int) -> tuple[Profile, float]:
    """Profile `esmd run` while it empties a queue or a shard; the cost is from a run without py-spy."""
    setup = Setup(kind="sqs" if kind == "sqs" else "kinesis", batch_size=batch_size)
    spec = FakeSpec(messages=4_000_000) if kind == "sqs" else FakeSpec(shards=1, records=50_000_000, body=100)
    subject = daemon("esmd", setup)
    cost = measure_once(subject, spec).own_us
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        spy = [environment_tool("py-spy"), "record", "-r", str(_RATE), "-f", "raw", "-o", str(raw), "--pid"]
        measure_once(subject, spec, window=_WINDOW, beside=lambda pid: [*spy, str(pid)])
        return read_raw(raw.read_text()), cost


def main() -> None:
    """Profile once and print, or write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hotspots", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("kind", choices=("sqs", "kinesis"))
    parser.add_argument("--inside", action="store_true", help="without the AWS client")
    parser.add_argument("--batch-size", type=int, help="by default 10 (sqs) or 100 (kinesis)")
    parser.add_argument("--total", type=int, help="messages or records, with --inside")
    parser.add_argument("--most", type=int, default=40, help="lines of each table")
    parser.add_argument("--write", action="store_true", help="into benchmarks/profiles/ instead of standard output")
    options = parser.parse_args()
    batch_size = options.batch_size or (10 if options.kind == "sqs" else 100)
    total = options.total or (200_000 if options.kind == "sqs" else 1_000_000)
    profile, cost = (profile_inside if options.inside else profile_daemon)(options.kind, batch_size, total)
    title = f"{options.kind}, inline no-op handler, batches of {batch_size}" + ", no client" * options.inside
    text = report(profile, title=title, cost=cost, most=options.most)
    if options.write:
        (_HERE / "profiles").mkdir(exist_ok=True)
        (_HERE / "profiles" / f"{options.kind}{'-inside' * options.inside}.txt").write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
