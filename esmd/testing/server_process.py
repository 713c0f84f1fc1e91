"""`ServerProcess`: a server as a child process, on a free loopback port, that leaves nothing behind.

Blocking, for threads and fixtures; `esmd.testing.embedded` is the asyncio face. The child runs under
`esmd.testing.guard`, so it ends with its owner even when that is killed with SIGKILL.

    state     leaves it when                                       then
    --------  ---------------------------------------------------  -----------------------------
    new       `start`                                              starting
    starting  its health page answers, and is its own              running
    starting  it ends because its port is taken                    starting, on another port
    starting  it ends otherwise, is cancelled, or takes too long   stopped, `ServerStartError`
    running   `stop`                                               stopped
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from esmd.testing import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PORT_TRIES = 5
_PORT_TAKEN = ("address already in use", "is already in use", "errno 98", "errno 48")
_TAIL_LINES = 40
_LOOK_SECONDS = 0.05
_PROBE_SECONDS = 2.0


class ServerStartError(RuntimeError):
    """A server did not come up; the message ends with the last lines that it wrote."""


class ServerProcess:
    """One server.

    Args:
        name: for messages.
        command: what to run.
        environment: returns the variables to add, given the port and the server's own temporary folder;
            a value of None takes an inherited variable away.
        health_path: answers 200 once the server is ready.
        is_own: whether the health page's body is this very server's, not that of a stranger on the same port.
        start_seconds: how long it may take.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Callable[[int, Path], Mapping[str, str | None]],
        health_path: str,
        is_own: Callable[[bytes], bool] = lambda _body: True,
        start_seconds: float = 60.0,
    ) -> None:
        self.name = name
        self.port = 0
        self._command = list(command)
        self._environment = environment
        self._health_path = health_path
        self._is_own = is_own
        self._start_seconds = start_seconds
        self._guard: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._cancelled = threading.Event()

    @property
    def endpoint_url(self) -> str:
        """The server's URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output_tail(self) -> str:
        """The last lines that the server wrote."""
        return "\n".join(self._lines)

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> None:
        """Start the server and wait until it is ready; raises `ServerStartError`."""
        for _ in range(_PORT_TRIES):
            self._launch()
            if self._wait_until_ready():
                return
            self.stop()
            if not any(sign in self.output_tail.lower() for sign in _PORT_TAKEN):
                break
        raise ServerStartError(f"{self.name} did not start. Its last lines:\n{self.output_tail or '(none)'}")

    def cancel(self) -> None:
        """Make a `start` that runs in another thread give up."""
        self._cancelled.set()

    def stop(self) -> None:
        """End the server, its children and its folder; returns when they are gone."""
        process, self._guard = self._guard, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the lifeline
        try:
            process.wait(guard.GRACE_SECONDS + 5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        if process.stdout is not None:
            process.stdout.close()

    def _launch(self) -> None:
        self.port = _free_port()
        self._lines.clear()
        folder = Path(tempfile.mkdtemp(prefix="esmd-server-"))
        changes = {"TMPDIR": str(folder), **self._environment(self.port, folder)}
        inherited = {name: value for name, value in os.environ.items() if name not in changes}
        try:
            self._guard = subprocess.Popen(  # noqa: S603 - our own guard, and a command that our caller chose
                [sys.executable, "-I", guard.__file__, "--remove", str(folder), "--", *self._command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=inherited | {name: value for name, value in changes.items() if value is not None},
                start_new_session=True,  # Ctrl-C at a terminal is for the owner, who stops the server in its time
            )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._reader = threading.Thread(target=self._read, args=(self._guard,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the server's last lines, so that its pipe never fills."""
        if process.stdout is None:
            return
        for line in process.stdout:
            self._lines.append(line.decode(errors="replace").rstrip())

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + self._start_seconds
        while self.is_running and time.monotonic() < deadline:
            if self._answers():
                return True
            if self._cancelled.wait(_LOOK_SECONDS):
                return False
        return False

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by the user's proxy
        url = self.endpoint_url + self._health_path
        with contextlib.suppress(OSError, urllib.error.HTTPError), opener.open(url, timeout=_PROBE_SECONDS) as answer:
            return self._is_own(answer.read()) and self.is_running
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
