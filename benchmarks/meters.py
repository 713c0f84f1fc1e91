"""CPU, memory and threads of a process and of its children, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What had been used when it was read; CPU in seconds.

    Attributes:
        own: CPU of the process itself.
        children: CPU of its living descendants.
        at: monotonic seconds.
    """

    own: float
    children: float
    at: float

    def __sub__(self, before: Reading) -> Reading:
        return Reading(own=self.own - before.own, children=self.children - before.children, at=self.at - before.at)

    @property
    def total(self) -> float:
        """CPU of all of them."""
        return self.own + self.children


def read(pid: int) -> Reading:
    """What a process and its descendants have used by now."""
    return Reading(own=cpu_of(pid), children=sum(cpu_of(child) for child in descendants(pid)), at=time.monotonic())


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, all its threads together; 0 if it is gone.

    The scheduler's own figures count nanoseconds, `stat` hundredths of a second only; but a thread takes its figures
    with it when it ends, so `stat` is right where threads come and go. Here they do not, once a benchmark runs.
    """
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, IndexError):
        return _ticks_of(pid)


def _ticks_of(pid: int) -> float:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended while we looked
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def memory_of(pid: int) -> int:
    """Bytes a process has resident, shared pages included."""
    pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
