"""A real daemon tells how it is: in the terminal, over HTTP, to Prometheus, in a browser's page, in one process or several."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.daemon import Daemon, Journal, function
from support.servers import make_queue, sqs_client
from support.stream_world import World, stream_config, stream_mapping

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server

MESSAGES = 25


def filled_queue(url: str) -> Any:
    async def fill() -> Any:
        async with sqs_client(url) as client:
            queue = await make_queue(client, "orders")
            for number in range(MESSAGES):
                await client.send_message(QueueUrl=queue.url, MessageBody=str(number))
            return queue

    return asyncio.run(fill())


def setup_of(folder: Path, world: World, url: str) -> dict[str, Any]:
    """A queue that is worked off, a stream whose first batch always fails, a queue that is not there, one disabled."""
    journal = Journal(folder / "journal.jsonl")
    stream = world.make_stream("payments")
    world.put(stream, *({"n": n} for n in range(3)))
    (folder / "loud.py").write_text(
        "def fails(event, context):\n    print('charging', len(event['Records']))\n    raise ValueError('no <money>')\n"
    )
    functions = {"fine": function("fine", journal), "charge": {"handler": "loud:fails", "timeout": 5}}
    missing = "arn:aws:sqs:us-east-1:000000000000:no-such-queue"
    mappings = {
        "orders": {"event_source_arn": filled_queue(url).arn, "function_name": "fine"},
        "payments": stream_mapping(stream.arn, "charge", retry_backoff={"initial": "30s", "maximum": "60s"}),
        "missing": {"event_source_arn": missing, "function_name": "fine"},
        "later": {"event_source_arn": f"{missing}-either", "function_name": "fine", "enabled": False},
    }
    return {**stream_config(folder, functions, mappings), "api": {"listen": "127.0.0.1:0"}}


def url_of(daemon: Daemon) -> str:
    [said] = daemon.wait_until(
        lambda: [e for e in daemon.events("api.listening") if e["address"].startswith("http")], what="the port"
    )
    return said["address"]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - of our own daemon
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def status(url: str) -> dict[str, Any]:
    code, text = get(f"{url}/esmd/v1/status")
    assert code == 200, text
    return json.loads(text)


def by_name(value: dict[str, Any], kind: str = "mappings") -> dict[str, Any]:
    return {each["name"]: each for each in value[kind]}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_daemon_tells_what_it_does_and_why_it_does_not(world, ministack, tmp_path, processes):
    setup = setup_of(tmp_path, world, ministack)
    with Daemon(tmp_path, setup, "--processes", str(processes), environ=world.environ) as daemon:
        url = url_of(daemon)
        assert get(f"{url}/livez")[0] == 200
        daemon.wait_for("daemon.ready")
        daemon.wait_for("batch.failed", mapping="payments")
        daemon.wait_until(lambda: _worked_off(url), what="an empty queue")
        value = status(url)
        mappings = by_name(value)

        # every mapping, in the order of the file, and why it does not run
        assert list(mappings) == ["orders", "payments", "missing", "later"]
        assert [mappings[name]["state"] for name in mappings] == ["Enabled", "Enabled", "Enabled", "Disabled"]
        assert mappings["missing"]["reason"].startswith("AWS.SimpleQueueService.NonExistentQueue")
        assert mappings["missing"]["last_error"]["error_type"] == "AWS.SimpleQueueService.NonExistentQueue"
        totals = mappings["orders"]["totals"]
        assert (totals["received"], totals["invoked"], totals["failed"]) == (MESSAGES, MESSAGES, 0)
        assert mappings["orders"]["backlog"] == {"visible": 0, "not_visible": 0, "delayed": 0, "reason": None}
        assert mappings["orders"]["pace"]["last_60_s"]["received"] > 0
        assert mappings["orders"]["last_result"] == "OK"
        assert by_name(value, "functions")["fine"]["invocations"] == totals["batches"]
        assert value["daemon"]["pid"] == daemon.process.pid
        assert (value["daemon"]["processes"], value["daemon"]["missing"]) == (processes, [])

        # the shard that is held up, with its range, its error and its next try
        [shard] = mappings["payments"]["shards"]
        blocked = shard["blocked"]
        assert blocked["records"] == 3
        assert int(blocked["first_sequence_number"]) < int(blocked["last_sequence_number"])
        assert blocked["error_type"] == "ValueError"
        assert blocked["retry_at"] > value["at"]
        assert mappings["payments"]["iterator_age_ms"] >= 0
        assert mappings["payments"]["last_result"] == "PROBLEM: Function call failed"

        # the failure, with what its handler wrote
        [failure] = [each for each in value["failures"] if each["mapping"] == "payments"]
        assert failure["event"] == "batch.failed"
        assert any(line["message"] == "charging 3" for line in failure["lines"]), failure

        # probes: ready though one cannot run, unless asked strictly
        assert get(f"{url}/readyz")[0] == 200
        code, text = get(f"{url}/readyz?strict=true")
        assert code == 503
        assert "missing" in json.loads(text)["reasons"]

        # Prometheus
        samples = {
            (sample.name, sample.labels.get("mapping")): sample.value
            for family in text_string_to_metric_families(get(f"{url}/metrics")[1])
            for sample in family.samples
        }
        assert samples["esmd_polled_event_count_total", "orders"] == MESSAGES
        assert samples["esmd_deleted_event_count_total", "orders"] == MESSAGES
        assert samples["esmd_blocked_shards", "payments"] == 1
        assert samples["esmd_mapping_available", "missing"] == 0

        # the page
        code, page = get(f"{url}/")
        assert code == 200
        assert "Enabled, blocked" in page
        assert blocked["first_sequence_number"] in page

        # the terminal, over the socket
        shown = daemon.esmd("status")
        assert shown.returncode == 0, shown.stderr
        assert f"payments: {shard['shard']} is blocked by ValueError" in shown.stdout
        assert daemon.esmd("status", "orders").returncode == 0
        assert daemon.esmd("status", "payments").returncode == 1
        one = json.loads(daemon.esmd("status", "payments", "-o", "json").stdout)
        assert one["mapping"]["shards"][0]["blocked"]["records"] == 3

        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0


def _worked_off(url: str) -> bool:
    """Whether everything is deleted, and the queue says so: what it said before is good for some seconds."""
    orders = by_name(status(url))["orders"]
    backlog = orders["backlog"] or {}
    return orders["totals"]["deleted"] == MESSAGES and backlog.get("visible") == backlog.get("not_visible") == 0


def test_a_daemon_of_several_processes_refuses_changes_and_says_what_to_do(world, ministack, tmp_path):
    setup = setup_of(tmp_path, world, ministack)
    with Daemon(tmp_path, setup, "--processes", "2", environ=world.environ) as daemon:
        daemon.wait_for("daemon.ready")
        done = daemon.esmd("pause", "orders")
        assert done.returncode == 1
        assert "this daemon runs in several processes, which cannot be changed while they run" in done.stderr


def test_statistics_in_the_log_are_metrics_of_cloudwatch(world, ministack, tmp_path):
    setup = setup_of(tmp_path, world, ministack)
    with Daemon(tmp_path, setup, "--emf", "--stats-every", "500ms", environ=world.environ) as daemon:
        line = daemon.wait_for("mapping.stats", mapping="orders")
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "esmd"
        assert directive["Dimensions"] == [["EventSourceMappingUUID"]]
        assert line["PolledEventCount"] == line["received"]
        uuid = by_name(json.loads(daemon.esmd("status", "-o", "json").stdout))["orders"]["uuid"]
        assert line["EventSourceMappingUUID"] == uuid
