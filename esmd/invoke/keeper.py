"""Sees to it that no process of a handler outlives the daemon, even one that was killed: `python keeper.py` beside it.

The keeper is a small process in a session of its own. Its standard input is the lifeline: a pipe that the daemon holds,
and on which it names the process groups that live (`+GROUP`) and those that are gone (`-GROUP`). When the pipe closes,
the daemon has ended, however suddenly; what still lives then is killed, with all that it started.

The daemon imports this module for `watch` and `forget`; the keeper runs it as a script. Only the standard library.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys

_DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_CLOSE_SECONDS = 5.0
"""How long the end of the daemon may wait for the keeper's."""


class _Keeper:
    """The daemon's end: starts the keeper when there is first something to keep, and again should it be lost."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def ensure(self) -> None:
        if self._process is None:
            self._start()

    def close(self) -> None:
        """Let the keeper kill what is left, and see it end."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # it was stopped; nobody is held up by that
                process.wait(_CLOSE_SECONDS)

    def _tell(self, line: str) -> None:
        self.ensure()
        try:
            os.write(self._lifeline, line.encode())
        except OSError:  # it was killed, or has stopped reading
            self._end()
            self._start()

    def _start(self) -> None:
        # Only the lifeline counts: the keeper is born with these blocked, so that there is no moment before.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF_TO)
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and file
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.set_blocking(self._lifeline, False)
        os.write(self._lifeline, "".join(f"+{group}\n" for group in self._groups).encode())

    def _end(self) -> None:
        """Kill it before its lifeline closes: it would take that for the daemon's end."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    @property
    def _lifeline(self) -> int:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the keeper has not been started")
        return self._process.stdin.fileno()


_keeper = _Keeper()
atexit.register(_keeper.close)


def ensure() -> None:
    """Start the keeper if it is not there yet."""
    _keeper.ensure()


def watch(group: int) -> None:
    """A process group is to be killed should the daemon end before it."""
    _keeper.watch(group)


def forget(group: int) -> None:
    """A process group is gone: its number may become another's."""
    _keeper.forget(group)


def main() -> None:
    """Keep books until the lifeline closes, then kill what still lives."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
