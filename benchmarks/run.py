"""One run of one subject against a fake AWS of its own: started, left to settle, measured for a while, stopped, checked.

    start -> first messages -> settled -> | window: CPU, messages, the fake's idle time | -> stop -> check

The window begins when imports, connections and a growing number of pollers are behind. Who reads a stream ahead first
fills what it may hold: CPU spent on records that are not handled yet would make it look dearer than it is, so its window
waits until what it holds has stopped growing. What is counted is the CPU of the subject, not the time that others took
from it. A subject that drains must leave
nothing in flight, delete nothing twice, and have handled what it deleted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import meters
from benchmarks.fake.process import FakeAws
from benchmarks.subjects import Place, environment
from benchmarks.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.fake.spec import FakeSpec
    from benchmarks.subjects import Subject

SETTLING = 0.5
"""Least seconds between the first messages and the window."""

_FULL_AFTER = 0.4
"""Seconds without growth after which what is read ahead counts as full."""

_LONGEST_FILLING = 10.0

_PATIENCE = 30.0
_LOOK = 0.004


class RunError(Exception):
    """A subject did not run, or lost something; the text ends with what it logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a window showed.

    Attributes:
        own_us: CPU of the subject's first process per message, in microseconds.
        all_us: with its children.
        rate: messages a second.
        server_busy: the part of the window in which the fake was at work.
    """

    own_us: float
    all_us: float
    rate: float
    server_busy: float


@dataclass(slots=True)
class Running:
    """A subject at work."""

    subject: Subject
    fake: FakeAws
    tally: Tally
    process: subprocess.Popen[bytes]
    place: Place
    started: float

    @property
    def done(self) -> int:
        """Messages that it is through with."""
        return self.fake.count("deleted") if self.subject.progress == "deleted" else self.tally.total

    def settle(self, seconds: float) -> None:
        """Wait that long, and then until what is read and not handled grows no more."""
        time.sleep(seconds)
        if self.subject.progress != "tally":
            return
        most, since, until = 0, time.monotonic(), time.monotonic() + _LONGEST_FILLING
        while (now := time.monotonic()) < until and now < since + _FULL_AFTER:
            held = self.fake.count("read") - self.done
            if held > most * 1.02:
                most, since = held, now
            time.sleep(_LOOK)

    def wait_for(self, reached: Callable[[], bool], *, what: str, patience: float = _PATIENCE) -> None:
        """Look every few milliseconds.

        Raises:
            RunError: the subject ended, or took too long.
        """
        until = time.monotonic() + patience
        while not reached():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RunError(f"{self.subject.name}: no {what}\n{self.log[-2000:]}")
            time.sleep(_LOOK)

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        return (self.place.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """TERM, and KILL for whom does not care."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15 if self.subject.drains else 3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            if self.subject.drains:
                raise RunError(f"{self.subject.name} did not drain\n{self.log[-2000:]}") from None

    def check(self) -> None:
        """Whether what was received was handled and deleted exactly once.

        Raises:
            RunError: it was not.
        """
        counts = self.fake.counts()
        wrong = {
            name: counts[name] for name in ("deleted_twice", "deleted_unknown", "read_again", "refused") if counts[name]
        }
        if self.subject.drains and self.subject.progress == "deleted":
            if self.fake.in_flight:
                wrong["in_flight"] = self.fake.in_flight
            if self.fake.spec.matching == 1 and self.tally.total != counts["deleted"]:
                wrong["handled"] = self.tally.total
        if self.subject.progress == "tally" and self.tally.total > counts["read"]:
            wrong["handled"] = self.tally.total  # some of it twice
        if wrong:
            raise RunError(f"{self.subject.name}: {wrong} of {counts}\n{self.log[-2000:]}")


@contextlib.contextmanager
def running(subject: Subject, spec: FakeSpec, *, pinned: bool = True) -> Iterator[Running]:
    """A subject and its fake; stopped, but not checked, at the end.

    Args:
        subject: who.
        spec: against what.
        pinned: the fake on the last core, the subject on the others, so that neither takes the other's.
    """
    cores = sorted(os.sched_getaffinity(0))
    alone = pinned and len(cores) > 1
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        fake = stack.enter_context(FakeAws(spec, core=cores[-1] if alone else None))
        tally = Tally(folder / "tally")
        stack.callback(tally.close)
        place = Place(url=fake.url, folder=folder, tally=folder / "tally")
        log = stack.enter_context((folder / "log").open("wb"))
        started = time.monotonic()
        process = subprocess.Popen(
            subject.command(place), env=environment(subject, place), stdout=log, stderr=log, start_new_session=True
        )
        if alone:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, set(cores[:-1]))
        at_work = Running(subject, fake, tally, process, place, started)
        try:
            yield at_work
            at_work.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def measure_once(
    subject: Subject,
    spec: FakeSpec,
    *,
    settling: float = SETTLING,
    window: float = 1.0,
    beside: Callable[[int], list[str]] | None = None,
) -> Measurement:
    """Run a subject once.

    Args:
        subject: who.
        spec: against what; it must have more messages than the subject gets through.
        settling: seconds between the first messages and the window, at least.
        window: seconds that are measured; it ends sooner if nearly all messages are done.
        beside: the command line of a program to run beside it from the window on, by the subject's pid.
    """
    with running(subject, spec, pinned=not subject.counts_all) as at_work:
        at_work.wait_for(lambda: at_work.done > 0, what="message came through")
        at_work.settle(settling)
        spy = None if beside is None else subprocess.Popen(beside(at_work.process.pid), stdout=subprocess.DEVNULL)
        before, done, idle = meters.read(at_work.process.pid), at_work.done, at_work.fake.count("idle_ns")
        enough = spec.total * 0.95
        until = time.monotonic() + window
        at_work.wait_for(
            lambda: time.monotonic() > until or at_work.done > enough, what="progress", patience=window + 10
        )
        used = meters.read(at_work.process.pid) - before
        done = at_work.done - done
        idle = at_work.fake.count("idle_ns") - idle
        at_work.stop()
        if spy is not None:
            spy.wait(60)
        at_work.check()
    if not done:
        raise RunError(f"{subject.name}: nothing came through in {window} s")
    return Measurement(
        own_us=used.own / done * 1e6,
        all_us=used.total / done * 1e6,
        rate=done / used.at,
        server_busy=max(0.0, 1 - idle / 1e9 / used.at),
    )


def measure_whole(subject: Subject, spec: FakeSpec) -> Measurement:
    """Run a subject until all messages are done; all that it spends from the first one on counts."""
    with running(subject, spec, pinned=not subject.counts_all) as at_work:
        at_work.wait_for(lambda: at_work.fake.count("first_poll_ns") > 0, what="first poll")
        before, idle = meters.read(at_work.process.pid), at_work.fake.count("idle_ns")
        at_work.wait_for(lambda: at_work.done >= spec.total, what="end", patience=120)
        used = meters.read(at_work.process.pid) - before
        idle = at_work.fake.count("idle_ns") - idle
        at_work.stop()
        at_work.check()
    return Measurement(
        own_us=used.own / spec.total * 1e6,
        all_us=used.total / spec.total * 1e6,
        rate=spec.total / used.at,
        server_busy=max(0.0, 1 - idle / 1e9 / used.at),
    )
