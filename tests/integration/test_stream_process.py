"""The life of a daemon with stream mappings: killed, stopped, refused its state file, waiting for its stream."""

from __future__ import annotations

import json
import os
import signal
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.stream_kills import assert_nothing_lost, kill_again_and_again
from support.stream_servers import REGION
from support.stream_world import Inbox, World, data_of, stream_config, stream_mapping

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def config(folder: Path, journal: Journal, arn: str, handler: str = "script", **mapping: Any) -> dict[str, Any]:
    functions = {handler: function(handler, journal, timeout=10)}
    return stream_config(folder, functions, {"orders": stream_mapping(arn, handler, **mapping)})


def numbers(journal: Journal, handler: str = "script") -> list[list[int]]:
    return [[data_of(record)["n"] for record in entry["records"]] for entry in journal.entries(handler)]


def test_eight_kills_while_somebody_writes_lose_and_disorder_nothing(world: World, tmp_path: Path) -> None:
    tally, rounds, kills = kill_again_and_again(world, tmp_path, kills=8, seed=20, pause=0.03)
    assert kills == 8
    assert_nothing_lost(tally, rounds, kills)


def test_term_drains_the_batch_under_way_and_nothing_comes_twice(
    world: World, tmp_path: Path, journal: Journal
) -> None:
    stream = world.make_stream("drained")
    world.put(stream, *({"n": n} for n in range(6)))
    setup = config(tmp_path, journal, stream.arn, "unhurried", batch_size=2)
    with Daemon(tmp_path, setup, environ=world.environ) as daemon:
        daemon.wait_until(lambda: journal.entries("unhurried-begin"), what="a batch under way")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("daemon.draining", reason="SIGTERM")
        assert daemon.exit_code() == 0
    begun = numbers(journal, "unhurried-begin")
    assert numbers(journal, "unhurried-end") == begun
    assert len(begun) < 3
    with Daemon(tmp_path, setup, "--exit-when-idle", "500ms", environ=world.environ) as daemon:
        assert daemon.exit_code() == 0
    assert numbers(journal, "unhurried-end") == [[0, 1], [2, 3], [4, 5]]


def test_a_second_daemon_on_one_state_file_refuses_and_names_the_first(
    world: World, tmp_path: Path, journal: Journal
) -> None:
    stream = world.make_stream("owned")
    setup = config(tmp_path, journal, stream.arn)
    with Daemon(tmp_path, setup, environ=world.environ) as first:
        first.wait_for("daemon.ready")
        with Daemon(tmp_path, setup, environ=world.environ) as second:
            assert second.exit_code() == 1
        [said] = second.garbage
        assert f"state.db is in use by process {first.process.pid}" in said
        assert "stop the other one" in said
        assert second.log == []
        world.put(stream, {"n": 1})
        first.wait_until(lambda: numbers(journal) == [[1]], what="the first one at work")


@pytest.mark.parametrize(
    ("path", "text"),
    [("state.db", "state.db is not a state file of esmd"), ("/proc/no/state.db", "cannot be"), (".", "cannot be")],
    ids=["not-a-database", "not-writable", "a-folder"],
)
def test_a_state_file_that_cannot_be_used_is_said_and_ends_the_daemon(
    world: World, tmp_path: Path, journal: Journal, path: str, text: str
) -> None:
    (tmp_path / "state.db").write_text("this is a letter, not a database" * 100, encoding="utf-8")
    setup = config(tmp_path, journal, world.make_stream("stateless").arn)
    setup["state"] = {"path": str(tmp_path / path)}
    with Daemon(tmp_path, setup, environ=world.environ) as daemon:
        assert daemon.exit_code() == 1
    [said] = daemon.garbage
    assert text in said
    assert "Traceback" not in said
    assert (tmp_path / "state.db").read_text(encoding="utf-8").startswith("this is a letter")


def test_a_restart_grants_a_poison_record_no_fresh_retries(world: World, tmp_path: Path, journal: Journal) -> None:
    stream = world.make_stream("poison")
    inbox = Inbox(world, world.make_queue("failures"))
    world.put(stream, {"n": 0, "raise": "bad"})
    setup = config(
        tmp_path,
        journal,
        stream.arn,
        maximum_retry_attempts=3,
        destination_config={"on_failure": {"destination": inbox.queue.arn}},
    )
    for attempts in (1, 2):
        with Daemon(tmp_path, setup, environ=world.environ) as daemon:
            daemon.wait_for("batch.retrying", attempt=attempts)
            daemon.signal(signal.SIGKILL)
            assert daemon.exit_code() == -signal.SIGKILL
    with Daemon(tmp_path, setup, "--exit-when-idle", "500ms", environ=world.environ) as daemon:
        assert daemon.exit_code() == 0
    [body] = inbox.look()
    assert json.loads(body)["requestContext"]["approximateInvokeCount"] == 4
    assert 4 <= len(numbers(journal)) <= 4 + 2  # a kill may have come before the attempt was stored


def test_a_stream_that_is_made_later_heals_its_mapping(world: World, tmp_path: Path, journal: Journal) -> None:
    name = f"later-{uuid.uuid4().hex[:12]}"
    setup = config(tmp_path, journal, f"arn:aws:kinesis:{REGION}:000000000000:stream/{name}")
    with Daemon(tmp_path, setup, environ=world.environ) as daemon:
        event = daemon.wait_for("mapping.unavailable", mapping="orders")
        assert name in event["error_message"]
        assert daemon.wait_for("daemon.ready")["unavailable"] == 1
        stream = world.create_stream(name)
        world.put(stream, {"n": 1})
        daemon.wait_for("mapping.recovered", mapping="orders")
        daemon.wait_until(lambda: numbers(journal) == [[1]], what="the record")


def test_an_idle_run_ends_with_0_when_everything_is_read(world: World, tmp_path: Path, journal: Journal) -> None:
    stream = world.make_stream("finite", shards=3)
    world.put_many(stream, [(f"key-{n}", {"n": n}) for n in range(200)])
    setup = config(tmp_path, journal, stream.arn, batch_size=7)
    with Daemon(tmp_path, setup, "--exit-when-idle", "500ms", environ=world.environ) as daemon:
        assert daemon.exit_code() == 0
    assert sorted(n for batch in numbers(journal) for n in batch) == list(range(200))
    assert daemon.events("daemon.stopped", exit_code=0)


def test_an_idle_run_waits_for_a_batch_that_is_to_be_retried(world: World, tmp_path: Path, journal: Journal) -> None:
    stream = world.make_stream("retried")
    world.put(stream, {"n": 0, "raise": "bad"})
    backoff = {"retry_backoff": {"initial": 3, "maximum": 3}}
    setup = config(tmp_path, journal, stream.arn, maximum_retry_attempts=1, **backoff)
    with Daemon(tmp_path, setup, "--exit-when-idle", "500ms", environ=world.environ) as daemon:
        assert daemon.exit_code() == 0
    assert numbers(journal) == [[0], [0]]
    assert len(daemon.events("batch.discarded")) == 1


def test_an_idle_run_with_a_stream_that_is_not_there_is_no_success(
    world: World, tmp_path: Path, journal: Journal
) -> None:
    name = f"never-{os.getpid()}"
    setup = config(tmp_path, journal, f"arn:aws:kinesis:{REGION}:000000000000:stream/{name}")
    with Daemon(tmp_path, setup, "--exit-when-idle", "500ms", environ=world.environ) as daemon:
        assert daemon.exit_code() == 1
    assert daemon.events("mapping.unavailable", mapping="orders")
