"""Runs a fake AWS as a process of its own, and reads its counters while it runs."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.fake.spec import COUNTERS

if TYPE_CHECKING:
    from benchmarks.fake.spec import FakeSpec

_HERE = Path(__file__).parent
_BUILD = _HERE.parent / "build"
_SOURCES = ("fake_aws.c", "streams.h", "queues.h", "answers.h")


def compiled() -> Path | None:
    """The compiled server, made anew if its source is younger; None where there is no compiler or no Linux."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    program = _BUILD / "fake_aws"
    newest = max((_HERE / name).stat().st_mtime for name in _SOURCES)
    if not program.exists() or program.stat().st_mtime < newest:
        _BUILD.mkdir(exist_ok=True)
        fresh = _BUILD / f"fake_aws.{os.getpid()}"
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", fresh, _HERE / _SOURCES[0]], check=True)
        fresh.replace(program)
    return program


class FakeAws:
    """One server at work. A context manager.

    Args:
        spec: what it is to be.
        core: the core to stay on; None for any.
        in_python: use the Python server even where the compiled one could be had.

    Attributes:
        url: its endpoint.
        pid: of its process.
    """

    def __init__(self, spec: FakeSpec, *, core: int | None = None, in_python: bool = False) -> None:
        self.spec = spec
        self._core = core
        self._program = None if in_python else compiled()
        self.is_compiled = self._program is not None
        self.url = ""
        self.pid = 0

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="fake-aws-"))
        self.spec.write(self._folder)
        (self._folder / "counters").write_bytes(bytes(8 * len(COUNTERS)))
        command = [str(self._program)] if self._program else [sys.executable, "-m", "benchmarks.fake.server"]
        self._process = subprocess.Popen(
            [*command, *self.spec.options(self._folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=_HERE.parent.parent,
            start_new_session=True,
        )
        self.pid = self._process.pid
        if self._core is not None:
            os.sched_setaffinity(self.pid, {self._core})
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the fake AWS did not start: exit code {self._process.wait()}")
        self.url = f"http://127.0.0.1:{port}"
        with (self._folder / "counters").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * len(COUNTERS), access=mmap.ACCESS_READ)
        self._view = memoryview(self._map).cast("Q")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._view.release()
        self._map.close()
        shutil.rmtree(self._folder)

    def count(self, name: str) -> int:
        """One counter as it is now."""
        return int(self._view[COUNTERS.index(name)])

    def counts(self) -> dict[str, int]:
        """All counters as they are now."""
        return dict(zip(COUNTERS, self._view.tolist(), strict=True))

    @property
    def in_flight(self) -> int:
        """Messages that were received and are neither deleted nor given back."""
        return self.count("received") - self.count("deleted") - self.count("returned")
