"""The chaos run itself: starts everything, lets the schedule strike, waits for peace, and asks the oracle."""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chaos.field import FUNCTION_TIMEOUT, VISIBILITY, Field, Writer
from chaos.oracle import Faults, Verdict, judge
from chaos.schedule import Step, steps

from support.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AFTERMATH = 2.0 * (VISIBILITY + FUNCTION_TIMEOUT) + 30.0
"""Seconds for which a fault may still make something come twice: a message hidden by a lost answer, waits of retries."""

PEACE = 420
PEACE_PER_MINUTE = 30
"""Seconds that the last daemon may take to work off what is left: a shard falls behind by each record that always fails."""

MOST_GROWTH_MB = 60
MOST_FILES = 600
"""Of a pool that may hold 512 connections for long polls and as many again: more is a leak, not a burst."""


@dataclass
class Outcome:
    """What a run came to."""

    seed: int
    minutes: float
    faults: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every claim held."""
        return not self.findings

    def summary(self) -> dict[str, Any]:
        """Figures, as JSON."""
        return {
            "seed": self.seed,
            "minutes": self.minutes,
            "faults": dict(self.faults),
            "calls_struck": dict(self.struck),
            "records": sum(each.sent for each in self.verdicts.values()),
            "lost": sum("lost" in finding for finding in self.findings),
            "mappings": {
                name: {
                    "sent": each.sent,
                    "processed": each.processed,
                    "given_up": each.given_up,
                    "processed_again": each.duplicates,
                }
                for name, each in self.verdicts.items()
            },
            "memory_mb": [round(self.memory_mb[0]), round(max(self.memory_mb))] if self.memory_mb else [],
            "files_most": max(self.files, default=0),
            "findings": self.findings,
        }


class Run:
    """One run.

    Args:
        stage: the servers, entered.
        seed: of the schedule, the weather and the writers.
        minutes: how long faults strike; peace comes after it.
        rate: records a second, of each source.
        say: takes a line of progress.
    """

    def __init__(self, stage: Field, *, seed: int, minutes: float, rate: float, say: Callable[[str], None]) -> None:
        self._field = stage
        self._rate = rate
        self._say = say
        self._faults = Faults(aftermath=AFTERMATH)
        self._outcome = Outcome(seed, minutes)
        self._daemon: Daemon | None = None
        self._daemons = 0

    def run(self) -> Outcome:
        """Run to the end."""
        outcome, stage = self._outcome, self._field
        writers = [
            Writer(line, rate=self._rate, seed=outcome.seed * 31 + number)
            for number, line in enumerate(stage.lines.values())
        ]
        try:
            self._start()
            for writer in writers:
                writer.start()
            self._strike(time.monotonic() + outcome.minutes * 60)
            for writer in writers:
                writer.finish()
            self._say("peace: the writers have stopped, what is left is worked off")
            self._make_peace()
        finally:
            self._kill()
        self._judge()
        return outcome

    # --- the daemon

    def _start(self, *arguments: str) -> None:
        stage = self._field
        self._daemon = Daemon(stage.folder, stage.config(), "--log-level", "info", *arguments, environ=stage.environ)
        self._daemon.__enter__()
        # Before it, a signal ends a process that has begun nothing: that says nothing about the daemon.
        self._daemon.wait_for("daemon.starting", within=60)

    def _kill(self) -> None:
        daemon, self._daemon = self._daemon, None
        if daemon is None:
            return
        daemon.__exit__()
        self._daemons += 1
        lines = [json.dumps(entry) for entry in daemon.log] + daemon.garbage
        (self._field.folder / f"daemon-{self._daemons:04}.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for entry in daemon.log:
            if entry["event"] == "internal.error":
                self._outcome.findings.append(f"internal error: {json.dumps(entry)[:600]}")
        self._outcome.findings += [f"not a line of the log: {text[:300]}" for text in daemon.garbage if text.strip()]

    @property
    def _running(self) -> Daemon:
        if self._daemon is None:
            raise RuntimeError("no daemon runs")
        return self._daemon

    # --- faults

    def _strike(self, until: float) -> None:
        outcome = self._outcome
        for number, step in enumerate(steps(outcome.seed)):
            if time.monotonic() >= until:
                return
            if (code := self._running.process.poll()) is not None:
                outcome.findings.append(f"the daemon ended by itself, with {code}, before step {number}")
                self._kill()
                self._start()
            outcome.faults[step.kind] += 1
            began = time.time()
            what = self._step(step)
            if step.kind != "calm":
                self._faults.add(began, time.time())
            else:
                self._look()
            left = max(0.0, until - time.monotonic())
            done = sum(len(line.sent) for line in self._field.lines.values())
            self._say(f"step {number:4} {step.kind:8} {what:24} {done:7} records written, {left:5.0f} s left")

    def _step(self, step: Step) -> str:
        match step.kind:
            case "calm":
                time.sleep(step.seconds)
                return ""
            case "weather" | "storm":
                chosen = [
                    name for name, part in (("kinesis", 0.7), ("others", 0.0)) if step.fraction <= part or not part
                ]
                for name in chosen:
                    self._field.weather[name].share = step.share
                time.sleep(step.seconds)
                for name in chosen:
                    self._field.weather[name].share = 0.0
                return f"{step.share:.0%} of the calls"
            case "down":
                name = "kinesis" if step.fraction < 0.4 else "others"
                self._field.proxies[name].down()
                time.sleep(step.seconds)
                self._field.proxies[name].up()
                return name
            case "kill":
                self._running.signal(signal.SIGKILL)
                self._running.exit_code()
                self._kill()
                self._start()
                time.sleep(step.seconds)
                return ""
            case "term":
                self._running.signal(signal.SIGTERM)
                code = self._running.exit_code(within=60)
                if code != 0:
                    self._outcome.findings.append(f"a drain ended with {code}")
                self._kill()
                self._start()
                time.sleep(step.seconds)
                return f"exit {code}"
            case "freeze":
                self._running.signal(signal.SIGSTOP)
                time.sleep(step.seconds)
                self._running.signal(signal.SIGCONT)
                return ""
            case "reshard":
                what = "cannot here"
                if self._field.resharding:
                    try:
                        what = self._field.reshard(step.fraction)
                    except ClientError as error:  # another change of the stream is not over: no fault of anybody's
                        what = error.response["Error"]["Code"]
                time.sleep(step.seconds)
                return what
            case "reload":
                self._running.signal(signal.SIGHUP)
                time.sleep(step.seconds)
                return ""

    def _look(self) -> None:
        """Note how much the daemon holds, while nothing strikes."""
        process = Path(f"/proc/{self._running.process.pid}")
        try:
            status = (process / "status").read_text(encoding="ascii")
            self._outcome.files.append(len(list((process / "fd").iterdir())))
        except OSError:
            return
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
        self._outcome.memory_mb.append(int(line.split()[1]) / 1024)

    # --- the end

    def _make_peace(self) -> None:
        for proxy in self._field.proxies.values():
            proxy.up()
        self._running.signal(signal.SIGTERM)
        self._running.exit_code(within=90)
        self._kill()
        # Longer than what waits for its visibility to end: an idle queue is not an empty one.
        self._start("--exit-when-idle", f"{2 * VISIBILITY}s")
        code = self._running.exit_code(within=PEACE + PEACE_PER_MINUTE * self._outcome.minutes)
        if code != 0:
            self._outcome.findings.append(f"the last daemon ended with {code}")

    def _judge(self) -> None:
        stage, outcome = self._field, self._outcome
        done, given_up = stage.done(), stage.given_up()
        for name, source in stage.judged_as.items():
            line = stage.lines[source]
            verdict = judge(name, line.sent, done[name], given_up[name], ordered=line.ordered, faults=self._faults)
            outcome.verdicts[name] = verdict
            outcome.findings += verdict.findings
        for proxy in stage.proxies.values():
            outcome.struck.update(proxy.proxy.struck)
        outcome.findings += leaked(stage.id) + grown(outcome.memory_mb) + held(outcome.files)


def leaked(run: str) -> list[str]:
    """Processes of a run that are still there, told by their environment."""
    mark, found = f"ESMD_TEST_RUN={run}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(f"leaked: process {process.name}, {(process / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found


def grown(memory_mb: Sequence[float]) -> list[str]:
    """Whether memory has grown from the first third of the looks to the last."""
    third = len(memory_mb) // 3
    if not third:
        return []
    early, late = statistics.median(memory_mb[:third]), statistics.median(memory_mb[-third:])
    return [f"memory grew from {early:.0f} to {late:.0f} MB"] if late - early > MOST_GROWTH_MB else []


def held(files: Sequence[int]) -> list[str]:
    """Whether the daemon held too many files and sockets in a calm."""
    return [f"{max(files)} files and sockets open in a calm"] if max(files, default=0) > MOST_FILES else []


def say(text: str) -> None:
    """A line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
