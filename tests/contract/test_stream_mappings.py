"""The daemon as a process, on real Kinesis servers: what AWS recorded of stream mappings must be so here.

One daemon runs every scenario of a server at once, each on a stream of its own; the destinations are MiniStack's. The
data of a record says what the handler does with it. Nothing asserts how fast something was.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, function
from support.stream_servers import localstack_kinesis  # noqa: F401 - a fixture
from support.stream_world import Inbox, StreamJournal, World, data_of, stream_config, stream_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stream_world import Source

pytestmark = pytest.mark.server

BISECT = {"bisect_batch_on_function_error": True}
REPORT = {"function_response_types": ["ReportBatchItemFailures"]}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
STALE_AGE = 3
ROLE = "arn:aws:iam::000000000000:role/esmd"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
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
    journal: StreamJournal
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

    def finished(self, scenario: str, mapping: str | None = None) -> None:
        """Wait until every record so far is behind the checkpoint."""
        name = mapping or scenario
        [last] = self.world.put(self.streams[scenario], {"n": -1, "type": "order"})
        self.daemon.wait_until(
            lambda: [e for e in self.daemon.events("checkpoint.committed", mapping=name) if last in e["position"]],
            what=f"{name} to be done with everything",
            within=60,
        )


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture(scope="module", params=["ministack", "kinesis_local", "localstack_kinesis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp(request.param)
    others = request.getfixturevalue("ministack")
    with World(kinesis=request.getfixturevalue(request.param), others=others) as world:
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
        yield from run(world, folder, streams, start, slow_server=request.param == "localstack_kinesis")


def run(world: World, folder: Any, streams: dict[str, Source], start: int, *, slow_server: bool) -> Iterator[Stage]:
    inbox = Inbox(world, world.make_queue("failures"))
    topic_inbox = Inbox(world, world.make_queue("topic"))
    topic, bucket = world.make_topic("failed", subscriber=topic_inbox.queue), world.make_bucket("failed")
    journal = StreamJournal(folder / "journal.jsonl")
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


# --- positions, batches, order


def test_from_the_trim_horizon_batches_keep_their_size_and_order(stage: Stage) -> None:
    stage.delivered("plain", 7)
    assert stage.numbers("plain") == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_event_is_as_lambda_sends_it(stage: Stage) -> None:
    stage.delivered("plain", 7)
    [shard] = stage.world.open_shards(stage.streams["plain"])
    record = stage.invocations("plain")[0]["records"][0]
    number, arrived = record["kinesis"]["sequenceNumber"], record["kinesis"]["approximateArrivalTimestamp"]
    expected = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "größe",
            "sequenceNumber": number,
            "data": base64.b64encode(b'{"n": 0}').decode(),
            "approximateArrivalTimestamp": arrived,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard['ShardId']}:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": ROLE,
        "awsRegion": "us-east-1",
        "eventSourceARN": stage.streams["plain"].arn,
    }
    assert json.dumps(record) == json.dumps(expected)  # the order of the keys too
    assert number.isdigit()
    assert arrived == round(arrived, 3)
    assert abs(time.time() - arrived) < 600


def test_from_latest_only_new_records_come(stage: Stage) -> None:
    new = (stage.world.put(stage.streams["latest"], {"n": n}) for n in itertools.count())
    stage.daemon.wait_until(lambda: next(new) and stage.batches("latest"), what="a new record", within=60)
    stage.finished("latest")
    numbers = [n for batch in stage.numbers("latest") for n in batch]
    assert numbers[-1] == -1
    assert numbers[:-1] == list(range(numbers[0], numbers[-2] + 1))


def test_from_a_time_on_only_later_records_come(stage: Stage) -> None:
    assert stage.delivered("timed", 1) == [[{"new": 1}]]


# --- failures


def test_a_poison_record_is_bisected_out_and_its_neighbours_are_processed_in_order(stage: Stage) -> None:
    stage.reports("bisected", 1)
    stage.delivered("bisected", 30)
    all_of_it = list(range(10))
    assert stage.numbers("bisected") == [
        all_of_it,
        [0, 1, 2, 3, 4],
        [0, 1],
        [2, 3, 4],
        [2],
        [2],
        [2],
        [3, 4],
        [5, 6, 7, 8, 9],
    ]
    sizes = [event["sizes"] for event in stage.daemon.events("batch.bisected", mapping="bisected")]
    assert sizes == [[5, 5], [2, 3], [1, 2]]
    assert len(stage.daemon.events("batch.retrying", mapping="bisected")) >= 2


def test_the_failure_record_is_as_lambda_writes_it(stage: Stage) -> None:
    [record] = stage.reports("bisected", 1)
    [shard] = stage.world.open_shards(stage.streams["bisected"])
    invocation = [e for e in stage.invocations("bisected") if len(e["records"]) == 1][-1]
    bad = invocation["records"][0]["kinesis"]
    arrived = iso(bad["approximateArrivalTimestamp"])
    expected = {
        "requestContext": {
            "requestId": invocation["request_id"],
            "functionArn": FUNCTION + "script",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": record["timestamp"],
        "KinesisBatchInfo": {
            "shardId": shard["ShardId"],
            "startSequenceNumber": bad["sequenceNumber"],
            "endSequenceNumber": bad["sequenceNumber"],
            "approximateArrivalOfFirstRecord": arrived,
            "approximateArrivalOfLastRecord": arrived,
            "batchSize": 1,
            "streamArn": stage.streams["bisected"].arn,
        },
    }
    [body] = stage.inbox.of(stage.streams["bisected"])
    assert body == json.dumps(expected, separators=(",", ":"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["timestamp"])
    [event] = stage.daemon.events("batch.discarded", mapping="bisected")
    assert (event["records"], event["destination"]) == (1, stage.inbox.queue.arn)


def test_recorded_partial_failure(stage: Stage) -> None:
    [record] = stage.reports("partial", 1)
    assert stage.numbers("partial") == [[0, 1, 2], [3, 4, 5], [5], [5], [5], [5]]
    assert record["requestContext"]["approximateInvokeCount"] == 4
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["responseContext"]["functionError"] is None
    assert record["KinesisBatchInfo"]["batchSize"] == 1


def test_with_bisecting_a_partial_answer_isolates_the_record_that_it_names(stage: Stage) -> None:
    [record] = stage.reports("cut", 1)
    stage.finished("cut")
    failed = stage.invocations("cut")[0]["records"][2]["kinesis"]["sequenceNumber"]
    info = record["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"], info["batchSize"]) == (failed, failed, 1)
    assert stage.numbers("cut")[0] == [0, 1, 2, 3, 4, 5]
    rest = [n for batch in stage.numbers("cut")[1:] for n in batch if n > 2]
    assert list(dict.fromkeys(rest)) == [3, 4, 5]


def test_retries_that_are_used_up_discard_the_batch_and_the_next_one_follows(stage: Stage) -> None:
    [record] = stage.reports("exhausted", 1)
    stage.delivered("exhausted", 7)
    assert stage.numbers("exhausted") == [[0, 1, 2], [0, 1, 2], [3]]
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["KinesisBatchInfo"]["batchSize"] == 3
    [retrying] = stage.daemon.events("batch.retrying", mapping="exhausted")
    assert (retrying["error_type"], retrying["error_message"], retrying["attempt"]) == ("RuntimeError", "bad", 1)


def test_a_record_that_gets_too_old_while_it_is_retried_is_discarded(stage: Stage) -> None:
    stage.world.put(stage.streams["aged"], {"n": 0, "raise": "always"})
    [record] = stage.reports("aged", 1)
    assert list(record) == ["requestContext", "version", "timestamp", "KinesisBatchInfo"]
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == max(1, len(stage.invocations("aged")))


def test_a_record_that_is_too_old_already_is_never_delivered(stage: Stage) -> None:
    [record] = stage.reports("stale", 1)
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert "responseContext" not in record
    stage.world.put(stage.streams["stale"], {"n": 1})
    stage.delivered("stale", 1)
    assert stage.numbers("stale") == [[1]]


def test_an_age_that_aws_would_refuse_is_warned_about(stage: Stage) -> None:
    said = "".join(stage.daemon.garbage) + "".join(map(json.dumps, stage.daemon.log))
    assert "maximum_record_age_in_seconds" in said


def test_every_row_of_the_table_of_answers(stage: Stage) -> None:
    failing = len(WRONG) + 1
    reports = stage.reports("rows", failing)
    stage.finished("rows")
    batches = [batch[0] for batch in stage.batches("rows")]
    expected = [{"answer": answer} for answer in MEANT_WELL]
    expected += [row for row in ROWS[len(MEANT_WELL) :] for _ in range(2)]
    assert batches[: len(expected)] == expected
    contexts = [(r["requestContext"]["approximateInvokeCount"], r["requestContext"]["condition"]) for r in reports]
    assert contexts == [(2, "RetryAttemptsExhausted")] * failing
    by_number = sorted(reports, key=lambda r: int(r["KinesisBatchInfo"]["startSequenceNumber"]))
    assert [r["responseContext"]["functionError"] for r in by_number] == [None] * len(WRONG) + ["Unhandled"]


def test_a_handler_that_hangs_is_killed_at_its_timeout_and_the_batch_comes_again(stage: Stage) -> None:
    stage.delivered("hanging", 6)
    assert stage.numbers("hanging") == [[0, 1, 2], [0, 1, 2]]
    [event] = stage.daemon.events("batch.failed", mapping="hanging")
    assert event["error_type"] == "Sandbox.Timedout"
    assert len(stage.daemon.events("handler.timeout", function="hangs_once")) == 1


# --- destinations, and several mappings on one stream


def test_mappings_on_one_stream_are_independent(stage: Stage) -> None:
    for mapping in ("shared", "shared-topic", "shared-bucket"):
        stage.daemon.wait_for("batch.discarded", mapping=mapping, within=60)
    stage.delivered("shared", 6)
    numbers = [batch[0] for batch in stage.numbers("shared")]
    assert sorted(numbers) == [0, 0, 0, 1, 1, 1]
    [unreported] = stage.daemon.events("batch.discarded", mapping="shared")
    assert "destination" not in unreported


def test_a_topic_gets_the_failure_record_in_its_envelope(stage: Stage) -> None:
    stage.daemon.wait_until(stage.topic.look, what="the notification", within=60)
    [body] = stage.topic.bodies
    record = json.loads(json.loads(body)["Message"])
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["KinesisBatchInfo"]["streamArn"] == stage.streams["shared"].arn
    assert "payload" not in record


def test_a_bucket_gets_the_failure_record_with_the_event_as_text(stage: Stage) -> None:
    stage.daemon.wait_until(lambda: stage.world.objects(stage.bucket), what="the object", within=60)
    [(key, body)] = stage.world.objects(stage.bucket).items()
    record = json.loads(body)
    shard = record["KinesisBatchInfo"]["shardId"]
    moment = r"(\d{4})/(\d\d)/(\d\d)/\1-\2-\3T\d\d\.\d\d\.\d\d"
    assert re.fullmatch(rf"aws/lambda/{UUID}/{shard}/{moment}-{UUID}", key)
    assert list(record)[-1] == "payload"
    assert [data_of(each) for each in json.loads(record["payload"])["Records"]] == [{"n": 1, "raise": "bad"}]


# --- filters, lanes, windows


def test_only_what_matches_a_filter_is_delivered(stage: Stage) -> None:
    stage.finished("filtered")
    assert [n for batch in stage.numbers("filtered") for n in batch] == [1, 2, -1]
    assert sum(e["records"] for e in stage.daemon.events("record.filtered", mapping="filtered")) == 2


def test_lanes_run_batches_at_once_and_keep_the_order_of_every_key(stage: Stage) -> None:
    count, keys = 3, [f"key-{n}" for n in range(6)]
    stage.world.put_many(stage.streams["lanes"], [(key, {"n": n}) for n in range(count) for key in keys])
    stage.daemon.wait_until(
        lambda: sum(e["handler"] == "unhurried-end" for e in stage.invocations("lanes")) >= count * len(keys),
        what="everything",
        within=60,
    )
    order, running, most = defaultdict(list), 0, 0
    for entry in stage.invocations("lanes"):
        [record] = entry["records"]
        if entry["handler"] == "unhurried-begin":
            running += 1
            order[record["kinesis"]["partitionKey"]].append(data_of(record)["n"])
        else:
            running -= 1
        most = max(most, running)
    assert order == {key: list(range(count)) for key in keys}
    assert 1 < most <= 3


def test_the_sums_of_tumbling_windows_are_those_of_what_was_put(stage: Stage) -> None:
    source = stage.streams["windows"]

    def calls() -> list[dict[str, Any]]:
        return [e for e in stage.journal.entries("sums") if e["window"]["eventSourceARN"] == source.arn]

    def closed() -> list[dict[str, Any]]:
        return [e for e in calls() if e["window"]["isFinalInvokeForWindow"]]

    put = [0]

    def two_windows() -> bool:
        stage.world.put(source, {"n": put[-1] + 1})
        put.append(put[-1] + 1)
        return len(closed()) >= 2

    stage.daemon.wait_until(two_windows, what="two windows to end", within=60)
    sums: dict[str, int] = defaultdict(int)
    seen: list[int] = []
    for entry in calls():
        [start, end] = (
            datetime.fromisoformat(entry["window"]["window"][name]).timestamp() for name in ("start", "end")
        )
        assert end - start == 2
        assert start % 2 == 0
        for record in entry["records"]:
            assert start <= record["kinesis"]["approximateArrivalTimestamp"] < end
            sums[entry["window"]["window"]["start"]] += data_of(record)["n"]
            seen.append(data_of(record)["n"])
    assert seen == list(range(1, len(seen) + 1))
    for entry in closed():
        window = entry["window"]
        assert window["state"] == {"total": sums[window["window"]["start"]]}
        assert window["isWindowTerminatedEarly"] is False


# --- the log


def test_every_line_of_the_log_is_json(stage: Stage) -> None:
    assert [line for line in stage.daemon.garbage if "warning" not in line] == []
    assert stage.daemon.events("internal.error") == []
    assert stage.daemon.events("mapping.unavailable") == []
