"""`make soak MINUTES=30`: steady load, no faults; memory, files and latency must not drift.

The load is a share of what the daemon and the servers bear together here: rates are raised step by step until records
pile up, and then so much of the last rate that they kept up with is held. The first and the last third are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.field import Field, Writer
from chaos.oracle import Faults, judge
from chaos.run import leaked, say
from esmd.testing.embedded import ministack_process

from support.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_SECONDS = 8.0
FIRST_RATE = 40.0
MOST_RATE = 2000.0
LOOK_SECONDS = 5.0

MOST_GROWTH_MB = 8.0
MOST_MORE_FILES = 4
MOST_DRIFT = 1.5
"""Times the latency of the first third; within `LEAST_DRIFT_S` it is noise."""

LEAST_DRIFT_S = 0.05
PEACE = 120.0


@dataclass
class Looks:
    """What was seen of the daemon, every few seconds."""

    memory_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self, pid: int) -> None:
        """Look once."""
        process = Path(f"/proc/{pid}")
        [line] = [line for line in (process / "status").read_text(encoding="ascii").splitlines() if "VmRSS" in line]
        self.memory_mb.append(int(line.split()[1]) / 1024)
        self.files.append(len(list((process / "fd").iterdir())))


def thirds(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and the last third."""
    third = max(1, len(values) // 3)
    return statistics.median(values[:third]), statistics.median(values[-third:])


def drift(looks: Looks, latencies: dict[str, list[float]]) -> list[str]:
    """Every claim that does not hold."""
    findings = []
    early, late = thirds(looks.memory_mb)
    if late - early > MOST_GROWTH_MB:
        findings.append(f"memory grew from {early:.1f} to {late:.1f} MB")
    few, many = thirds(looks.files)
    if many - few > MOST_MORE_FILES:
        findings.append(f"open files grew from {few:.0f} to {many:.0f}")
    for name, values in latencies.items():
        before, after = thirds(values)
        if after > MOST_DRIFT * before and after - before > LEAST_DRIFT_S:
            findings.append(f"{name}: median latency drifted from {before * 1000:.1f} to {after * 1000:.1f} ms")
    return findings


class Soak:
    """One run on a field whose sources are made."""

    def __init__(self, stage: Field, *, share: float, minutes: float, seed: int) -> None:
        self._field = stage
        self._share = share
        self._minutes = minutes
        self._seed = seed
        self._looks = Looks()

    def run(self) -> dict[str, Any]:
        """Find the rate, hold it, compare; figures as JSON, with `findings`."""
        stage = self._field
        with Daemon(stage.folder, stage.config(), "--log-level", "info", environ=stage.environ) as daemon:
            daemon.wait_for("daemon.ready", within=60)
            rate = self._share * self._bearable()
            say(f"holding {rate:.0f} records a second of each source for {self._minutes:g} minutes")
            began = time.time()
            writers = self._writers(rate)
            until = time.monotonic() + self._minutes * 60
            while time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
                self._looks.look(daemon.process.pid)
                if len(self._looks.files) % 12 == 0:
                    memory, files = self._looks.memory_mb[-1], self._looks.files[-1]
                    say(
                        f"{until - time.monotonic():6.0f} s left, {memory:.1f} MB, {files} files, {self._behind()} behind"
                    )
            for writer in writers:
                writer.finish()
            self._await_all()
            daemon.signal(signal.SIGTERM)
            code = daemon.exit_code(within=60)
        findings = [] if code == 0 else [f"the daemon ended with {code}"]
        findings += [f"internal error: {json.dumps(entry)[:400]}" for entry in daemon.events("internal.error")]
        latencies = self._latencies(began)
        findings += drift(self._looks, latencies) + leaked(stage.id)
        done, given_up = stage.done(), stage.given_up()
        calm = Faults(aftermath=0.0)
        for name, source in stage.judged_as.items():
            line = stage.lines[source]
            findings += judge(name, line.sent, done[name], given_up[name], ordered=line.ordered, faults=calm).findings
        return {
            "minutes": self._minutes,
            "rate_of_each_source": round(rate),
            "records": sum(len(line.sent) for line in stage.lines.values()),
            "memory_mb": [round(value, 1) for value in thirds(self._looks.memory_mb)],
            "files": list(thirds(self._looks.files)),
            "latency_ms": {n: [round(v * 1000, 1) for v in thirds(values)] for n, values in latencies.items()},
            "findings": findings,
        }

    def _writers(self, rate: float) -> list[Writer]:
        writers = [Writer(line, rate=rate, seed=self._seed + n) for n, line in enumerate(self._field.lines.values())]
        for writer, line in zip(writers, self._field.lines.values(), strict=True):
            writer.start_at(len(line.sent))
            writer.start()
        return writers

    def _bearable(self) -> float:
        """The greatest rate that was kept up with."""
        rate, good = FIRST_RATE, 0.0
        while rate <= MOST_RATE:
            before = sum(len(line.sent) for line in self._field.lines.values())
            writers = self._writers(rate)
            time.sleep(STEP_SECONDS)
            for writer in writers:
                writer.finish()
            written = (
                (sum(len(line.sent) for line in self._field.lines.values()) - before) / STEP_SECONDS / len(writers)
            )
            behind = self._behind()
            say(f"at {rate:.0f} a second of each source: {written:.0f} written, {behind} behind")
            self._await_all()
            if behind > written * 1.0 or written < 0.7 * rate:
                return good or min(written, rate)
            good, rate = written, rate * 1.5
        return good

    def _behind(self) -> int:
        done = self._field.done()
        lines = self._field.lines
        return sum(max(0, len(lines[source].sent) - len(done[name])) for name, source in self._field.judged_as.items())

    def _await_all(self) -> None:
        deadline = time.monotonic() + PEACE
        while self._behind() and time.monotonic() < deadline:
            time.sleep(0.2)

    def _latencies(self, since: float) -> dict[str, list[float]]:
        """From the acceptance of a record to its processing, in the order of processing."""
        found = {}
        for name, done in self._field.done().items():
            sent_at = self._field.lines[self._field.judged_as[name]].sent_at
            found[name] = [each.at - sent_at[each.n] for each in done if sent_at.get(each.n, 0.0) >= since]
        return found


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--share", type=float, default=0.7, help="of the bearable load")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="esmd-soak-"))
    with contextlib.ExitStack() as stack:
        server = ministack_process()
        server.start()
        stack.callback(server.stop)
        url = server.endpoint_url
        calm = {"ok": 1}
        stage = stack.enter_context(
            Field(folder, kinesis=url, others=url, resharding=False, seed=options.seed, wishes=calm, proxied=False)
        )
        figures = Soak(stage, share=options.share, minutes=options.minutes, seed=options.seed).run()
    say(json.dumps(figures, indent=2))
    say("FAILED" if figures["findings"] else "passed")
    if not figures["findings"]:
        shutil.rmtree(folder)
    return 1 if figures["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
