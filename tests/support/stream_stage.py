"""Every scenario of stream mappings, each on a stream of its own, and one daemon that works on all of them."""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.daemon import Daemon, Journal, function
from support.stream_world import Inbox, World, data_of, stream_config, stream_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.stream_world import Source

BISECT = {"bisect_batch_on_function_error": True}
REPORT = {"function_response_types": ["ReportBatchItemFailures"]}
STALE_AGE = 3
"""Seconds. The one record of `stale` is older than that when the daemon starts."""

MEANT_WELL: list[Any] = ["", [], None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}]
WRONG: list[Any] = [
    {"batchItemFailures": [{"itemIdentifier": "123"}]},
    {"batchItemFailures": [{"itemIdentifier": ""}]},
    {"batchItemFailures": [{"itemIdentifier": None}]},
    {"batchItemFailures": [{"foo": 123}]},
    {"batchItemFailures": [{"foo": None}]},
]
ROWS = [{"answer": answer} for answer in (*MEANT_WELL, *WRONG)] + [{"raise": "row"}]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Records that are there when the daemon starts, and a mapping. `reported`: failure records go to the inbox."""

    data: list[Any] = field(default_factory=list)
    mapping: dict[str, Any] = field(default_factory=dict)
    function: str = "script"
    reported: bool = False
    key: str = "k"


def numbered(count: int, **special: Any) -> list[dict[str, Any]]:
    """`{"n": 0}` to `count - 1`; `at3={"raise": "x"}` adds to the one with number 3."""
    return [{"n": n, **special.get(f"at{n}", {})} for n in range(count)]


SCENARIOS: dict[str, Scenario] = {
    "stale": Scenario([], {"maximum_record_age_in_seconds": STALE_AGE}, reported=True),
    "plain": Scenario(numbered(7), {"batch_size": 3}, key="größe"),
    "latest": Scenario([{"old": 1}], {"starting_position": "LATEST"}),
    "timed": Scenario([{"old": 1}], {"starting_position": "AT_TIMESTAMP"}),
    "bisected": Scenario(
        numbered(10, at2={"raise": "the third is bad"}),
        {**BISECT, "batch_size": 10, "maximum_retry_attempts": 2},
        reported=True,
    ),
    "partial": Scenario(
        numbered(6, at5={"report": True}),
        {**REPORT, "batch_size": 3, "maximum_retry_attempts": 3},
        reported=True,
    ),
    "cut": Scenario(
        numbered(6, at2={"report": True}),
        {**REPORT, **BISECT, "batch_size": 6, "maximum_retry_attempts": 1},
        reported=True,
    ),
    "exhausted": Scenario(
        numbered(4, at1={"raise": "bad"}), {"batch_size": 3, "maximum_retry_attempts": 1}, reported=True
    ),
    "aged": Scenario([], {"maximum_record_age_in_seconds": 2}, reported=True),
    "rows": Scenario(ROWS, {**REPORT, "batch_size": 1, "maximum_retry_attempts": 1}, reported=True),
    "filtered": Scenario(
        [{"type": "gift"}, {"type": "order", "n": 1}, "a text", {"type": "order", "n": 2}],
        {"filter_criteria": {"filters": [{"pattern": {"data": {"type": ["order"]}}}]}},
    ),
    "lanes": Scenario([], {"parallelization_factor": 3, "batch_size": 1}, "unhurried"),
    "windows": Scenario([], {"tumbling_window_in_seconds": 2, "batch_size": 5}, "sums"),
    "hanging": Scenario(numbered(3), {}, "hangs_once"),
    "shared": Scenario(numbered(2, at1={"raise": "bad"}), {"maximum_retry_attempts": 0, "batch_size": 1}),
}


@dataclass
class Stage:
    """Every scenario's stream, and the daemon that works on them."""

    world: World
    daemon: Daemon
    journal: Journal
    streams: dict[str, Source]
    inbox: Inbox
    topic: Inbox
    bucket: str

    def invocations(self, scenario: str) -> list[dict[str, Any]]:
        arn = self.streams[scenario].arn
        return [e for e in self.journal.entries() if e["records"] and e["records"][0]["eventSourceARN"] == arn]

    def batches(self, scenario: str) -> list[list[Any]]:
        return [[data_of(record) for record in entry["records"]] for entry in self.invocations(scenario)]

    def numbers(self, scenario: str) -> list[list[int]]:
        """The `n` of the records of each invocation."""
        return [[data["n"] for data in batch] for batch in self.batches(scenario)]

    def delivered(self, scenario: str, count: int) -> list[list[Any]]:
        """The batches, once they hold that many records."""
        self.daemon.wait_until(
            lambda: sum(map(len, self.batches(scenario))) >= count, what=f"{count} records of {scenario}", within=60
        )
        return self.batches(scenario)

    def reports(self, scenario: str, count: int) -> list[dict[str, Any]]:
        """The failure records, once there are that many."""
        source = self.streams[scenario]
        self.daemon.wait_until(
            lambda: len(self.inbox.of(source)) >= count, what=f"{count} reports of {scenario}", within=60
        )
        return [json.loads(body) for body in self.inbox.of(source)]

    def finished(self, scenario: str) -> None:
        """Wait until every record so far is behind the checkpoint, and one more with the number -1."""
        [last] = self.world.put(self.streams[scenario], {"n": -1, "type": "order"})
        self.daemon.wait_until(
            lambda: [e for e in self.daemon.events("checkpoint.committed", mapping=scenario) if last in e["position"]],
            what=f"{scenario} to be done with everything",
            within=60,
        )


def prepare(world: World) -> tuple[dict[str, Source], int]:
    """Make and fill the streams; also the time at which `timed` is to start."""
    streams = {"stale": world.make_stream("stale")}
    world.put(streams["stale"], {"n": 0})
    began = time.time()
    streams |= world.make_streams(name for name in SCENARIOS if name != "stale")
    for name, scenario in SCENARIOS.items():
        if scenario.data:
            world.put_many(streams[name], [(scenario.key, data) for data in scenario.data])
    start = math.ceil(max(time.time() + 0.1, began + STALE_AGE))  # LocalStack knows whole seconds only
    time.sleep(start - time.time())  # until the one record is older than its mapping allows
    world.put(streams["timed"], {"new": 1})
    return streams, start


@contextlib.contextmanager
def running(world: World, folder: Path, *, slow_server: bool) -> Iterator[Stage]:
    """A daemon at work on every scenario.

    Args:
        slow_server: poll it less often.
    """
    streams, start = prepare(world)
    inbox = Inbox(world, world.make_queue("failures"))
    topic_inbox = Inbox(world, world.make_queue("topic"))
    topic, bucket = world.make_topic("failed", subscriber=topic_inbox.queue), world.make_bucket("failed")
    journal = Journal(folder / "journal.jsonl")
    pace = {"poll_interval": 0.5} if slow_server else {}
    mappings = {}
    for name, scenario in SCENARIOS.items():
        settings = pace | scenario.mapping
        if scenario.reported:
            settings["destination_config"] = {"on_failure": {"destination": inbox.queue.arn}}
        if name == "timed":
            settings["starting_position_timestamp"] = start
        mappings[name] = stream_mapping(streams[name].arn, scenario.function, **settings)
    for name, arn in {"shared-topic": topic, "shared-bucket": f"arn:aws:s3:::{bucket}"}.items():
        target = {"destination_config": {"on_failure": {"destination": arn}}}
        mappings[name] = mappings["shared"] | target | {"function_name": name}  # once per function is all AWS allows
    functions = {
        "shared-topic": function("script", journal, timeout=10),
        "shared-bucket": function("script", journal, timeout=10),
        "script": function("script", journal, timeout=10, reserved_concurrency=4),
        "unhurried": function("unhurried", journal, timeout=10),
        "hangs_once": function("hangs_once", journal, timeout=1),
        "sums": function("sums", journal, timeout=10),
    }
    config = stream_config(folder, functions, mappings)
    with Daemon(folder, config, environ=world.environ) as daemon:
        daemon.wait_for("daemon.ready", within=60)
        yield Stage(world, daemon, journal, streams, inbox, topic_inbox, bucket)
