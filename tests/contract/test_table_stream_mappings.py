"""The daemon as a process, on the streams of DynamoDB tables: what AWS recorded of them must be so here.

One daemon runs every scenario at once, each on a table of its own.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.stream_world import Inbox, World, stream_config, stream_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stream_world import Source

pytestmark = pytest.mark.server

VIEWS = ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"]
ITEM: dict[str, Any] = {
    "id": {"S": "a"},
    "number": {"N": "12345678901234567890.5"},
    "binary": {"B": b"\x01\x02\xff"},
    "binaries": {"BS": [b"\x01", b"\x02"]},
    "nothing": {"NULL": True},
    "nested": {"M": {"list": {"L": [{"N": "1"}, {"B": b"\xff"}, {"BOOL": False}]}}},
    "texts": {"SS": ["é", "x"]},
}
PLAIN: dict[str, Any] = {
    **ITEM,
    "binary": {"B": "AQL/"},
    "binaries": {"BS": ["AQ==", "Ag=="]},
    "nested": {"M": {"list": {"L": [{"N": "1"}, {"B": "/w=="}, {"BOOL": False}]}}},
}
CHANGED: dict[str, Any] = {"id": {"S": "a"}, "number": {"N": "-0.1"}}
FILTER = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["order"]}}}}
MAPPINGS: dict[str, dict[str, Any]] = {
    **{view: {} for view in VIEWS},
    "poison": {"maximum_retry_attempts": 1, "bisect_batch_on_function_error": True},
    "filtered": {"filter_criteria": {"filters": [{"pattern": FILTER}]}},
    "latest": {"starting_position": "LATEST"},
    "lanes": {"parallelization_factor": 4, "batch_size": 2},
}


@dataclass
class Stage:
    """Every scenario's table, and the daemon that works on them."""

    world: World
    daemon: Daemon
    journal: Journal
    tables: dict[str, Source]
    inbox: Inbox

    def batches(self, scenario: str) -> list[list[dict[str, Any]]]:
        arn = self.tables[scenario].arn
        entries = [entry["records"] for entry in self.journal.entries("table")]
        return [records for records in entries if records[0]["eventSourceARN"] == arn]

    def records(self, scenario: str) -> list[dict[str, Any]]:
        return [record for batch in self.batches(scenario) for record in batch]

    def keys(self, scenario: str) -> list[str]:
        return [record["dynamodb"]["Keys"]["id"]["S"] for record in self.records(scenario)]

    def delivered(self, scenario: str, last: str) -> list[str]:
        """The keys of the records delivered, once that one is among them."""
        self.daemon.wait_until(lambda: last in self.keys(scenario), what=f"{last} of {scenario}", within=60)
        return self.keys(scenario)


@pytest.fixture(scope="module")
def stage(ministack: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("tables")
    journal = Journal(folder / "journal.jsonl")
    with World(kinesis=ministack, others=ministack) as world:
        views = {name: name if name in VIEWS else "NEW_AND_OLD_IMAGES" for name in MAPPINGS}
        tables = {name: world.make_table(name, view=view) for name, view in views.items()}
        for view in VIEWS:
            world.write(tables[view], ITEM, CHANGED)
            world.remove(tables[view], "a")
        world.write(tables["poison"], *({"id": {"S": key}} for key in ("a", "b", "poison", "c")))
        world.write(
            tables["filtered"],
            {"id": {"S": "1"}, "kind": {"S": "order"}},
            {"id": {"S": "2"}, "kind": {"S": "gift"}},
            {"id": {"S": "1"}, "kind": {"S": "order"}, "more": {"N": "1"}},
            {"id": {"S": "3"}, "kind": {"S": "order"}},
        )
        world.write(tables["latest"], {"id": {"S": "old"}})
        world.write(tables["lanes"], *({"id": {"S": f"i{n % 5}"}, "n": {"N": str(n)}} for n in range(40)))
        inbox = Inbox(world, world.make_queue("failures"))
        mappings = {name: stream_mapping(tables[name].arn, "table", **settings) for name, settings in MAPPINGS.items()}
        mappings["poison"]["destination_config"] = {"on_failure": {"destination": inbox.queue.arn}}
        # The label is the user's way not to have to look it up.
        arn, _, _ = tables["lanes"].arn.rpartition("/")
        mappings["lanes"]["event_source_arn"] = f"{arn}/latest"
        functions = {"table": function("table", journal, timeout=10, reserved_concurrency=4)}
        with Daemon(folder, stream_config(folder, functions, mappings), environ=world.environ) as daemon:
            daemon.wait_for("daemon.ready", within=60)
            yield Stage(world, daemon, journal, tables, inbox)


@pytest.mark.parametrize("view", VIEWS)
def test_the_event_is_as_lambda_sends_it(stage: Stage, view: str) -> None:
    stage.daemon.wait_until(lambda: len(stage.records(view)) >= 3, what="three changes", within=60)
    insert, modify, remove = records = stage.records(view)
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    assert list(insert) == [
        "eventID",
        "eventName",
        "eventVersion",
        "eventSource",
        "awsRegion",
        "dynamodb",
        "eventSourceARN",
    ]
    for record in records:
        change = record["dynamodb"]
        assert (record["eventVersion"], record["eventSource"]) == ("1.1", "aws:dynamodb")
        assert (record["awsRegion"], record["eventSourceARN"]) == ("us-east-1", stage.tables[view].arn)
        assert re.fullmatch(r"[0-9a-f-]{32,36}", record["eventID"])
        assert isinstance(change["ApproximateCreationDateTime"], float)
        assert abs(change["ApproximateCreationDateTime"] - time.time()) < 600
        assert change["SequenceNumber"].isdigit()
        assert isinstance(change["SizeBytes"], int)
        assert change["StreamViewType"] == view
        assert change["Keys"] == {"id": {"S": "a"}}
    new, old = view in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"), view in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES")
    images = [(record["dynamodb"].get("NewImage"), record["dynamodb"].get("OldImage")) for record in records]
    assert images == [
        (PLAIN if new else None, None),
        (CHANGED if new else None, PLAIN if old else None),
        (None, CHANGED if old else None),
    ]
    assert [name for name in modify["dynamodb"] if name.endswith("Image")] == ["NewImage"] * new + ["OldImage"] * old
    assert "NewImage" not in remove["dynamodb"]


def test_a_poison_item_is_bisected_out_and_reported(stage: Stage) -> None:
    stage.daemon.wait_until(stage.inbox.look, what="the report", within=60)
    keys = stage.delivered("poison", "c")
    assert [key for key in dict.fromkeys(keys) if key != "poison"] == ["a", "b", "c"]
    [body] = stage.inbox.bodies
    record = json.loads(body)
    info = record["DDBStreamBatchInfo"]
    [bad] = {
        r["dynamodb"]["SequenceNumber"]: r
        for r in stage.records("poison")
        if r["dynamodb"]["Keys"]["id"]["S"] == "poison"
    }.values()
    assert list(record) == ["requestContext", "responseContext", "version", "timestamp", "DDBStreamBatchInfo"]
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert info["startSequenceNumber"] == info["endSequenceNumber"] == bad["dynamodb"]["SequenceNumber"]
    assert (info["batchSize"], info["streamArn"]) == (1, stage.tables["poison"].arn)
    whole_seconds = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(whole_seconds, info["approximateArrivalOfFirstRecord"])
    assert re.fullmatch(whole_seconds, info["approximateArrivalOfLastRecord"])


def test_a_pattern_names_the_types_of_values(stage: Stage) -> None:
    assert stage.delivered("filtered", "3") == ["1", "3"]


def test_from_latest_only_new_changes_come(stage: Stage) -> None:
    numbers = itertools.count()
    stage.daemon.wait_until(
        lambda: (
            stage.world.write(stage.tables["latest"], {"id": {"S": f"new-{next(numbers)}"}}) or stage.keys("latest")
        ),
        what="a new change",
        within=60,
    )
    stage.world.write(stage.tables["latest"], {"id": {"S": "last"}})
    keys = stage.delivered("latest", "last")
    written = [*(f"new-{n}" for n in range(next(numbers))), "last"]
    assert keys == written[written.index(keys[0]) :]


def test_lanes_keep_the_order_of_every_item_of_a_table_named_by_its_latest_stream(stage: Stage) -> None:
    stage.daemon.wait_until(lambda: len(stage.records("lanes")) >= 40, what="40 changes", within=60)
    order = defaultdict(list)
    for record in stage.records("lanes"):
        image = record["dynamodb"]["NewImage"]
        order[image["id"]["S"]].append(int(image["n"]["N"]))
    assert order == {f"i{n}": list(range(n, 40, 5)) for n in range(5)}


def test_every_line_of_the_log_is_json(stage: Stage) -> None:
    assert stage.daemon.garbage == []
    assert stage.daemon.events("internal.error") == []
