"""The daemon as a process, on real Kinesis servers: what AWS recorded of stream mappings must be so here.

One daemon runs every scenario of a server at once, each on a stream of its own; the destinations are MiniStack's. The
data of a record says what the handler does with it. Nothing asserts how fast something was.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from support.stream_stage import MEANT_WELL, ROWS, WRONG, running
from support.stream_world import World, data_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stream_stage import Stage

pytestmark = pytest.mark.server

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
ROLE = "arn:aws:iam::000000000000:role/esmd"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture(scope="module", params=["ministack", "kinesis_local", "localstack_kinesis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp(request.param)
    others = request.getfixturevalue("ministack")
    is_slow = request.param == "localstack_kinesis"
    with (
        World(kinesis=request.getfixturevalue(request.param), others=others) as world,
        running(world, folder, slow_server=is_slow) as stage,
    ):
        yield stage


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
