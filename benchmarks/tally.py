"""What a handler has done, in a mapped file: whoever measures reads it without asking, and without costing anything.

A file holds `SLOTS` counts, one for each process by its pid, and behind them latencies in nanoseconds as they came. It is
imported by handlers too, so it needs the standard library only.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = 512
SAMPLES = 65_536
VARIABLE = "BENCH_TALLY"
"""Environment variable that names the file."""


class Tally:
    """One process's view of the file; writers have a slot of their own."""

    def __init__(self, path: str | Path) -> None:
        size = 8 * (SLOTS + SAMPLES)
        with open(path, "a+b") as file:  # noqa: PTH123 - handlers import this, and quickly
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._view = memoryview(self._map).cast("Q")
        self._slot = os.getpid() % SLOTS
        self._done = self._view[self._slot]
        self._sample = SLOTS

    @classmethod
    def of_environment(cls) -> Tally:
        """That of the variable."""
        return cls(os.environ[VARIABLE])

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        self._view[self._slot] = self._done

    def took(self, nanoseconds: int) -> None:
        """One more latency; what is beyond the file's end is left out. Of one process only."""
        if self._sample < SLOTS + SAMPLES:
            self._view[self._sample] = nanoseconds
            self._sample += 1

    @property
    def total(self) -> int:
        """What all processes have done."""
        return sum(self._view[:SLOTS])

    @property
    def samples(self) -> list[int]:
        """The latencies so far, in nanoseconds."""
        return [value for value in self._view[SLOTS:].tolist() if value]

    def close(self) -> None:
        """Unmap the file."""
        self._view.release()
        self._map.close()
