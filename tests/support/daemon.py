"""The real daemon as a process: started on a configuration, its JSON log read as it comes, stopped or killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SUPPORT = Path(__file__).parent


class Daemon:
    """A context manager. `log` holds every event so far, in order."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        command: str = "run",
    ) -> None:
        self.folder = folder
        self.config = folder / "esmd.yaml"
        self.config.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        self._arguments = [command, str(self.config), "--log-format", "json", "--log-level", "debug", *arguments]
        # Not in the test's own folder: the path of a socket has to be short.
        self.socket = Path(tempfile.mkdtemp(prefix="esmd-")) / "esmd.sock"
        self._environ = {**os.environ, "ESMD_SOCKET": str(self.socket), **(environ or {})}
        self.log: list[dict[str, Any]] = []
        self.garbage: list[str] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "esmd", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environ,
            cwd=self.folder,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        shutil.rmtree(self.socket.parent, ignore_errors=True)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text = line.decode()
            with self._changed:
                try:
                    self.log.append(json.loads(text))
                except ValueError:
                    self.garbage.append(text)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of that name so far, with these values."""
        return [e for e in list(self.log) if e["event"] == name and all(e.get(k) == v for k, v in fields.items())]

    def wait_for(self, name: str, *, within: float = 30, **fields: Any) -> dict[str, Any]:
        """Wait for an event; a failure shows the log."""
        return self.wait_until(lambda: self.events(name, **fields), within=within, what=f"{name} {fields}")[0]

    def wait_until(self, found: Callable[[], Any], *, within: float = 30, what: str = "it") -> Any:
        """Wait until `found()` is true; looked at whenever a line was logged, and four times a second."""
        deadline = time.monotonic() + within
        with self._changed:
            while not (result := found()):
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    lines = "\n".join([json.dumps(entry) for entry in self.log[-60:]] + self.garbage[-20:])
                    raise AssertionError(f"waited in vain for {what}; exit={self.process.poll()}\n{lines}")
                self._changed.wait(min(left, 0.25))
        return result

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon alone."""
        self.process.send_signal(number)

    def esmd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that reaches this daemon."""
        return subprocess.run(
            [sys.executable, "-m", "esmd", *arguments],
            env=self._environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def exit_code(self, *, within: float = 30) -> int:
        """Wait for the end; the log is complete after it."""
        code = self.process.wait(within)
        self._reader.join(within)
        return code


class Journal:
    """What the contract handlers wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, handler: str | None = None) -> list[dict[str, Any]]:
        """Invocations so far, in order; of one handler if named."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        # A line that is being written has no end yet.
        entries = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [entry for entry in entries if handler is None or entry["handler"] == handler]

    def bodies(self, handler: str) -> list[list[str]]:
        """The bodies of each invocation."""
        return [[record["body"] for record in entry["records"]] for entry in self.entries(handler)]


def function(handler: str, journal: Journal, **settings: Any) -> dict[str, Any]:
    """A function of `support.contract_handlers`."""
    return {
        "handler": f"contract_handlers:{handler}",
        "timeout": 1,
        "python_path": [str(SUPPORT)],
        "environment": {"JOURNAL": str(journal.path)},
        **settings,
    }
