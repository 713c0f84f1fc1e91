"""A stream mapping under virtual time: order, retries, progress, resharding, windows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from esmd.mappings.outcomes import FunctionError, Throttled
from esmd.observe import mapping_events as say
from esmd.observe import stream_events as stream
from esmd.pollers.streams import Seek
from esmd.testing.stream_engine import StreamEngine

from support.mapping_lab import both_kinds  # noqa: F401 - a fixture
from support.stream_lab import data_of, stream_mapping

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("both_kinds")]


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


async def test_a_full_read_is_followed_by_the_next_at_once_and_no_other_is():
    async with stream_mapping(read_limit=10, full_interval=0.0, least_interval=10.0) as lab:
        lab.put(*map(str, range(25)))
        await asyncio.sleep(1)
        assert lab.delivered == [str(n) for n in range(25)]
        lab.put("late")
        await asyncio.sleep(8)
        assert lab.delivered[25:] == []
        await asyncio.sleep(2)
        assert lab.delivered[25:] == ["late"]


async def test_empty_pages_do_not_mean_caught_up():
    async with stream_mapping(engine=StreamEngine(empty_pages=5)) as lab:
        lab.put(*map(str, range(10)))
        await asyncio.sleep(30)
        assert lab.delivered == [str(n) for n in range(10)]


async def test_the_version_that_ran_is_named_in_the_log_and_in_the_failure_record():
    failed = FunctionError("exception", "ValueError", "no", executed_version="green")
    async with stream_mapping(lambda records: failed, retries=0, destination=True, started=False) as lab:
        lab.put("a")
        lab.start()
        await asyncio.sleep(10)
        [event] = lab.heard(say.BatchFailed)
        assert event.executed_version == "green"
        [record] = lab.destination.records
        assert record["responseContext"]["executedVersion"] == "green"
