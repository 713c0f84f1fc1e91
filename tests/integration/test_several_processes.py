"""A daemon of several processes: the work divided, nothing lost when one of them or all of them are killed."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.processes import descendants_of, is_running, wait_until
from support.servers import make_queue, sqs_client
from support.stream_kills import KEYS, Traffic
from support.stream_world import World, data_of, stream_config, stream_mapping

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.server


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def ended(daemon: Daemon, *, within: float = 60) -> int:
    """The exit code; a bad one shows what went wrong."""
    code = daemon.exit_code(within=within)
    if code:
        bad = [json.dumps(entry) for entry in daemon.log if entry["level"] in ("warning", "error")]
        raise AssertionError("\n".join([f"exit code {code}", *bad, *daemon.garbage]))
    return code


def filled_queue(url: str, count: int, **attributes: Any) -> Any:
    async def fill() -> Any:
        async with sqs_client(url) as client:
            queue = await make_queue(client, **attributes)
            for start in range(0, count, 10):
                numbers = range(start, min(count, start + 10))
                entries = [{"Id": str(n), "MessageBody": str(n)} for n in numbers]
                await client.send_message_batch(QueueUrl=queue.url, Entries=entries)
            return queue

    return asyncio.run(fill())


def left(url: str, queue: Any) -> int:
    async def ask() -> int:
        async with sqs_client(url) as client:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            answer = await client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)
            return sum(int(answer["Attributes"][name]) for name in names)

    return asyncio.run(ask())


def sqs_config(url: str, arn: str, functions: dict[str, Any], **mapping: Any) -> dict[str, Any]:
    [name] = functions
    return {
        "version": 1,
        "aws": {"endpoint_url": url},
        "functions": functions,
        "mappings": {"orders": {"event_source_arn": arn, "function_name": name, **mapping}},
    }


def orders(journal: Journal) -> dict[str, list[int]]:
    """The numbers of each key, in the order of delivery."""
    found: dict[str, list[int]] = collections.defaultdict(list)
    for entry in journal.entries():
        for record in entry["records"]:
            found[record["kinesis"]["partitionKey"]].append(data_of(record)["n"])
    return found


def repeated(numbers: list[int]) -> list[int]:
    """Without what came again: each number at its first delivery."""
    return list(dict.fromkeys(numbers))


# --- queues


@pytest.mark.parametrize("count", [2, 3])
def test_every_message_is_handled_once_and_the_log_is_that_of_one_daemon(
    count: int, ministack: str, tmp_path: Path, journal: Journal
) -> None:
    queue = filled_queue(ministack, 300, VisibilityTimeout=300)
    setup = sqs_config(ministack, queue.arn, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup, "--processes", str(count), "--exit-when-idle", "1s") as daemon:
        assert ended(daemon) == 0
    assert collections.Counter(b for batch in journal.bodies("fine") for b in batch) == {str(n): 1 for n in range(300)}
    assert left(ministack, queue) == 0
    names = collections.Counter(event["event"] for event in daemon.log)
    for once in ("starting", "ready", "draining", "stopped"):
        assert names[f"daemon.{once}"] == 1
    assert names["process.started"] == count
    assert next(e for e in daemon.log if e["event"] != "api.listening")["event"] == "daemon.starting"
    assert daemon.events("daemon.starting")[0]["pid"] == daemon.process.pid
    assert daemon.log[-1]["event"] == "daemon.stopped"
    [ready] = daemon.events("daemon.ready")
    assert (ready["mappings"], ready["unavailable"]) == (1, 0)
    [stats] = daemon.events("mapping.stats")
    assert (stats["received"], stats["invoked"], stats["deleted"]) == (300, 300, 300)
    [of_function] = daemon.events("function.stats")
    assert of_function["invocations"] == stats["batches"] == len(journal.bodies("fine"))
    assert len(daemon.events("mapping.advice", topic="no_redrive_policy")) == 1
    assert {event["process"] for event in daemon.events("mapping.enabled")} == set(range(count))
    assert daemon.garbage == []


def test_the_limits_of_a_function_and_a_mapping_hold_over_all_processes(
    ministack: str, tmp_path: Path, journal: Journal
) -> None:
    queue = filled_queue(ministack, 8, VisibilityTimeout=300)
    functions = {"slow": function("slow", journal, timeout=5, reserved_concurrency=3)}
    setup = sqs_config(ministack, queue.arn, functions, batch_size=1)
    with Daemon(tmp_path, setup, "--processes", "2", "--exit-when-idle", "1s") as daemon:
        assert ended(daemon) == 0
    moments = [(entry["at"], 1) for entry in journal.entries("slow-begin")]
    moments += [(entry["at"], -1) for entry in journal.entries("slow-end")]
    running, most = 0, 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    assert len(moments) == 16
    assert most == 3
    assert {event["process"] for event in daemon.events("batch.succeeded")} == {0, 1}
    [stats] = daemon.events("function.stats")
    assert stats["limit"] == 3


def test_a_limit_smaller_than_the_number_of_processes_is_kept_by_one_of_them(
    ministack: str, tmp_path: Path, journal: Journal
) -> None:
    queue = filled_queue(ministack, 20)
    functions = {"fine": function("fine", journal)}
    setup = sqs_config(ministack, queue.arn, functions, scaling_config={"maximum_concurrency": 1})
    with Daemon(tmp_path, setup, "--processes", "3", "--exit-when-idle", "1s") as daemon:
        assert ended(daemon) == 0
    assert [e["max_concurrency"] for e in daemon.events("mapping.enabled")] == [1]
    assert sorted(e["mappings"] for e in daemon.events("process.started")) == [0, 0, 1]
    assert sum(map(len, journal.bodies("fine"))) == 20


def test_a_fifo_queue_keeps_the_order_of_its_groups(ministack: str, tmp_path: Path, journal: Journal) -> None:
    async def fill() -> Any:
        async with sqs_client(ministack) as client:
            queue = await make_queue(client, fifo=True, VisibilityTimeout=60)
            for n in range(20):
                entries = [
                    {"Id": g, "MessageBody": f"{g}{n}", "MessageGroupId": g, "MessageDeduplicationId": f"{g}{n}"}
                    for g in "abcd"
                ]
                await client.send_message_batch(QueueUrl=queue.url, Entries=entries)
            return queue

    queue = asyncio.run(fill())
    setup = sqs_config(ministack, queue.arn, {"fine": function("fine", journal)}, batch_size=3)
    with Daemon(tmp_path, setup, "--processes", "2", "--exit-when-idle", "2s") as daemon:
        assert ended(daemon) == 0
    bodies = [body for entry in sorted(journal.entries("fine"), key=lambda e: e["at"]) for body in bodies_of(entry)]
    for group in "abcd":
        assert [body for body in bodies if body[0] == group] == [f"{group}{n}" for n in range(20)]


def bodies_of(entry: dict[str, Any]) -> list[str]:
    return [record["body"] for record in entry["records"]]


# --- stopping


def test_an_interrupt_drains_every_process(ministack: str, tmp_path: Path, journal: Journal) -> None:
    queue = filled_queue(ministack, 4, VisibilityTimeout=60)
    functions = {"slow": function("slow", journal, timeout=5, reserved_concurrency=4)}
    with Daemon(
        tmp_path, sqs_config(ministack, queue.arn, functions, batch_size=1), "--processes", "2", "--log-level", "info"
    ) as daemon:
        daemon.wait_until(lambda: len(journal.entries("slow-begin")) >= 2, what="batches under way")
        os.killpg(daemon.process.pid, signal.SIGINT)  # as a terminal does: every process of the group gets it
        draining = daemon.wait_for("daemon.draining", reason="SIGINT")
        assert draining["in_flight"] >= 1
        assert ended(daemon) == 0
    assert len(journal.entries("slow-end")) == len(journal.entries("slow-begin"))
    assert left(ministack, queue) == 4 - len(journal.entries("slow-end"))
    assert not daemon.events("process.died")


@pytest.mark.parametrize(
    ("second", "arguments", "code", "reason"),
    [
        (signal.SIGINT, [], 130, "second signal"),
        (signal.SIGTERM, [], 75, "second signal"),
        (None, ["--grace", "500ms"], 75, "grace period over"),
    ],
    ids=["interrupted", "terminated", "out-of-grace"],
)
def test_a_halt_ends_every_process_and_their_handlers(
    ministack: str,
    tmp_path: Path,
    journal: Journal,
    second: signal.Signals | None,
    arguments: list[str],
    code: int,
    reason: str,
) -> None:
    queue = filled_queue(ministack, 4, VisibilityTimeout=60)
    functions = {"hangs": function("hangs", journal, timeout=50, reserved_concurrency=2)}
    setup = sqs_config(ministack, queue.arn, functions, batch_size=1)
    with Daemon(tmp_path, setup, "--processes", "2", *arguments) as daemon:
        daemon.wait_until(lambda: len(journal.entries("hangs")) == 2, what="both processes at work")
        family = descendants_of(daemon.process.pid)
        daemon.signal(second or signal.SIGTERM)
        daemon.wait_for("daemon.draining")
        if second is not None:
            daemon.signal(second)
        assert daemon.exit_code() == code
    [cut_short] = daemon.events("daemon.cut_short")
    assert (cut_short["reason"], cut_short["in_flight"]) == (reason, 2)
    [stopped] = daemon.events("daemon.stopped")
    assert stopped["exit_code"] == code
    wait_until(lambda: not any(map(is_running, family)), "everything to be gone")


# --- being killed


def test_kill_9_of_the_parent_leaves_nothing_running(ministack: str, tmp_path: Path, journal: Journal) -> None:
    queue = filled_queue(ministack, 4, VisibilityTimeout=60)
    functions = {"hangs": function("hangs", journal, timeout=50, reserved_concurrency=2)}
    setup = sqs_config(ministack, queue.arn, functions, batch_size=1)
    with Daemon(tmp_path, setup, "--processes", "2") as daemon:
        daemon.wait_until(lambda: len(journal.entries("hangs")) == 2, what="both processes at work")
        family = descendants_of(daemon.process.pid)
        assert len(family) >= 4
        daemon.signal(signal.SIGKILL)
        daemon.exit_code()
    wait_until(lambda: not any(map(is_running, family)), "children and workers to be gone")


def test_a_process_that_dies_is_replaced_and_its_messages_come_back(
    ministack: str, tmp_path: Path, journal: Journal
) -> None:
    queue = filled_queue(ministack, 12, VisibilityTimeout=4)
    functions = {"slow": function("slow", journal, timeout=3, reserved_concurrency=2)}
    setup = sqs_config(ministack, queue.arn, functions, batch_size=2)
    with Daemon(tmp_path, setup, "--processes", "2", "--exit-when-idle", "2s") as daemon:
        daemon.wait_until(lambda: len(journal.entries("slow-begin")) >= 2, what="both at work")
        victim = daemon.events("process.started", process=1)[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        died = daemon.wait_for("process.died", process=1)
        assert (died["pid"], died["exit_status"]) == (victim, -signal.SIGKILL)
        assert ended(daemon, within=90) == 0
    assert len(daemon.events("process.started", process=1)) == 2
    assert {body for batch in journal.bodies("slow-end") for body in batch} == {str(n) for n in range(12)}
    assert left(ministack, queue) == 0


# --- streams


def test_the_shards_are_divided_and_read_by_one_process_each(world: World, tmp_path: Path, journal: Journal) -> None:
    stream = world.make_stream("divided", shards=5)
    world.put_many(stream, [(f"key-{n % 20}", {"n": n}) for n in range(400)])
    setup = stream_config(
        tmp_path,
        {"script": function("script", journal, timeout=10)},
        {"orders": stream_mapping(stream.arn, "script", batch_size=7)},
    )
    with Daemon(tmp_path, setup, "--processes", "2", "--exit-when-idle", "500ms", environ=world.environ) as daemon:
        assert ended(daemon) == 0
    found = orders(journal)
    assert sorted(n for numbers in found.values() for n in numbers) == list(range(400))
    assert all(numbers == sorted(numbers) for numbers in found.values())
    started = daemon.events("shard.started")
    assert len(started) == 5
    assert sorted(collections.Counter(event["process"] for event in started).values()) == [2, 3]
    assert len(daemon.events("shard.discovered")) == 5


@pytest.mark.parametrize("server", ["kinesis_local"])
def test_order_per_key_across_a_split_and_a_merge(
    server: str, tmp_path: Path, journal: Journal, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    with World(kinesis=url, others=url) as world:
        stream = world.make_stream("reshard", shards=2)
        setup = stream_config(
            tmp_path,
            {"script": function("script", journal, timeout=10)},
            {"orders": stream_mapping(stream.arn, "script", batch_size=10)},
        )
        with Daemon(tmp_path, setup, "--processes", "2", environ=world.environ) as daemon:
            daemon.wait_for("daemon.ready", within=60)
            with Traffic(world, stream) as traffic:

                def more_rounds() -> None:
                    goal = traffic.rounds + 5
                    daemon.wait_until(lambda: rounds_in(journal) >= goal, what=f"{goal} rounds", within=60)

                more_rounds()
                world.split(stream, world.open_shards(stream)[0])
                more_rounds()
                left_one, right_one = world.open_shards(stream)[:2]
                world.merge(stream, left_one, right_one)
                more_rounds()
            daemon.wait_until(lambda: rounds_in(journal) >= traffic.rounds, what="everything", within=60)
            assert orders(journal) == {key: list(range(traffic.rounds)) for key in KEYS}
            daemon.wait_until(lambda: len(daemon.events("shard.finished")) == 3, what="three shards to be finished")
        assert_children_follow_parents(daemon)
        assert {event["process"] for event in daemon.events("shard.started")} == {0, 1}


def rounds_in(journal: Journal) -> int:
    found = orders(journal)
    return min(len(found[key]) for key in KEYS)


def assert_children_follow_parents(daemon: Daemon) -> None:
    parents = {e["shard"]: e["parents"] for e in daemon.events("shard.discovered")}
    finished: set[str] = set()
    for event in daemon.log:
        if event["event"] == "shard.finished":
            finished.add(event["shard"])
        elif event["event"] == "shard.started":
            assert set(parents[event["shard"]]) <= finished


def test_a_killed_process_loses_and_disorders_nothing(world: World, tmp_path: Path, journal: Journal) -> None:
    stream = world.make_stream("killed", shards=4)
    setup = stream_config(
        tmp_path,
        {"script": function("script", journal, timeout=10)},
        {"orders": stream_mapping(stream.arn, "script", batch_size=5)},
    )
    with Daemon(tmp_path, setup, "--processes", "2", environ=world.environ) as daemon:
        daemon.wait_for("daemon.ready")
        with Traffic(world, stream) as traffic:
            for victim in (0, 1, 1):
                goal = traffic.rounds + 5
                daemon.wait_until(lambda goal=goal: rounds_seen(journal) >= goal, what=f"{goal} rounds", within=60)
                deaths = len(daemon.events("process.died"))
                os.kill(daemon.events("process.started", process=victim)[-1]["pid"], signal.SIGKILL)
                daemon.wait_until(lambda deaths=deaths: len(daemon.events("process.died")) > deaths, what="the death")
        daemon.wait_until(lambda: rounds_seen(journal) >= traffic.rounds, what="everything", within=60)
        daemon.signal(signal.SIGTERM)
        assert ended(daemon) == 0
    found = orders(journal)
    assert {key: repeated(found[key]) for key in KEYS} == {key: list(range(traffic.rounds)) for key in KEYS}
    assert not daemon.events("internal.error")


def rounds_seen(journal: Journal) -> int:
    """How many rounds have been delivered whole, at least once."""
    found = orders(journal)
    return min(len(set(found[key])) for key in KEYS)


def test_a_second_daemon_on_the_state_file_is_refused(world: World, tmp_path: Path, journal: Journal) -> None:
    stream = world.make_stream("owned")
    setup = stream_config(
        tmp_path,
        {"script": function("script", journal, timeout=10)},
        {"orders": stream_mapping(stream.arn, "script")},
    )
    with Daemon(tmp_path, setup, "--processes", "2", environ=world.environ) as first:
        first.wait_for("daemon.ready")
        with Daemon(tmp_path, setup, environ=world.environ) as second:
            assert second.exit_code() == 1
        assert f"state.db is in use by process {first.process.pid}" in second.garbage[0]


# --- the rest of its life

ARN = "arn:aws:sqs:us-east-1:000000000000:nowhere"


def test_fail_fast_and_idle_ends_know_of_a_mapping_that_cannot_run(
    ministack: str, tmp_path: Path, journal: Journal
) -> None:
    setup = sqs_config(ministack, ARN, {"fine": function("fine", journal)})
    with Daemon(tmp_path, setup, "--processes", "2", "--fail-fast") as daemon:
        assert daemon.exit_code() == 69
    assert daemon.events("daemon.ready", unavailable=1, mappings=1)
    with Daemon(tmp_path, setup, "--processes", "2", "--exit-when-idle", "500ms") as daemon:
        assert daemon.exit_code() == 1


def test_what_handlers_and_the_process_itself_print_is_in_the_log(
    ministack: str, tmp_path: Path, journal: Journal
) -> None:
    (tmp_path / "talkative.py").write_text(
        "import logging, sys\n"
        "def handle(event, context):\n"
        "    print('to stderr', file=sys.stderr)\n"
        "    logging.getLogger('shop').warning('logged %s', 1)\n"
        "    try:\n"
        "        1 / 0\n"
        "    except ZeroDivisionError:\n"
        "        logging.getLogger('shop').exception('divided')\n",
        encoding="utf-8",
    )
    queue = filled_queue(ministack, 1)
    functions = {"talks": {"handler": "talkative:handle", "isolation": "inline"}}
    setup = sqs_config(ministack, queue.arn, functions)
    with Daemon(tmp_path, setup, "--processes", "2", "--exit-when-idle", "500ms") as daemon:
        assert ended(daemon) == 0
    [printed] = daemon.events("process.output", message="to stderr")
    [logged] = daemon.events("logged 1")
    [divided] = daemon.events("divided")
    assert logged["process"] == divided["process"] == printed["process"]
    assert (logged["level"], logged["logger"], logged["mapping"]) == ("warning", "shop", "orders")
    assert "ZeroDivisionError" in divided["exception"]
    assert daemon.garbage == []


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_number_of_processes_that_makes_no_sense_is_a_usage_error(tmp_path: Path, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "esmd", "run", f"--processes={value}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "write 1 or more, or auto" in done.stderr
