"""The daemon as a service: a process that tells its manager how it is, and logs clean JSON to the journal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG: dict[str, Any] = {
    "functions": {"f": {"handler": "handlers:handle"}},
    "mappings": {"a": {"event_source_arn": "arn:aws:sqs:us-east-1:000000000000:a", "function_name": "f"}},
}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The manager's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A mapping of an endpoint where nobody is: it says why it cannot run, and the daemon is ready."""
    (tmp_path / "handlers.py").write_text("def handle(event, context):\n    pass\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {**CONFIG, "aws": {"endpoint_url": f"http://127.0.0.1:{port}"}}


def heard(manager: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(65536).decode().split("\n"))


@pytest.mark.parametrize("processes", [1, 2])
def test_it_says_ready_lives_and_stops(manager, config, tmp_path, processes):
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
    with Daemon(tmp_path, config, "--processes", str(processes), environ=environ) as daemon:
        seen: list[dict[str, str]] = []
        while "READY" not in (seen[-1] if seen else {}):
            seen.append(heard(manager))
        assert seen[-1]["STATUS"].startswith("0 mappings run, 1 unavailable")
        while "WATCHDOG" not in heard(manager):
            pass
        daemon.signal(signal.SIGTERM)
        said = [heard(manager)]
        while not said[-1].get("STATUS", "").startswith("stopped"):
            said.append(heard(manager))
        assert daemon.exit_code() == 0
    [stopping] = [each for each in said if "STOPPING" in each]
    assert stopping["STATUS"] == "draining, 0 in flight (SIGTERM)"
    assert stopping["EXTEND_TIMEOUT_USEC"] == "50000000"
    assert said[-1]["STATUS"] == "stopped with exit code 0"
    assert "READY" not in [key for each in said for key in each]
    assert daemon.events("service.unheard") == []


def test_a_hangup_reloads_and_the_manager_is_told_when_it_is_over(manager, config, tmp_path):
    with Daemon(tmp_path, config, environ={"NOTIFY_SOCKET": manager.getsockname()}) as daemon:
        while "READY" not in heard(manager):
            pass
        daemon.signal(signal.SIGHUP)
        began = heard(manager)
        while "RELOADING" not in began:
            began = heard(manager)
        assert int(began["MONOTONIC_USEC"]) > 0
        ended = heard(manager)
        while "READY" not in ended:
            ended = heard(manager)
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0
    assert daemon.events("config.reloaded")


def test_the_handlers_do_not_find_the_managers_socket(manager, config, tmp_path):
    (tmp_path / "handlers.py").write_text(
        "import os\nprint('NOTIFY_SOCKET' in os.environ)\ndef handle(event, context):\n    pass\n", encoding="utf-8"
    )
    with Daemon(tmp_path, config, environ={"NOTIFY_SOCKET": manager.getsockname()}) as daemon:
        assert daemon.wait_for("handler.output")["message"] == "False"


def test_what_goes_to_the_journal_is_a_line_of_json_each(config, tmp_path):
    (tmp_path / "esmd.yaml").write_text(json.dumps(config), encoding="utf-8")
    read, write = os.pipe()
    try:
        status = os.fstat(write)
        done = subprocess.run(
            [sys.executable, "-m", "esmd", "run", "--exit-when-idle", "500ms"],
            cwd=tmp_path,
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", "FORCE_COLOR": "1"},
            stderr=write,
            check=False,
            timeout=60,
        )
    finally:
        os.close(write)
    with os.fdopen(read, "rb") as pipe:
        lines = [json.loads(line) for line in pipe]
    assert done.returncode == 1
    assert lines[0]["event"] == "daemon.starting"
    assert lines[-1]["event"] == "daemon.stopped"
