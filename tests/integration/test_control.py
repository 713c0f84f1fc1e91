"""A running daemon is paused, resumed and changed, with traffic: nothing is lost, and what did not change is left alone."""

from __future__ import annotations

import asyncio
import collections
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.daemon import Daemon, Journal, function
from support.servers import make_queue, sqs_client

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server  # all of them start processes


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


class Queues:
    """Two queues, and what was sent to them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[str] = []

        async def make() -> list[Any]:
            async with sqs_client(url) as client:
                return [await make_queue(client, VisibilityTimeout=30) for _ in range(2)]

        self.first, self.second = asyncio.run(make())

    def send(self, queue: Any, number: int) -> list[str]:
        bodies = [f"{len(self.sent) + n}" for n in range(number)]
        self.sent += bodies

        async def send() -> None:
            async with sqs_client(self.url) as client:
                for start in range(0, number, 10):
                    entries = [{"Id": b, "MessageBody": b} for b in bodies[start : start + 10]]
                    await client.send_message_batch(QueueUrl=queue.url, Entries=entries)

        asyncio.run(send())
        return bodies


@pytest.fixture
def queues(ministack: str) -> Queues:
    return Queues(ministack)


def setup(queues: Queues, journal: Journal, tmp_path: Path, **first: Any) -> dict[str, Any]:
    return {
        "aws": {"endpoint_url": queues.url},
        "state": {"path": str(tmp_path / "state.db")},
        "functions": {"fine": function("fine", journal), "slow": function("slow", journal, timeout=5)},
        "mappings": {
            "first": {"event_source_arn": queues.first.arn, "function_name": "fine", **first},
            "second": {"event_source_arn": queues.second.arn, "function_name": "fine"},
        },
    }


def bodies(journal: Journal) -> collections.Counter[str]:
    return collections.Counter(record["body"] for entry in journal.entries() for record in entry["records"])


def rewrite(daemon: Daemon, config: dict[str, Any]) -> None:
    daemon.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def test_a_paused_mapping_polls_no_more_also_after_a_restart_and_resumes_without_a_loss(
    queues: Queues, tmp_path: Path, journal: Journal
) -> None:
    config = setup(queues, journal, tmp_path)
    with Daemon(tmp_path, config) as daemon:
        daemon.wait_for("daemon.ready")
        queues.send(queues.first, 30)
        paused = daemon.esmd("pause", "first")
        assert (paused.returncode, paused.stdout) == (0, "first: Disabled\n"), paused.stderr
        daemon.wait_for("mapping.disabled", mapping="first", reason="paused")
        before = bodies(journal)
        late = queues.send(queues.first, 10)
        other = queues.send(queues.second, 10)
        daemon.wait_until(lambda: set(other) <= bodies(journal).keys(), what="the other mapping")
        assert bodies(journal) - collections.Counter(other) == before
        assert daemon.events("mapping.disabled", mapping="second") == []
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0
    with Daemon(tmp_path, config) as daemon:
        daemon.wait_for("daemon.ready", mappings=1, disabled=1)
        daemon.wait_for("mapping.disabled", mapping="first", reason="paused")
        assert not set(late) & bodies(journal).keys()
        resumed = daemon.esmd("resume", "first")
        assert (resumed.returncode, resumed.stdout) == (0, "first: Enabled\n"), resumed.stderr
        daemon.wait_until(lambda: len(bodies(journal)) == len(queues.sent), what="every message")
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0
    assert set(bodies(journal)) == set(queues.sent)


def test_a_pause_waits_for_what_runs(queues: Queues, tmp_path: Path, journal: Journal) -> None:
    config = setup(queues, journal, tmp_path, function_name="slow")
    with Daemon(tmp_path, config) as daemon:
        daemon.wait_for("daemon.ready")
        queues.send(queues.first, 1)
        daemon.wait_until(lambda: journal.entries("slow-begin"), what="the handler at work")
        assert daemon.esmd("pause", "first").stdout == "first: Disabled\n"
        # What ran has come to its end, and its message is gone.
        [succeeded] = daemon.events("batch.succeeded", mapping="first")
        [disabled] = daemon.events("mapping.disabled", mapping="first")
        assert daemon.log.index(succeeded) < daemon.log.index(disabled)
        assert len(journal.entries("slow-end")) == 1


def test_a_reload_changes_what_changed_and_leaves_the_rest_alone(
    queues: Queues, tmp_path: Path, journal: Journal
) -> None:
    config = setup(queues, journal, tmp_path)
    with Daemon(tmp_path, config) as daemon:
        daemon.wait_for("daemon.ready")
        queues.send(queues.first, 20)
        config["mappings"]["first"]["batch_size"] = 3
        rewrite(daemon, config)
        reloaded = daemon.esmd("reload")
        assert (reloaded.returncode, reloaded.stdout) == (0, "changed: first\nunchanged: 1\n"), reloaded.stderr
        daemon.wait_for("mapping.enabled", mapping="first", batch_size=3)
        daemon.wait_until(lambda: len(bodies(journal)) == len(queues.sent), what="every message")

        daemon.config.write_text("mappings: {first: {}}\nfunctions: [", encoding="utf-8")
        refused = daemon.esmd("reload")
        assert refused.returncode == 78
        assert "esmd.yaml:" in refused.stderr
        assert len(daemon.events("config.rejected")) == 1

        del config["mappings"]["first"]
        config["functions"]["fine"]["timeout"] = 7
        rewrite(daemon, config)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config.reloaded", changed=["second"], removed=["first"], functions=["fine"])
        daemon.wait_for("mapping.disabled", mapping="first", reason="removed")
        daemon.wait_for("mapping.disabled", mapping="second", reason="updating")
        daemon.wait_for("environment.stopped", function="fine", reason="shutdown")
        queues.send(queues.second, 10)
        daemon.wait_until(lambda: len(bodies(journal)) == len(queues.sent), what="every message")
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0
    assert bodies(journal) == dict.fromkeys(queues.sent, 1)
    assert len(daemon.events("mapping.enabled", mapping="second")) == 2
    assert daemon.events("internal.error") == []


def test_a_watched_file_is_loaded_when_it_is_saved(queues: Queues, tmp_path: Path, journal: Journal) -> None:
    pytest.importorskip("watchfiles")
    config = setup(queues, journal, tmp_path)
    with Daemon(tmp_path, config, "--watch") as daemon:
        daemon.wait_for("daemon.ready")
        daemon.wait_for("config.watched")
        config["mappings"]["first"]["enabled"] = False
        fresh = tmp_path / "fresh.yaml"
        fresh.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        fresh.replace(daemon.config)  # as an editor does
        daemon.wait_for("mapping.disabled", mapping="first", reason="configuration")
        assert daemon.events("mapping.disabled", mapping="second") == []


def test_several_processes_honour_a_pause_and_refuse_to_be_changed(
    queues: Queues, tmp_path: Path, journal: Journal
) -> None:
    config = setup(queues, journal, tmp_path)
    with Daemon(tmp_path, config) as daemon:
        daemon.wait_for("daemon.ready")
        assert daemon.esmd("pause", "first").returncode == 0
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0
    with Daemon(tmp_path, config, "--processes", "2") as daemon:
        daemon.wait_for("daemon.ready", mappings=1, disabled=1)
        daemon.wait_for("mapping.disabled", mapping="first", reason="paused")
        refused = daemon.esmd("resume", "first")
        assert refused.returncode == 1
        assert "several processes" in refused.stderr
        assert "--processes" in refused.stderr
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config.rejected")
        other = queues.send(queues.second, 10)
        daemon.wait_until(lambda: set(other) <= bodies(journal).keys(), what="the messages")
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0


def test_commands_reach_a_daemon_over_http_with_its_token(queues: Queues, tmp_path: Path, journal: Journal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = "a-token-for-this-test"
    config = setup(queues, journal, tmp_path) | {"api": {"listen": f"127.0.0.1:{port}", "token": "${ESMD_API_TOKEN}"}}
    with Daemon(tmp_path, config, environ={"ESMD_API_TOKEN": token}) as daemon:
        daemon.wait_for("daemon.ready")
        paused = daemon.esmd("pause", "first", "--api", f"http://127.0.0.1:{port}")
        assert (paused.returncode, paused.stdout) == (0, "first: Disabled\n"), paused.stderr
        daemon._environ["ESMD_API_TOKEN"] = "another-token-that-is-wrong"
        refused = daemon.esmd("resume", "first", "--api", f"http://127.0.0.1:{port}")
        assert refused.returncode == 1
        assert "a token is needed" in refused.stderr
        assert not any(token in str(event) for event in daemon.log)


def test_without_a_daemon_a_command_says_what_to_do(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, {})
    daemon.config.unlink()
    for command in (["pause", "orders"], ["resume", "orders"], ["reload"]):
        done = daemon.esmd(*command)
        assert done.returncode == 69
        assert "start one with esmd run" in done.stderr
