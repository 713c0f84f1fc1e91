"""A server under guard comes up on its own port and never outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from esmd.testing import embedded
from esmd.testing.server_process import ServerProcess, ServerStartError

if TYPE_CHECKING:
    from collections.abc import Callable

# A server with a child; both say who they are. MODE decides how it behaves.
SERVER = """
import http.server, os, pathlib, signal, subprocess, sys
mode, ids = os.environ["MODE"], pathlib.Path(os.environ["IDS"])
if mode == "broken":
    sys.exit("cannot go on")
if mode == "taken" and not ids.exists():
    ids.write_text("")
    sys.exit("OSError: [Errno 98] Address already in use")
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("state").write_text("left by the server")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"mine")
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
ids.write_text(f"{os.getpid()} {child.pid} {os.getcwd()}")
server.serve_forever()
"""


def make(ids: Path, mode: str, **options: object) -> ServerProcess:
    return ServerProcess(
        "Toy",
        [sys.executable, "-I", "-c", SERVER],
        environment=lambda port, _folder: {"PORT": str(port), "MODE": mode, "IDS": str(ids)},
        health_path="/health",
        **options,  # type: ignore[arg-type] - whatever the test asks for
    )


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    if status.parent.parent.joinpath("self").exists():
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def left_behind(ids: Path) -> list[str]:
    """Return what is left of a server: processes, folder."""
    server, child, folder = ids.read_text().split()
    left = [name for name, pid in (("server", server), ("child", child)) if is_alive(int(pid))]
    return left + (["folder"] if Path(folder).exists() else [])


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait for another process; bounded far above what it takes."""
    deadline = time.monotonic() + 15
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_it_starts_and_stops_with_nothing_left(tmp_path: Path):
    ids = tmp_path / "ids"
    process = make(ids, "good")
    process.start()
    assert left_behind(ids) == ["server", "child", "folder"]
    assert process.is_running
    process.stop()
    assert left_behind(ids) == []
    assert not process.is_running
    process.stop()


def test_a_deaf_server_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ids = tmp_path / "ids"
    quick = tmp_path / "quick_guard.py"
    source = Path(embedded.__file__).with_name("guard.py").read_text()
    assert "GRACE_SECONDS = 5.0" in source
    quick.write_text(source.replace("GRACE_SECONDS = 5.0", "GRACE_SECONDS = 0.1"))
    monkeypatch.setattr("esmd.testing.guard.__file__", str(quick))
    process = make(ids, "deaf")
    process.start()
    process.stop()
    assert left_behind(ids) == []


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path: Path):
    with pytest.raises(ServerStartError, match=r"Toy did not start.*\n.*cannot go on"):
        make(tmp_path / "ids", "broken").start()


def test_a_taken_port_is_no_failure(tmp_path: Path):
    process = make(tmp_path / "ids", "taken")
    process.start()
    assert process.is_running
    process.stop()


def test_a_stranger_on_the_port_is_not_mistaken_for_the_server(tmp_path: Path):
    process = make(tmp_path / "ids", "good", is_own=lambda body: body != b"mine", start_seconds=0.5)
    with pytest.raises(ServerStartError):
        process.start()
    assert not process.is_running


def test_a_cancelled_start_gives_up(tmp_path: Path):
    process = make(tmp_path / "ids", "good", is_own=lambda _body: False)
    process.cancel()
    with pytest.raises(ServerStartError):
        process.start()
    assert not process.is_running


def test_it_dies_with_an_owner_that_is_killed(tmp_path: Path):
    ids = tmp_path / "ids"
    owner = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_server_process import make
from pathlib import Path
make(Path({str(ids)!r}), "good").start()
print("up", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert left_behind(ids) == ["server", "child", "folder"]
        process.send_signal(signal.SIGKILL)
    assert eventually(lambda: left_behind(ids) == [])


def test_without_ministack_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(embedded.EmulatorMissingError, match=r"pip install 'esmd\[dev\]'"):
        embedded.find_ministack()


@pytest.mark.parametrize("place", ["beside", "path"])
def test_a_ministack_script_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str):
    script = tmp_path / place / "ministack"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert embedded.find_ministack() == [str(script)]
