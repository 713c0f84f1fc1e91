"""One record's life: which lines belong to it, from a log or from what the daemon remembers, and nothing of its batch mates."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from click.testing import CliRunner

from esmd.cli.trace import command as trace
from esmd.observe import events as say
from esmd.observe import mapping_events as seen
from esmd.observe import stream_events as streams
from esmd.observe.logging import fields_of
from esmd.processes.trail import FleetTrail
from esmd.trace.life import MATES, life_of
from esmd.trace.logs import event_of, trace_logs
from esmd.trace.text import timeline
from esmd.trace.trail import Trail, stamp

from support.mapping_lab import mapping
from support.stream_lab import stream_mapping

SHARD = {"mapping": "clicks", "shard": "shard-1"}


def received(*ids, **fields):
    return seen.RecordsReceived(**{"mapping": "orders", "records": len(ids), "ids": ids, **fields})


def batch(number, **fields):
    about = {"mapping": "orders", "function": "f", "batch_id": f"b{number}", "request_id": f"r{number}"}
    return {**about, "attempt": 1, "duration_ms": 2.0, **fields}


def succeeded(number, *ids, **fields):
    return seen.BatchSucceeded(**batch(number, records=len(ids), cut="poll", ids=ids, **fields))


def records(number, ids, failed, **fields):
    about = batch(number, **fields)
    del about["attempt"], about["duration_ms"]
    return seen.BatchRecords(**about, ids=tuple(ids), failed_ids=tuple(failed))


def failed(number, *ids, following="visibility_timeout", **fields):
    error = {"error_type": "ValueError", "error_message": "boom", "next": following, "retry_in_s": 5.0}
    return seen.BatchFailed(**batch(number, records=len(ids), ids=ids[:10], **error, **fields))


def partial(number, *ids, of):
    following = {"next": "visibility_timeout", "retry_in_s": 5.0}
    return seen.BatchPartial(**batch(number, records=of, failed=len(ids), ids=ids[:10], **following))


def deleted(number, count):
    return seen.RecordsDeleted(mapping="orders", records=count, batch_id=f"b{number}")


def lines(*events):
    """As the log has them, a second apart."""
    said = [
        {"timestamp": stamp(second), "level": event.level, "event": event.name, **fields_of(event)}
        for second, event in enumerate(events)
    ]
    return json.loads(json.dumps(said))


def names(life):
    return [line["event"] for line in life.events]


MESSAGES = (
    received("m1", "m2"),
    received("m3"),
    say.HandlerOutput(function="f", request_id="r1", stream="stdout", message="order m1"),
    records(1, ["m1", "m2"], ["m1"]),
    partial(1, "m1", of=2),
    deleted(1, 1),
    succeeded(2, "m3"),
    deleted(2, 1),
    received("m1"),
    succeeded(3, "m1", attempt=2),
    deleted(3, 1),
)
"""m1 fails once and then succeeds, m2 succeeds beside it, m3 has nothing to do with them."""

ONCE = ["records.received", "handler.output", "batch.records", "batch.partial"]


@pytest.mark.parametrize(
    ("wanted", "kind", "events", "state"),
    [
        ("m1", "record", [*ONCE, "records.received", "batch.succeeded", "records.deleted"], "deleted"),
        ("m2", "record", [*ONCE, "records.deleted"], "deleted"),
        ("m3", "record", ["records.received", "batch.succeeded", "records.deleted"], "deleted"),
        ("r1", "invocation", [*ONCE[1:], "records.deleted"], "deleted"),
        ("b3", "invocation", ["batch.succeeded", "records.deleted"], "deleted"),
    ],
)
def test_a_message_has_its_own_events_and_none_of_others(wanted, kind, events, state):
    life = life_of(wanted, lines(*MESSAGES))
    assert (life.kind, names(life), life.state) == (kind, events, state)


def test_nothing_is_known_of_an_unknown_id():
    assert life_of("m9", lines(*MESSAGES)) is None


def test_without_debug_lines_a_failure_still_names_its_records():
    warnings = [line for line in lines(*MESSAGES) if line["level"] != "debug"]
    life = life_of("m1", warnings)
    assert (names(life), life.state) == (["handler.output", "batch.partial"], "failed, next: visibility timeout")


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (seen.RecordFiltered(mapping="orders", records=1, ids=("m1",)), "filtered"),
        (seen.RecordsReleased(mapping="orders", records=1, ids=("m1",)), "released"),
        (seen.RecordsExpired(mapping="orders", records=1, ids=("m1",)), "expired"),
        (failed(1, "m1", following="dead_letter_queue"), "failed, next: dead letter queue"),
        (
            seen.DeleteFailed(mapping="orders", id="m1", error_type="Gone", error_message="x"),
            "not deleted",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_how_a_message_stands_after_its_last_event(last, state):
    life = life_of("m1", lines(received("m1"), last))
    assert (len(life.events), life.state) == (2, state)


def test_an_invocation_that_had_to_wait_is_of_its_batch():
    delayed = seen.BatchDelayed(
        mapping="orders", function="f", batch_id="b1", request_id="r0", records=1, reason="throttled", retry_in_s=1.0
    )
    life = life_of("m1", lines(received("m1"), delayed, succeeded(1, "m1")))
    assert names(life) == ["records.received", "batch.delayed", "batch.succeeded"]


def stream_batch(number, ids, *, ok, batch_id="b1"):
    about = {**SHARD, "batch_id": batch_id}
    if ok:
        return [succeeded(number, *ids, **about)]
    return [records(number, ids, ids, **about), failed(number, *ids, following="retry", **about)]


def discarded(first, last, batch_id="b1"):
    return streams.BatchDiscarded(
        **SHARD,
        function="f",
        batch_id=batch_id,
        condition="RetryAttemptsExhausted",
        approximate_invoke_count=2,
        records=int(last) - int(first) + 1,
        first_sequence_number=first,
        last_sequence_number=last,
        destination="arn:queue",
    )


PAGE = seen.RecordsReceived(**SHARD, records=4, first_sequence_number="1", last_sequence_number="4")
STREAM = (
    PAGE,
    seen.RecordsReceived(
        mapping="clicks", shard="shard-2", records=9, first_sequence_number="0", last_sequence_number="9"
    ),
    *stream_batch(1, ["1", "2", "3", "4"], ok=False),
    streams.BatchBisected(**SHARD, function="f", batch_id="b1", request_id="r1", sizes=(2, 2), at_sequence_number="3"),
    *stream_batch(2, ["1", "2"], ok=True),
    streams.CheckpointCommitted(**SHARD, position="after 2"),
    *stream_batch(3, ["3", "4"], ok=False),
    discarded("3", "4"),
    discarded("1", "9", batch_id="other"),
    streams.CheckpointCommitted(**SHARD, position="after 4"),
    streams.CheckpointCommitted(**SHARD, position="after 7"),
)
BEFORE = ["records.received", "batch.records", "batch.failed", "batch.bisected"]


@pytest.mark.parametrize(
    ("wanted", "events", "state"),
    [
        ("2", [*BEFORE, "batch.succeeded", "checkpoint.committed"], "processed"),
        (
            "3",
            [*BEFORE, "batch.records", "batch.failed", "batch.discarded", "checkpoint.committed"],
            "given up, its failure record is in arn:queue",
        ),
    ],
)
def test_a_stream_record_goes_its_way_through_the_halves_of_its_batch(wanted, events, state):
    life = life_of(wanted, lines(*STREAM))
    assert (names(life), life.state) == (events, state)
    assert {line.get("shard") for line in life.events} == {"shard-1"}


def test_a_range_tells_of_a_record_only_where_its_shard_is_known():
    assert life_of("3", lines(PAGE)) is None
    assert names(life_of("4", lines(PAGE))) == ["records.received"]


def test_an_event_names_no_more_mates_than_anybody_reads():
    ids = [f"m{number}" for number in range(1000)]
    [event] = life_of("m900", lines(succeeded(1, *ids))).events
    assert (len(event["ids"]), event["ids"][0], event["records"]) == (MATES, "m900", 1000)


# --- text


FAILED_ONCE = (
    "1970-01-01T00:00:04.000Z  failed          attempt 1, 1 of 2 failed, next: visibility timeout in 5 s, "
    "request r1, with 1 other: m2"
)


def test_the_timeline_of_a_message_that_fails_once():
    assert timeline(life_of("m1", lines(*MESSAGES))).splitlines() == [
        "m1  deleted",
        "mapping orders",
        "",
        "1970-01-01T00:00:00.000Z  received        with 1 other",
        "1970-01-01T00:00:02.000Z    stdout: order m1",
        FAILED_ONCE,
        "1970-01-01T00:00:08.000Z  received        alone",
        "1970-01-01T00:00:09.000Z  succeeded       attempt 2, 2 ms, request r3, alone",
        "1970-01-01T00:00:10.000Z  deleted",
    ]
    assert "succeeded       attempt 1, 1 of 2 failed" in timeline(life_of("m2", lines(*MESSAGES)))


def test_the_timeline_of_an_invocation_names_its_records():
    assert "request r1, 2 records: m1, m2" in timeline(life_of("r1", lines(*MESSAGES)))


def test_every_event_of_a_life_can_be_shown():
    text = timeline(life_of("3", lines(*STREAM)))
    for part in (
        "split           into 2 and 2, at 3",
        "given up        RetryAttemptsExhausted, 2 attempts, sent to arn:queue",
    ):
        assert part in text
    hostile = say.HandlerOutput(function="f", request_id="r1", stream="stdout", message="\x1b[2J" + "x" * 1000)
    [_, last] = timeline(life_of("r1", lines(hostile, succeeded(1, "m1")))).splitlines()[-2:]
    assert "\x1b" not in timeline(life_of("r1", lines(hostile)))
    assert last.endswith("succeeded       attempt 1, 2 ms, request r1, 1 records: m1")


# --- logs


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda text: text,
        lambda text: f"Jan 01 00:00:00 host esmd[7]: {text}",
        lambda text: f"MESSAGE={text}",
        lambda text: json.dumps({"_PID": "7", "MESSAGE": text}),
        lambda text: json.dumps({"MESSAGE": list(text.encode())}),
        lambda text: json.dumps({"log": text + "\n", "stream": "stderr"}),
    ],
    ids=["plain", "prefix", "export", "journald", "journald-bytes", "docker"],
)
def test_lines_are_found_in_what_others_wrap_around_them(wrapped):
    line = lines(succeeded(1, "m1"))[0]
    assert event_of(wrapped(json.dumps(line)).encode()) == line


@pytest.mark.parametrize(
    "line", ["", "no json", "{broken", "[1]", "{}", '{"MESSAGE": [300]}', '{"MESSAGE": 7}', '{"log": "{\\"a\\": 1}"}']
)
def test_other_lines_are_no_events(line):
    assert event_of(line) is None


def log_of(*events):
    return "".join(json.dumps(line) + "\n" for line in lines(*events)).encode()


def test_several_logs_are_one():
    whole = log_of(*MESSAGES)
    half = whole.index(b"\n", len(whole) // 2) + 1
    life, read = trace_logs("m1", [io.BytesIO(whole[:half]), io.BytesIO(b"garbage\n" + whole[half:])])
    assert names(life) == names(life_of("m1", lines(*MESSAGES)))
    assert (read.lines, read.debug) == (len(MESSAGES) + 1, True)


def test_the_command_reads_files_and_standard_input(tmp_path):
    log = tmp_path / "esmd.log"
    log.write_bytes(log_of(*MESSAGES))
    from_file = CliRunner().invoke(trace, ["m1", str(log)])
    assert from_file.exit_code == 0
    assert from_file.output.startswith("m1  deleted\n")
    as_json = CliRunner().invoke(trace, ["m1", "-", "-o", "json"], input=log.read_bytes())
    assert json.loads(as_json.output)["state"] == "deleted"


def test_the_command_says_what_the_log_cannot_tell(tmp_path):
    log = tmp_path / "esmd.log"
    log.write_bytes(b"".join(line for line in log_of(*MESSAGES).splitlines(keepends=True) if b"debug" not in line))
    done = CliRunner().invoke(trace, ["m3", str(log)])
    assert done.exit_code == 1
    assert done.stderr == (
        "esmd trace: nothing is known of 'm3' in 2 lines; none is of level debug, and only those tell what went well\n"
    )


# --- what a daemon remembers


async def test_the_daemon_remembers_what_a_debug_log_tells():
    trail = Trail(wall=lambda: 1000.0)
    for event in (*MESSAGES, seen.MappingDisabled(mapping="orders", reason="paused")):
        trail.sink(event)
    life, since = await trail.trace("m1")
    assert names(life) == names(life_of("m1", lines(*MESSAGES)))
    assert since is None
    assert await trail.trace("m9") == (None, None)


async def test_its_memory_is_bounded_by_bytes_and_it_says_how_far_it_reaches():
    now = iter(range(100_000))
    trail = Trail(wall=lambda: next(now), most_bytes=100_000)
    for number in range(2_000):
        trail.sink(succeeded(number, *(f"m{number}-{each}" for each in range(10))))
    assert len(trail.lines()) == 100_000 // (400 + 10 * 110)
    life, since = await trail.trace("m1-1")
    assert (life, since) == (None, 2_000 - len(trail.lines()))
    assert (await trail.trace("m1999-9"))[0] is not None
    trail.sink(succeeded(0, *(f"m{each}" for each in range(1_000))))
    assert trail.lines() == []
    assert trail.since is not None


class Member:
    def __init__(self, number, trail):
        self.number = number
        self.trail = trail

    async def ask(self, method, *arguments):
        assert method == "trace"
        return None if self.trail is None else await self.trail.trace(*arguments)


async def test_several_processes_remember_together():
    first, second = (Trail(wall=lambda at=at: at, most_bytes=most) for at, most in ((1.0, 10_000), (2.0, 500)))
    first.sink(records(1, ["m1"], ["m1"]))
    first.sink(failed(1, "m1"))
    second.sink(received("m2"))
    second.sink(received("m2"))
    life, since = await FleetTrail([Member(0, second), Member(1, first), Member(2, None)]).trace("m1")
    assert names(life) == ["batch.records", "batch.failed"]
    assert since == 2.0


# --- what mappings say of themselves is enough


@pytest.mark.looptime
async def test_an_sqs_mapping_says_enough_for_every_message():
    pattern = json.dumps({"body": {"type": ["order"]}})
    async with mapping(filters=[pattern]) as lab:
        lab.send('{"type":"order"}', "plain text")
        await asyncio.sleep(1)
        said = lines(*lab.said)
        [received_line] = [line for line in said if line["event"] == "records.received"]
        states = {life_of(wanted, said).state: names(life_of(wanted, said)) for wanted in received_line["ids"]}
    assert states == {
        "deleted": ["records.received", "batch.succeeded", "records.deleted"],
        "filtered": ["records.received", "record.filtered"],
    }


@pytest.mark.looptime
async def test_a_stream_mapping_says_enough_for_every_record():
    async with stream_mapping(filters=[json.dumps({"data": {"n": [{"numeric": [">", 1]}]}})]) as lab:
        lab.put('{"n":1}', '{"n":2}', '{"n":3}')
        await asyncio.sleep(10)
        said = lines(*lab.said)
        [filtered] = [line for line in said if line["event"] == "record.filtered"]
        [handled] = [line for line in said if line["event"] == "batch.succeeded"]
    assert (len(filtered["ids"]), len(handled["ids"])) == (1, 2)
    assert life_of(filtered["ids"][0], said).state == "filtered"
    for number in handled["ids"]:
        expected = ["records.received", "batch.succeeded", "checkpoint.committed"]
        assert (names(life_of(number, said)), life_of(number, said).state) == (expected, "processed")
