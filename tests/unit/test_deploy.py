"""What is in deploy/: files that cannot be run here are read, and held to what they promise."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socketserver
import subprocess
import sys
import threading
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/esmd.service"
PINNED = re.compile(r"[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.-]+)?")
COMPOSE = sorted(DEPLOY.glob("compose.*.yaml"))


# --- the image


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction of a Dockerfile with its arguments; comments left out, continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = lines.replace("\\\n", " ")
    return [
        (name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


DOCKERFILE = instructions((DEPLOY / "Dockerfile").read_text(encoding="utf-8"))


def test_every_instruction_is_one():
    known = {
        "FROM",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "VOLUME",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert {name for name, _ in DOCKERFILE} == known


def copied() -> list[str]:
    return [
        source
        for name, rest in DOCKERFILE
        if name == "COPY" and not rest.startswith("--from=")
        for source in shlex.split(rest)[:-1]
    ]


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists_and_is_not_ignored(source):
    assert (ROOT / source).exists()
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"]
    assert any(source.rstrip("/") == each or fnmatch(source, f"{each}/*") for each in let_in)


def test_every_package_of_the_wheel_is_copied():
    assert {"esmd/", "pollers/", "mappings/", "config/"} <= set(copied())


def test_images_are_pinned_to_a_version():
    images = [rest.split()[0] for name, rest in DOCKERFILE if name == "FROM"]
    assert len(images) == 2
    assert [image for image in images if not PINNED.fullmatch(image)] == []


def test_the_daemon_is_nobody_special_and_gets_its_signals_itself():
    last = dict(DOCKERFILE)
    user = last["USER"]
    assert user.split(":")[0].isdigit()
    assert user != "0:0"
    assert json.loads(last["ENTRYPOINT"]) == ["/opt/esmd/bin/esmd"]
    assert json.loads(last["CMD"]) == ["run", "/etc/esmd"]
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2])[-1] == "/opt/esmd/healthcheck.py"


def test_the_versions_without_their_hashes_are_constraints(tmp_path):
    [recipe] = [rest for name, rest in DOCKERFILE if name == "RUN" and "versions.txt" in rest]
    command = recipe.partition("&&")[0]
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    lines = [line for line in (tmp_path / "versions.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert len(lines) > 40
    assert [
        line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z,]+\])?==[^\\ ]+( ; [^\\]+)?", line)
    ] == []


# --- its health


class Health(socketserver.StreamRequestHandler):
    """Answers every request with the server's status."""

    def handle(self) -> None:
        self.server.asked.append(self.rfile.readline().decode().strip())  # type: ignore[attr-defined]
        self.wfile.write(f"HTTP/1.1 {self.server.status} X\r\nContent-Length: 0\r\n\r\n".encode())  # type: ignore[attr-defined]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Any]:
    server: Any = socketserver.UnixStreamServer(str(tmp_path / "esmd.sock"), Health)
    server.asked, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def health(*arguments: str, **environ: str) -> int:
    done = subprocess.run(
        [sys.executable, "-I", str(DEPLOY / "healthcheck.py"), *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    return done.returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_a_container_is_healthy_while_its_daemon_says_so(daemon, status, code):
    daemon.status = status
    assert health(daemon.server_address) == code
    assert health(ESMD_SOCKET=daemon.server_address) == code
    assert daemon.asked == ["GET /livez HTTP/1.1"] * 2


def test_a_container_without_a_daemon_is_not_healthy(tmp_path):
    assert health(str(tmp_path / "none.sock")) == 1


# --- compose


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
class TestCompose:
    def test_images_are_pinned_and_ports_are_on_loopback(self, path):
        services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
        for service in services.values():
            build = service.get("build", {})
            images = (
                [service["image"]]
                if "image" in service
                else re.findall(r"^FROM (\S+)", build.get("dockerfile_inline", ""))
            )
            assert images or build["dockerfile"] == "deploy/Dockerfile"
            assert [image for image in images if not PINNED.fullmatch(image)] == []
            assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []

    def test_the_daemon_waits_for_a_healthy_emulator_and_finds_its_files(self, path):
        services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
        [(emulator, condition)] = services["esmd"]["depends_on"].items()
        assert condition == {"condition": "service_healthy"}
        assert services[emulator]["healthcheck"]["test"][0] == "CMD"
        assert services["esmd"]["environment"]["AWS_ENDPOINT_URL"] == f"http://{emulator}:4566"
        [folder] = [each for each in services["esmd"]["volumes"] if "/etc/esmd" in each]
        default = folder.partition(":-")[2].partition("}")[0]
        assert (DEPLOY / default / "esmd.yaml").exists()
        assert services["esmd"]["build"]["context"] == ".."


def test_there_is_one_for_each_emulator():
    assert [path.name for path in COMPOSE] == ["compose.localstack.yaml", "compose.ministack.yaml"]


def test_the_emulators_version_is_the_one_that_is_tested():
    pinned = re.search(r"^ministack==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert f"ministack=={pinned[1]} " in (DEPLOY / "compose.ministack.yaml").read_text(encoding="utf-8")


# --- systemd


def unit_with(program: Path, folder: Path) -> Path:
    """The unit with a program that exists here."""
    text = UNIT.read_text(encoding="utf-8")
    assert text.count("/opt/esmd/bin/esmd") == 1
    unit = folder / "esmd.service"
    unit.write_text(text.replace("/opt/esmd/bin/esmd", str(program)), encoding="utf-8")
    return unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    unit = unit_with(Path(shutil.which("true") or "/bin/true"), tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    own = [line for line in done.stderr.splitlines() if "esmd" in line]  # other units of the machine are not ours
    assert own == []


def test_the_unit_speaks_the_protocol_that_the_daemon_speaks():
    settings = dict(
        line.split("=", 1) for line in UNIT.read_text(encoding="utf-8").splitlines() if "=" in line and line[0] != "#"
    )
    assert settings["Type"] == "notify"
    assert settings["ExecReload"].endswith("-HUP $MAINPID")
    assert float(settings["WatchdogSec"]) > 0
    assert settings["RestartPreventExitStatus"] == "2 78"
    assert settings["Environment"].startswith("XDG_STATE_HOME=/var/lib ESMD_SOCKET=/run/esmd/")
    assert (settings["StateDirectory"], settings["RuntimeDirectory"]) == ("esmd", "esmd")
