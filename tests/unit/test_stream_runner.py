"""A stream mapping under virtual time: order, retries, progress, resharding, windows."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import replace

import pytest

from esmd.mappings.outcomes import Throttled
from esmd.observe import mapping_events as say
from esmd.observe import stream_events as stream
from esmd.pollers.streams import Seek
from esmd.testing.stream_engine import StreamEngine

from support.stream_lab import data_of, stream_mapping

pytestmark = pytest.mark.looptime


def poison(*bad):
    def handler(records):
        if any(data_of(r) in bad for r in records):
            raise ValueError("poison")

    return handler


def naming(*bad):
    return lambda records: {
        "batchItemFailures": [{"itemIdentifier": r["kinesis"]["sequenceNumber"]} for r in records if data_of(r) in bad]
    }


async def test_records_are_delivered_once_in_order():
    async with stream_mapping(batch_size=7) as lab:
        lab.put(*map(str, range(80)))
        await asyncio.sleep(30)
        assert lab.delivered == [str(n) for n in range(80)]
        assert max(map(len, lab.batches)) == 7


async def test_one_batch_of_a_shard_at_a_time():
    async with stream_mapping(duration=5, batch_size=1) as lab:
        lab.put("a", "b", "c")
        await asyncio.sleep(60)
        assert lab.invoker.most_running == 1
        assert lab.delivered == ["a", "b", "c"]


async def test_latest_starts_with_what_comes_after_and_keeps_it_over_a_restart():
    async with stream_mapping(start="LATEST", started=False) as lab:
        lab.put("old")
        await asyncio.sleep(60)
        lab.start()
        await asyncio.sleep(5)
        await lab.drain()
        lab.put("while it was down")
        lab.start()
        await asyncio.sleep(5)
        assert lab.delivered == ["while it was down"]


async def test_at_timestamp_starts_there():
    async with stream_mapping(started=False) as lab:
        lab.put("before")
        await asyncio.sleep(10)
        lab.settings = replace(lab.settings, start=Seek.at_time(lab.engine.now()))
        lab.put("after")
        lab.start()
        await asyncio.sleep(5)
        assert lab.delivered == ["after"]


async def test_the_worked_example_of_bisecting():
    """10 records, the third bad, bisect on, 2 retries, a destination [specification B.6]."""
    async with stream_mapping(
        poison("3"), bisect=True, retries=2, destination=True, batch_size=10, started=False
    ) as lab:
        lab.put(*map(str, range(1, 11)))
        lab.start()
        await asyncio.sleep(120)
        [record] = lab.destination.records
        assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert record["requestContext"]["approximateInvokeCount"] == 3
        assert record["KinesisBatchInfo"]["batchSize"] == 1
        good = [b for batch in lab.batches if "3" not in batch for b in batch]
        assert good == ["1", "2", "4", "5", "6", "7", "8", "9", "10"]
        assert lab.heard(stream.BatchBisected)
        [discarded] = lab.heard(stream.BatchDiscarded)
        assert discarded.destination == "arn:aws:sqs:us-east-1:000000000000:failures"


async def test_recorded_partial_failure_restarts_the_count_when_the_checkpoint_advances():
    """6 records, batches of 3, 3 retries, the last always reported [specification H.5]."""
    async with stream_mapping(
        naming("5"), report=True, retries=3, destination=True, batch_size=3, started=False
    ) as lab:
        lab.put(*map(str, range(6)))
        lab.start()
        await asyncio.sleep(120)
        assert lab.batches == [["0", "1", "2"], ["3", "4", "5"], ["5"], ["5"], ["5"], ["5"]]
        [record] = lab.destination.records
        assert record["requestContext"]["approximateInvokeCount"] == 4
        assert record["KinesisBatchInfo"]["batchSize"] == 1
        assert record["responseContext"]["functionError"] is None


async def test_recorded_age_limit_while_retrying():
    """Always failing, age 60, no retry limit: about 8 invocations [specification H.8]."""
    async with stream_mapping(poison("x"), age=60, destination=True) as lab:
        lab.put("x")
        await asyncio.sleep(120)
        [record] = lab.destination.records
        assert record["requestContext"]["condition"] == "RecordAgeExceeded"
        assert record["requestContext"]["approximateInvokeCount"] == 8
        assert "responseContext" not in record


async def test_recorded_stale_record_is_discarded_alone():
    """1 stale and 5 fresh records, age 60 [specification H.7]."""
    async with stream_mapping(age=60, destination=True, started=False) as lab:
        lab.put("stale")
        await asyncio.sleep(61)
        lab.put(*"abcde")
        lab.start()
        await asyncio.sleep(10)
        assert lab.delivered == list("abcde")
        [record] = lab.destination.records
        assert record["requestContext"]["approximateInvokeCount"] == 1
        assert record["KinesisBatchInfo"]["batchSize"] == 1


async def test_without_a_destination_exhausted_records_are_dropped_and_said():
    async with stream_mapping(poison("x"), retries=1) as lab:
        lab.put("x")
        await asyncio.sleep(10)
        lab.put("y")
        await asyncio.sleep(10)
        assert lab.batches == [["x"], ["x"], ["y"]]
        [event] = lab.heard(stream.BatchDiscarded)
        assert (event.destination, event.approximate_invoke_count) == (None, 2)


async def test_a_failing_destination_holds_the_shard_and_loses_nothing():
    async with stream_mapping(poison("x"), retries=0, destination=True) as lab:
        lab.destination.failing = 5
        lab.put("x")
        await asyncio.sleep(5)
        lab.put("y")
        await asyncio.sleep(1)
        assert lab.delivered == ["x"]
        await asyncio.sleep(300)
        assert lab.delivered == ["x", "y"]
        assert len(lab.destination.taken) == 1
        assert len(lab.heard(stream.DestinationFailed)) == 5


async def test_with_drop_a_failing_destination_lets_the_shard_go_on():
    async with stream_mapping(poison("x"), retries=0, destination=True, on_destination_failure="drop") as lab:
        lab.destination.failing = 100
        lab.put("x")
        await asyncio.sleep(5)
        lab.put("y")
        await asyncio.sleep(60)
        assert lab.delivered == ["x", "y"]
        assert lab.heard(stream.BatchDiscarded)[0].destination is None


async def test_throttles_use_no_attempt():
    answers = [Throttled(), Throttled(), Throttled(), None]
    async with stream_mapping(lambda records: answers.pop(0), retries=0) as lab:
        lab.put("x")
        await asyncio.sleep(60)
        assert len(lab.batches) == 4
        assert lab.heard(stream.BatchDiscarded) == []


async def test_a_failing_shard_slows_no_other():
    def handler(records):
        if any(data_of(r) == "bad" for r in records):
            raise ValueError("bad")

    async with stream_mapping(handler, shards=4, batch_size=1) as lab:
        for n in range(4):
            lab.engine.put("events", "k", b"bad" if n == 0 else b"good", hash_key=n * 2**126)
        await asyncio.sleep(10)
        for n in range(1, 4):
            lab.engine.put("events", "k", b"more", hash_key=n * 2**126)
        await asyncio.sleep(10)
        assert lab.delivered.count("good") == lab.delivered.count("more") == 3


async def test_a_shard_that_fails_for_a_minute_is_said_to_be_blocked():
    async with stream_mapping(poison("x"), age=600) as lab:
        lab.put("x")
        await asyncio.sleep(200)
        [event] = lab.heard(stream.ShardBlocked)
        assert event.failing_for_s >= 60
        assert event.error_message == "poison"
        assert event.expires_in_s is not None


# --- progress


async def test_a_restart_goes_on_behind_what_was_processed():
    async with stream_mapping(batch_size=5) as lab:
        lab.put(*map(str, range(20)))
        await asyncio.sleep(10)
        await lab.drain()
        lab.put(*map(str, range(20, 40)))
        lab.start()
        await asyncio.sleep(10)
        assert lab.delivered == [str(n) for n in range(40)]


async def test_a_kill_repeats_no_more_than_the_batch_under_way():
    async with stream_mapping(batch_size=5, duration=3) as lab:
        lab.put(*map(str, range(40)))
        for _ in range(6):
            await asyncio.sleep(4.7)
            await lab.kill()
            lab.start()
        await asyncio.sleep(60)
        firsts = list(dict.fromkeys(lab.delivered))
        assert firsts == [str(n) for n in range(40)]
        assert len(lab.delivered) <= 40 + 6 * 5


async def test_a_restart_grants_a_poison_batch_no_fresh_retries():
    async with stream_mapping(poison("2"), retries=4, destination=True, batch_size=3, backoff=(2.0, 2.0)) as lab:
        lab.put("1", "2", "3")
        for _ in range(3):
            await asyncio.sleep(3)
            await lab.kill()
            lab.put("later")
            lab.start()
        await asyncio.sleep(60)
        invocations = sum("2" in batch for batch in lab.batches)
        assert invocations <= 5 + 3  # one that was cut off by each kill may be repeated
        assert lab.destination.records[0]["KinesisBatchInfo"]["batchSize"] == 3
        assert lab.destination.records[0]["requestContext"]["approximateInvokeCount"] == 5


async def test_a_stop_while_waiting_to_retry_ends_at_once_and_keeps_the_attempts():
    async with stream_mapping(poison("x"), retries=2, destination=True, backoff=(100.0, 100.0)) as lab:
        lab.put("x")
        await asyncio.sleep(5)
        loop = asyncio.get_running_loop()
        before = loop.time()
        await lab.drain()
        assert loop.time() - before < 1
        lab.start()
        await asyncio.sleep(500)
        assert lab.destination.records[0]["requestContext"]["approximateInvokeCount"] == 3
        assert len(lab.batches) == 3


async def test_a_stream_made_anew_is_read_from_its_start_and_said():
    async with stream_mapping() as lab:
        lab.put("a", "b")
        await asyncio.sleep(5)
        await lab.drain()
        lab.engine.delete("events")
        await asyncio.sleep(5)
        lab.engine.create_stream("events")
        lab.put("c")
        lab.start()
        await asyncio.sleep(5)
        assert lab.delivered == ["a", "b", "c"]
        assert len(lab.heard(stream.StreamReplaced)) == 1


async def test_a_stream_replaced_under_way_is_noticed():
    async with stream_mapping() as lab:
        lab.put("a")
        await asyncio.sleep(5)
        lab.engine.delete("events")
        await asyncio.sleep(30)
        assert lab.heard(say.MappingUnavailable)
        lab.engine.create_stream("events")
        lab.put("b")
        await asyncio.sleep(120)
        assert lab.delivered == ["a", "b"]
        assert lab.heard(say.MappingRecovered)


# --- iterators and errors


async def test_an_expired_iterator_goes_on_from_the_last_record_not_from_the_start():
    async with stream_mapping(start="LATEST") as lab:
        await asyncio.sleep(3)
        lab.put("a")
        await asyncio.sleep(3)
        lab.engine.fail("read", "ExpiredIteratorException")
        lab.put("b")
        await asyncio.sleep(5)
        assert lab.delivered == ["a", "b"]


async def test_throttled_reads_back_off_and_lose_nothing():
    async with stream_mapping() as lab:
        lab.engine.fail("read", "ProvisionedThroughputExceededException", times=6)
        lab.put("a")
        await asyncio.sleep(60)
        assert lab.delivered == ["a"]


async def test_reading_stays_within_the_services_limits():
    async with stream_mapping(engine=StreamEngine(throttling=True), read_limit=10) as lab:
        lab.put(*map(str, range(500)))
        await asyncio.sleep(60)
        assert lab.delivered == [str(n) for n in range(500)]
        assert lab.heard(say.MappingUnavailable) == []


async def test_empty_pages_do_not_mean_caught_up():
    async with stream_mapping(engine=StreamEngine(empty_pages=5)) as lab:
        lab.put(*map(str, range(10)))
        await asyncio.sleep(30)
        assert lab.delivered == [str(n) for n in range(10)]


# --- resharding


def by_key(records, into):
    for record in records:
        into[record["kinesis"]["partitionKey"]].append(int(data_of(record)))


@pytest.mark.parametrize("factor", [1, 3])
async def test_splits_and_merges_under_traffic_keep_the_order_of_every_key(factor):
    seen = defaultdict(list)
    async with stream_mapping(
        lambda records: by_key(records, seen), duration=0.5, batch_size=10, parallelization_factor=factor
    ) as lab:
        numbers = defaultdict(int)

        def write(count):
            for n in range(count):
                key = f"key-{n % 7}"
                lab.engine.put("events", key, str(numbers[key]).encode())
                numbers[key] += 1

        write(100)
        await asyncio.sleep(2)
        left, right = lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        write(100)
        await asyncio.sleep(3)
        lab.engine.merge("events", left, right)
        write(100)
        await asyncio.sleep(200)
        assert {key: list(range(count)) for key, count in numbers.items()} == seen
        finished = [event.shard for event in lab.heard(stream.ShardFinished)]
        assert len(finished) == 3


async def test_a_closed_shard_is_never_read_again_after_a_restart():
    async with stream_mapping() as lab:
        lab.put("a")
        lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        lab.put("b")
        await asyncio.sleep(30)
        await lab.drain()
        lab.start()
        await asyncio.sleep(30)
        assert sorted(lab.delivered) == ["a", "b"]


async def test_a_dynamodb_shard_that_rolls_over_is_followed():
    seen = []
    async with stream_mapping(
        lambda records: seen.extend(r["dynamodb"]["Keys"]["id"]["S"] for r in records), kind="dynamodb"
    ) as lab:
        for n in range(30):
            lab.engine.write("events", {"id": {"S": str(n)}}, new={"id": {"S": str(n)}})
            if n % 10 == 9:
                open_shard = next(s for s in lab.engine.list_shards("events") if s.closed_at is None)
                lab.engine.roll("events", open_shard.id)
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert seen == [str(n) for n in range(30)]


# --- lanes, filters, windows


async def test_lanes_run_batches_of_a_shard_at_once_and_keep_the_order_of_each_key():
    seen = defaultdict(list)
    async with stream_mapping(
        lambda records: by_key(records, seen), duration=5, batch_size=2, parallelization_factor=10
    ) as lab:
        for n in range(10):
            for key in range(20):
                lab.engine.put("events", f"key-{key}", str(n).encode())
        await asyncio.sleep(600)
        assert lab.invoker.most_running > 3
        assert all(numbers == list(range(10)) for numbers in seen.values())
        assert len(seen) == 20


async def test_filtered_records_are_not_delivered_and_the_checkpoint_passes_them():
    pattern = json.dumps({"data": {"type": ["order"]}})
    async with stream_mapping(filters=[pattern]) as lab:
        lab.put('{"type":"gift"}', "not json")
        await asyncio.sleep(5)
        await lab.drain()
        assert lab.batches == []
        stored = await lab.store.load("events", lab.settings.stream_arn)
        [progress] = stored.shards.values()
        assert progress.position.kind == "AFTER"
        lab.put('{"type":"order"}')
        lab.start()
        await asyncio.sleep(5)
        assert lab.delivered == ['{"type":"order"}']


async def test_a_batching_window_gathers_several_reads():
    async with stream_mapping(window=10, batch_size=100) as lab:
        await asyncio.sleep(30)
        for n in range(5):
            lab.put(str(n))
            await asyncio.sleep(1.5)
        await asyncio.sleep(15)
        assert lab.batches == [[str(n) for n in range(5)]]


async def test_a_record_too_large_for_any_event_is_a_failure_not_an_endless_loop():
    async with stream_mapping(retries=1, destination=True) as lab:
        lab.engine.put("events", "k", b"x" * 5_000_000)
        await asyncio.sleep(2)
        lab.put("next")
        await asyncio.sleep(60)
        assert lab.delivered[-1] == "next"


async def test_two_mappings_on_one_stream_are_independent():
    engine = StreamEngine()
    async with (
        stream_mapping(poison("a"), engine=engine, batch_size=1) as failing,
        stream_mapping(engine=engine, create=False, started=False) as fine,
    ):
        fine.settings = replace(fine.settings, name="other")
        fine.store = failing.store
        fine.start()
        fine.put("a", "b")
        await asyncio.sleep(10)
        assert fine.delivered == ["a", "b"]
        assert set(failing.delivered) == {"a"}


async def test_a_mapping_is_quiet_when_everything_is_read_and_resolved():
    async with stream_mapping(poison("x"), retries=3, backoff=(5.0, 5.0)) as lab:
        loop = asyncio.get_running_loop()
        lab.put("x")
        await asyncio.sleep(3)
        assert lab.runner.quiet_since > loop.time()
        await asyncio.sleep(100)
        assert loop.time() - lab.runner.quiet_since > 50


# --- tumbling windows


def summing(log):
    """Adds numbers up per window, as the documentation's example does."""

    async def handler(event):
        log.append(event)
        if event["isFinalInvokeForWindow"]:
            return {"state": event["state"]}
        total = event["state"].get("total", 0) + sum(int(data_of(r)) for r in event["Records"])
        return {"state": {"total": total}}

    return handler


async def test_a_tumbling_window_adds_up_and_ends_with_a_final_invocation():
    log = []
    async with stream_mapping(summing(log), whole_events=True, tumbling_window=60, batch_size=5) as lab:
        await asyncio.sleep(60 - lab.engine.now() % 60 + 1)
        for n in range(1, 21):
            lab.put(str(n))
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        lab.put("1000")
        await asyncio.sleep(5)
        finals = [event for event in log if event["isFinalInvokeForWindow"]]
        assert [event["state"] for event in finals] == [{"total": 210}]
        assert finals[0]["Records"] == []
        assert log[0]["state"] == {}
        assert list(log[0]) == [
            "Records",
            "window",
            "state",
            "shardId",
            "eventSourceARN",
            "isFinalInvokeForWindow",
            "isWindowTerminatedEarly",
        ]
        await asyncio.sleep(300)
        assert [e["state"] for e in log if e["isFinalInvokeForWindow"]] == [{"total": 210}, {"total": 1000}]


async def test_the_state_of_a_window_survives_a_restart():
    log = []
    async with stream_mapping(summing(log), whole_events=True, tumbling_window=600, batch_size=5) as lab:
        await asyncio.sleep(600 - lab.engine.now() % 600 + 1)
        lab.put("1", "2")
        await asyncio.sleep(5)
        await lab.kill()
        lab.put("3")
        lab.start()
        await asyncio.sleep(5)
        assert log[-1]["state"] == {"total": 3}
        await asyncio.sleep(1200)
        assert [e["state"] for e in log if e["isFinalInvokeForWindow"]] == [{"total": 6}]


async def test_a_window_is_closed_before_the_children_of_its_shard_start():
    log = []
    async with stream_mapping(summing(log), whole_events=True, tumbling_window=600) as lab:
        await asyncio.sleep(600 - lab.engine.now() % 600 + 1)
        lab.put("1")
        lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        lab.put("2")
        await asyncio.sleep(30)
        assert [(e["isFinalInvokeForWindow"], e["state"]) for e in log] == [
            (False, {}),
            (True, {"total": 1}),
            (False, {}),
        ]


async def test_an_answer_without_state_is_a_failed_invocation():
    log = []

    async def forgetful(event):
        log.append(event)
        return {} if len(log) == 1 else {"state": {"n": 1}}

    async with stream_mapping(forgetful, whole_events=True, tumbling_window=600) as lab:
        await asyncio.sleep(600 - lab.engine.now() % 600 + 1)
        lab.put("1")
        await asyncio.sleep(10)
        assert [len(event["Records"]) for event in log] == [1, 1]
        assert lab.heard(stream.BatchRetrying)
