"""What the machine can do to a daemon: stop it for a while, fill its disk, take its file away, spoil it, not know a name."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.fault_stage import VISIBILITY, make_queue
from support.stream_world import World, data_of, stream_config, stream_mapping, wait_until

if TYPE_CHECKING:
    pass

DISK_BYTES = 2 * 1024 * 1024


def can_mount() -> bool:
    """Whether a file system of our own can be made here, which takes root on Linux."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


own_disk = pytest.mark.skipif(not can_mount(), reason="needs a mount namespace: run as root on Linux (sudo make test)")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def stream_setup(world: World, folder: Path, journal: Journal, **mapping: Any) -> tuple[dict[str, Any], Any]:
    stream = world.make_stream("machine")
    functions = {"script": function("script", journal, timeout=10)}
    mappings = {"stream": stream_mapping(stream.arn, "script", batch_size=2, **mapping)}
    return stream_config(folder, functions, mappings), stream


def delivered(journal: Journal) -> list[int]:
    return [data_of(record)["n"] for entry in journal.entries("script") for record in entry["records"]]


def test_a_daemon_that_was_stopped_longer_than_messages_are_hidden_loses_nothing(
    world: World, tmp_path: Path, journal: Journal
):
    queue = make_queue(world, "frozen")
    config, stream = stream_setup(world, tmp_path, journal)
    config["functions"]["slow"] = function("slow", journal, timeout=VISIBILITY)
    config["mappings"]["queue"] = {"event_source_arn": queue.arn, "function_name": "slow", "batch_size": 1}
    with Daemon(tmp_path, config, environ=world.environ) as daemon:
        daemon.wait_for("daemon.ready")
        sqs = world.client("sqs")
        for number in range(4):
            sqs.send_message(QueueUrl=queue.url, MessageBody=str(number))
        daemon.wait_until(lambda: journal.entries("slow-begin"), what="a handler at work")
        daemon.signal(signal.SIGSTOP)
        world.put(stream, *({"n": n} for n in range(6)))
        # The messages under way are visible again: the server says so, no clock of ours does.
        names = ["ApproximateNumberOfMessagesNotVisible"]
        hidden = lambda: sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)["Attributes"][names[0]]  # noqa: E731
        wait_until(lambda: hidden() == "0", "messages to be visible again")
        daemon.signal(signal.SIGCONT)
        wait_until(lambda: {b for [b] in journal.bodies("slow-end")} == {"0", "1", "2", "3"}, "all messages")
        wait_until(lambda: len(set(delivered(journal))) == 6, "all records")
        daemon.process.terminate()
        assert daemon.exit_code() == 0
    assert list(dict.fromkeys(delivered(journal))) == list(range(6))
    assert daemon.events("internal.error") == []


class Disk:
    """A small file system that only the daemon has: `inside` is how it is started (`read_only`: with nothing to be
    written there), and `path` where it is."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self.path.mkdir()
        self.inside = self._mounted(f"size={DISK_BYTES}")
        self.read_only = self._mounted("ro")

    def _mounted(self, options: str) -> list[str]:
        mount = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
        return ["unshare", "-m", "sh", "-c", mount, str(self.path)]

    def seen_from_here(self, daemon: Daemon) -> Path:
        """The same folder, through the daemon's eyes."""
        return Path(f"/proc/{daemon.process.pid}/root") / self.path.relative_to("/")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@own_disk
def test_a_full_disk_holds_a_stream_up_and_loses_nothing(world: World, tmp_path: Path, journal: Journal, disk: Disk):
    config, stream = stream_setup(world, tmp_path, journal)
    config["state"]["path"] = str(disk.path / "state.db")
    with Daemon(tmp_path, config, environ=world.environ, inside=disk.inside) as daemon:
        daemon.wait_for("daemon.ready")
        filler = disk.seen_from_here(daemon) / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        world.put(stream, *({"n": n} for n in range(40)))
        said = daemon.wait_for("mapping.unavailable", mapping="stream")
        assert "disk is full" in said["error_message"]
        assert "Make room" in said["error_message"]
        filler.unlink()
        daemon.wait_for("mapping.recovered", mapping="stream")
        wait_until(lambda: len(set(delivered(journal))) == 40, "all records")
        daemon.process.terminate()
        assert daemon.exit_code() == 0
    assert delivered(journal) == list(range(40))


@own_disk
def test_a_state_file_on_a_read_only_disk_is_refused_with_a_way_out(
    world: World, tmp_path: Path, journal: Journal, disk: Disk
):
    config, _ = stream_setup(world, tmp_path, journal)
    config["state"]["path"] = str(disk.path / "state.db")
    with Daemon(tmp_path, config, environ=world.environ, inside=disk.read_only) as daemon:
        assert daemon.exit_code() == 1
    [said] = daemon.garbage
    assert "state.db cannot be written" in said
    assert "choose another state file" in said


@pytest.mark.parametrize("spoilt", ["head", "middle", "cut"])
def test_a_spoilt_state_file_is_refused_with_a_way_out_and_left_alone(
    world: World, tmp_path: Path, journal: Journal, spoilt: str
):
    config, stream = stream_setup(world, tmp_path, journal)
    world.put(stream, *({"n": n} for n in range(4)))
    with Daemon(tmp_path, config, "--exit-when-idle", "300ms", environ=world.environ) as daemon:
        assert daemon.exit_code() == 0
    state = tmp_path / "state.db"
    content = bytearray(state.read_bytes())
    match spoilt:
        case "head":
            content[:100] = b"\xff" * 100
        case "middle":
            content[4096:-4096] = b"\xa5" * (len(content) - 8192)
        case "cut":
            del content[len(content) // 2 :]
    state.write_bytes(content)
    with Daemon(tmp_path, config, environ=world.environ) as daemon:
        assert daemon.exit_code() == 1
    [said] = daemon.garbage
    assert str(state) in said
    assert any(way in said for way in ("move it away", "Name another state file"))
    assert "Traceback" not in said
    assert state.read_bytes() == content
    state.unlink()
    with Daemon(tmp_path, config, "--exit-when-idle", "300ms", environ=world.environ) as daemon:
        assert daemon.exit_code() == 0
    assert delivered(journal) == [0, 1, 2, 3] * 2


def test_a_name_that_nobody_knows_is_said_and_stopped_like_any_trouble(tmp_path: Path, journal: Journal):
    arn = "arn:aws:sqs:us-east-1:000000000000:orders"
    config = {
        "version": 1,
        "aws": {"region": "us-east-1", "endpoint_url": "http://esmd-nobody.invalid:4566", "allow_remote": True},
        "functions": {"fine": function("fine", journal)},
        "mappings": {"queue": {"event_source_arn": arn, "function_name": "fine"}},
    }
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with Daemon(tmp_path, config, environ=keys) as daemon:
        said = daemon.wait_for("mapping.unavailable", mapping="queue")
        assert "esmd-nobody.invalid" in json.dumps(said)
        daemon.process.terminate()
        assert daemon.exit_code() == 0
    assert daemon.events("internal.error") == []
