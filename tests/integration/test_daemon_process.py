"""The daemon's own life: stopping, being killed, starting without what it needs, large numbers."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.servers import make_queue, sqs_client

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server  # all of them start processes


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def fake() -> Iterator[str]:
    """The fast fake as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "esmd.testing.fake_sqs", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def config(url: str, arn: str, functions: dict[str, Any], **mapping: Any) -> dict[str, Any]:
    [name] = functions
    return {
        "version": 1,
        "aws": {"endpoint_url": url},
        "functions": functions,
        "mappings": {"orders": {"event_source_arn": arn, "function_name": name, **mapping}},
    }


def with_queue(url: str, work: Any, **attributes: Any) -> Any:
    async def call() -> Any:
        async with sqs_client(url) as client:
            return await work(client, await make_queue(client, **attributes))

    return asyncio.run(call())


async def send_all(client: Any, queue: Any, bodies: list[str]) -> None:
    for start in range(0, len(bodies), 10):
        chunk = bodies[start : start + 10]
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(chunk)]
        answer = await client.send_message_batch(QueueUrl=queue.url, Entries=entries)
        assert not answer.get("Failed")


async def left(url: str, queue: Any) -> int:
    async with sqs_client(url) as client:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)


def test_ten_thousand_messages_are_each_handled_exactly_once(fake: str, tmp_path: Path, journal: Journal) -> None:
    bodies = [f"message {n}" for n in range(10_000)]

    async def fill(client: Any, queue: Any) -> Any:
        await send_all(client, queue, bodies)
        return queue

    queue = with_queue(fake, fill, VisibilityTimeout=300)
    setup = config(fake, queue.arn, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup, "--exit-when-idle", "1s", "--log-level", "info") as daemon:
        assert daemon.exit_code(within=120) == 0
    counts = collections.Counter(body for batch in journal.bodies("fine") for body in batch)
    assert counts == dict.fromkeys(bodies, 1)
    assert asyncio.run(left(fake, queue)) == 0
    [stopped] = daemon.events("daemon.stopped")
    assert stopped["exit_code"] == 0
    stats = daemon.events("mapping.stats", mapping="orders")
    assert sum(event["deleted"] for event in stats) == 10_000


def test_kill_9_in_the_middle_of_a_batch_loses_nothing(ministack: str, tmp_path: Path, journal: Journal) -> None:
    bodies = [f"message {n}" for n in range(12)]

    async def fill(client: Any, queue: Any) -> Any:
        await send_all(client, queue, bodies)
        return queue

    queue = with_queue(ministack, fill, VisibilityTimeout=4)
    functions = {"slow": function("slow", journal, timeout=3, reserved_concurrency=2)}
    setup = config(ministack, queue.arn, functions, batch_size=2)
    with Daemon(tmp_path, setup) as daemon:
        daemon.wait_until(lambda: journal.entries("slow-begin"), what="a batch under way")
        worker = daemon.events("function.init")[0]["pid"]
        daemon.signal(signal.SIGKILL)
        assert daemon.exit_code() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(worker)
    with Daemon(tmp_path, setup, "--exit-when-idle", "2s") as daemon:
        assert daemon.exit_code(within=90) == 0
    handled = {body for batch in journal.bodies("slow-end") for body in batch}
    assert handled == set(bodies)
    assert asyncio.run(left(ministack, queue)) == 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_term_drains_what_runs_deletes_it_and_exits_0(ministack: str, tmp_path: Path, journal: Journal) -> None:
    async def fill(client: Any, queue: Any) -> Any:
        await send_all(client, queue, ["a"])
        return queue

    queue = with_queue(ministack, fill, VisibilityTimeout=60)
    setup = config(ministack, queue.arn, {"slow": function("slow", journal, timeout=5)})
    with Daemon(tmp_path, setup) as daemon:
        daemon.wait_until(lambda: journal.entries("slow-begin"), what="the batch under way")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("daemon.draining", reason="SIGTERM")
        assert daemon.exit_code() == 0
    assert journal.bodies("slow-end") == [["a"]]
    assert asyncio.run(left(ministack, queue)) == 0
    assert daemon.events("mapping.disabled", mapping="orders")


def test_what_a_long_poll_brings_after_stop_is_given_back(
    any_sqs_server: str, tmp_path: Path, journal: Journal
) -> None:
    async def nothing(client: Any, queue: Any) -> Any:
        return queue

    queue = with_queue(any_sqs_server, nothing, VisibilityTimeout=600)
    functions = {"fine": function("fine", journal)}
    setup = config(any_sqs_server, queue.arn, functions, receive_wait_time_seconds=10)
    with Daemon(tmp_path, setup) as daemon:
        daemon.wait_for("mapping.enabled")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("daemon.draining", pollers=1)

        async def late() -> None:
            async with sqs_client(any_sqs_server) as client:
                await send_all(client, queue, ["late"])

        asyncio.run(late())
        assert daemon.exit_code() == 0
        released = daemon.events("records.released")

    async def receive() -> list[Any]:
        async with sqs_client(any_sqs_server) as client:
            answer = await client.receive_message(QueueUrl=queue.url, WaitTimeSeconds=5)
            return [message["Body"] for message in answer.get("Messages", [])]

    assert asyncio.run(receive()) == ["late"]
    assert journal.entries() == []
    assert [event["records"] for event in released] == [1]


def test_a_drain_longer_than_the_grace_period_is_cut_short(ministack: str, tmp_path: Path, journal: Journal) -> None:
    async def fill(client: Any, queue: Any) -> Any:
        await send_all(client, queue, ["a"])
        return queue

    queue = with_queue(ministack, fill, VisibilityTimeout=60)
    setup = config(ministack, queue.arn, {"hangs": function("hangs", journal, timeout=50)})
    with Daemon(tmp_path, setup, "--grace", "500ms") as daemon:
        daemon.wait_until(journal.entries, what="the batch under way")
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 75
    assert daemon.events("daemon.cut_short", reason="grace period over", in_flight=1)
    assert not is_running(journal.entries("hangs")[0]["pid"])
    assert asyncio.run(left(ministack, queue)) == 1


def test_a_second_interrupt_ends_at_once_with_130(ministack: str, tmp_path: Path, journal: Journal) -> None:
    async def fill(client: Any, queue: Any) -> Any:
        await send_all(client, queue, ["a"])
        return queue

    queue = with_queue(ministack, fill, VisibilityTimeout=60)
    setup = config(ministack, queue.arn, {"hangs": function("hangs", journal, timeout=50)})
    with Daemon(tmp_path, setup) as daemon:
        daemon.wait_until(journal.entries, what="the batch under way")
        daemon.signal(signal.SIGINT)
        daemon.wait_for("daemon.draining", reason="SIGINT")
        daemon.signal(signal.SIGINT)
        assert daemon.exit_code() == 130
    assert not is_running(journal.entries("hangs")[0]["pid"])


def free_endpoint() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


ARN = "arn:aws:sqs:us-east-1:000000000000:nowhere"


def test_an_unreachable_endpoint_is_a_mapping_that_says_so_not_a_dead_daemon(tmp_path: Path, journal: Journal) -> None:
    setup = config(free_endpoint(), ARN, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup) as daemon:
        event = daemon.wait_for("mapping.unavailable", mapping="orders")
        assert f"no connection to {setup['aws']['endpoint_url']}" in event["error_message"]
        assert daemon.wait_for("daemon.ready")["unavailable"] == 1
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0


def test_fail_fast_exits_69_when_the_endpoint_cannot_be_reached(tmp_path: Path, journal: Journal) -> None:
    setup = config(free_endpoint(), ARN, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup, "--fail-fast") as daemon:
        assert daemon.exit_code() == 69


def test_an_idle_run_with_a_broken_mapping_does_not_end_as_a_success(
    ministack: str, tmp_path: Path, journal: Journal
) -> None:
    setup = config(ministack, ARN, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup, "--exit-when-idle", "1s") as daemon:
        assert daemon.exit_code() == 1
    assert "The specified queue does not exist" in daemon.events("mapping.unavailable")[0]["error_message"]


def test_a_queue_that_appears_later_heals_its_mapping(ministack: str, tmp_path: Path, journal: Journal) -> None:
    name = f"later-{os.getpid()}"
    setup = config(ministack, ARN.replace("nowhere", name), {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup) as daemon:
        daemon.wait_for("mapping.unavailable")

        async def create() -> None:
            async with sqs_client(ministack) as client:
                url = (await client.create_queue(QueueName=name))["QueueUrl"]
                await client.send_message(QueueUrl=url, MessageBody="welcome")

        asyncio.run(create())
        daemon.wait_for("mapping.recovered", mapping="orders")
        daemon.wait_until(lambda: journal.bodies("fine") == [["welcome"]], what="the message")


def esmd(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "esmd", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **environ},
        check=False,
    )


def test_without_an_endpoint_it_refuses_to_poll_aws(tmp_path: Path, journal: Journal) -> None:
    setup = config("http://127.0.0.1:1", ARN, {"fine": function("fine", journal)})
    del setup["aws"]
    with Daemon(tmp_path, setup) as daemon:
        assert daemon.exit_code() == 78
    [said] = daemon.garbage
    assert "this would be AWS itself: refused" in said
    assert "--allow-remote" in said


def test_an_endpoint_of_somebody_else_is_refused_too(tmp_path: Path, journal: Journal) -> None:
    setup = config("https://queue.example.com", ARN, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup) as daemon:
        assert daemon.exit_code() == 78
    assert "https://queue.example.com is not a local endpoint" in daemon.garbage[0]


def test_run_refuses_what_lint_refuses(tmp_path: Path) -> None:
    bad = tmp_path / "esmd.yaml"
    bad.write_text("version: 1\nmappings: {orders: {batch_size: 0}}\n", encoding="utf-8")
    run, lint = esmd("run", cwd=tmp_path), esmd("lint", cwd=tmp_path)
    assert run.returncode == lint.returncode == 78
    assert "esmd.yaml:2:" in run.stderr
    assert set(run.stderr.splitlines()) & set((lint.stdout + lint.stderr).splitlines())


def test_unknown_names_of_only_are_a_usage_error(tmp_path: Path, journal: Journal) -> None:
    setup = config("http://127.0.0.1:1", ARN, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup, "--only", "ordes") as daemon:
        assert daemon.exit_code() == 2


def test_dev_creates_nothing_on_an_endpoint_of_somebody_else(tmp_path: Path, journal: Journal) -> None:
    setup = config("https://queue.example.com", ARN, {"fine": function("fine", journal)})
    setup["aws"]["allow_remote"] = True
    with Daemon(tmp_path, setup, command="dev") as daemon:
        assert daemon.exit_code() == 1
    assert "https://queue.example.com is not a local endpoint" in daemon.garbage[0]


def test_dev_shows_the_whole_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    from support.servers import PROJECT

    quickstart = PROJECT / "examples" / "quickstart"
    arguments = ["--traffic", str(quickstart / "traffic.jsonl"), "--exit-when-idle", "2s", "--log-format", "json"]
    started = subprocess.Popen(
        [sys.executable, "-m", "esmd", "dev", str(quickstart), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    _, log = started.communicate(timeout=120)
    assert started.returncode == 0, log
    names = collections.Counter(json.loads(line)["event"] for line in log.splitlines())
    story = {"batch.succeeded", "batch.partial", "record.filtered", "dev.dead_letters", "handler.output"}
    for wanted in story | {"batch.bisected", "batch.discarded", "destination.sent", "checkpoint.committed"}:
        assert names[wanted], wanted
    assert not [line for line in log.splitlines() if "internal.error" in line]
    assert list(tmp_path.iterdir()) == []
