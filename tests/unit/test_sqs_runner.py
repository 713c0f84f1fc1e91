"""An SQS mapping under virtual time: what is received, started, deleted, kept and given back."""

from __future__ import annotations

import asyncio
import json

import pytest

from esmd.mappings.outcomes import FunctionError, Success, Throttled, Unreachable
from esmd.observe import mapping_events as say

from support.mapping_lab import BROKEN, NO_QUEUE, both_kinds, mapping  # noqa: F401 - a fixture

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("both_kinds")]


def boom(records):
    raise ValueError("boom")


def failing(*bodies):
    return lambda records: {
        "batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in records if r["body"] in bodies]
    }


async def test_success_deletes_and_leaves_the_queue_empty():
    async with mapping() as lab:
        lab.send("a", "b")
        await asyncio.sleep(1)
        assert [body for batch in lab.invoker.bodies for body in batch] == ["a", "b"]
        assert lab.counts.visible == lab.counts.inflight == 0
        assert sum(e.records for e in lab.heard(say.RecordsDeleted)) == 2


async def test_a_backlog_is_taken_in_batches_of_the_batch_size():
    async with mapping(started=False) as lab:
        lab.send(*map(str, range(100)))
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(1)
        assert [len(batch) for batch in lab.invoker.bodies] == [10] * 10


async def test_a_failed_batch_comes_back_when_its_visibility_ends_and_not_before():
    async with mapping(boom, visibility=30, max_receive_count=2) as lab:
        [message] = lab.send("a")
        await asyncio.sleep(100)
        first, second = lab.invoker.times
        assert second - first == pytest.approx(30, abs=0.5)
        counts = [r["attributes"]["ApproximateReceiveCount"] for [r] in lab.invoker.events]
        assert counts == ["1", "2"]
        [dead] = lab.engine.receive_now("dlq")
        assert dead["MessageId"] == message
        one, two = lab.heard(say.BatchFailed)
        assert (one.attempt, one.next, one.error_type, one.error_message) == (
            1,
            "visibility_timeout",
            "ValueError",
            "boom",
        )
        assert one.retry_in_s == pytest.approx(30, abs=0.5)
        assert (two.attempt, two.next, two.ids) == (2, "dead_letter_queue", (message,))


async def test_partial_failure_deletes_the_others_and_keeps_the_named():
    async with mapping(failing("b"), report_batch_item_failures=True, batch_size=10, started=False) as lab:
        lab.send("a", "b", "c")
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(1)
        assert lab.counts.inflight == 1
        [partial] = lab.heard(say.BatchPartial)
        assert (partial.records, partial.failed, partial.next) == (3, 1, "visibility_timeout")
        await asyncio.sleep(40)
        assert lab.invoker.bodies == [["a", "b", "c"], ["b"]]


async def test_messages_that_match_no_filter_are_deleted_and_never_seen():
    pattern = json.dumps({"body": {"type": ["order"]}})
    async with mapping(filters=[pattern]) as lab:
        lab.send('{"type":"order"}', '{"type":"gift"}', "plain text")
        await asyncio.sleep(1)
        assert lab.invoker.bodies == [['{"type":"order"}']]
        assert lab.counts.visible == lab.counts.inflight == 0
        assert sum(e.records for e in lab.heard(say.RecordFiltered)) == 2


async def test_a_window_gathers_what_arrives_in_it():
    async with mapping(batch_size=100, window=5) as lab:
        for body in "abcde":
            lab.send(body)
            await asyncio.sleep(0.9)
        await asyncio.sleep(5)
        assert lab.invoker.bodies == [list("abcde")]


async def test_a_windowed_mapping_asks_for_a_visibility_that_covers_window_and_timeout():
    async with mapping(batch_size=100, window=60, function_timeout=30, visibility=40) as lab:
        await asyncio.sleep(1)
        asked = {call["visibility_timeout"] for name, call in lab.api.calls if name == "receive"}
        assert asked == {60 + 30 + 30}


async def test_batches_above_ten_are_glued_from_several_receives():
    async with mapping(batch_size=55, window=10, started=False) as lab:
        lab.send(*map(str, range(110)))
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(20)
        assert [len(batch) for batch in lab.invoker.bodies] == [55, 55]


async def test_nothing_is_received_that_cannot_be_started():
    async with mapping(maximum_concurrency=2, batch_size=1, duration=60, visibility=300) as lab:
        lab.send(*map(str, range(50)))
        await asyncio.sleep(30)
        assert lab.invoker.running == 2
        assert lab.counts.inflight == 2
        assert lab.counts.visible == 48


async def test_reserved_concurrency_bounds_what_is_received_too():
    async with mapping(limit=3, batch_size=10, duration=60, visibility=300, started=False) as lab:
        lab.send(*map(str, range(100)))
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(30)
        assert lab.invoker.most_running == 3
        assert lab.counts.inflight == 30
        assert lab.heard(say.BatchDelayed) == []


async def test_a_stopped_function_receives_nothing_and_says_so():
    async with mapping(limit=0) as lab:
        lab.send("a")
        await asyncio.sleep(60)
        assert lab.counts.visible == 1


async def test_concurrency_grows_while_messages_wait():
    async with mapping(batch_size=1, duration=10, visibility=300) as lab:
        lab.send(*map(str, range(2000)))
        await asyncio.sleep(5)
        early = lab.invoker.most_running
        await asyncio.sleep(60)
        assert early < lab.invoker.most_running
        assert lab.invoker.most_running > 50


@pytest.mark.parametrize("duration", [0.0, 0.01, 1.0])
async def test_batches_of_one_are_not_received_one_by_one(duration):
    async with mapping(batch_size=1, maximum_concurrency=8, duration=duration, started=False) as lab:
        lab.send(*map(str, range(400)))
        lab.task = asyncio.create_task(lab.runner.run())
        while lab.counts.visible > 20:
            await asyncio.sleep(max(0.01, duration / 10))
        asked = [call["most"] for name, call in lab.api.calls if name == "receive"]
        assert sum(asked) / len(asked) >= 2.5
        assert len(asked) > 20


async def test_a_free_place_is_used_although_others_are_taken_for_long():
    async with mapping(batch_size=1, maximum_concurrency=2, started=False) as lab:
        lab.invoker.duration = 1000
        lab.send("long")
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(1)
        lab.invoker.duration = 0
        lab.send("a", "b", "c")
        await asyncio.sleep(1)
        assert sorted(body for batch in lab.invoker.bodies for body in batch) == ["a", "b", "c", "long"]


async def test_an_idle_mapping_polls_with_one_long_poll():
    async with mapping() as lab:
        await asyncio.sleep(200)
        assert lab.runner.pollers == 1
        receives = [call for name, call in lab.api.calls if name == "receive"]
        assert len(receives) in {10, 11}


async def test_deletes_that_lag_behind_hold_up_as_many_batches_again_and_no_more():
    async with mapping(maximum_concurrency=5, duration=0.1, visibility=1000) as lab:
        lab.api.delete_latency = 300
        lab.send(*map(str, range(300)))
        await asyncio.sleep(100)
        received = sum(len(batch) for batch in lab.invoker.events)
        assert received == 2 * 5 * 10
        assert lab.runner.in_flight == 10
        await asyncio.sleep(250)
        assert sum(len(batch) for batch in lab.invoker.events) > received
        lab.api.delete_latency = 0


async def test_a_drain_waits_for_the_deletes_that_lag_behind():
    async with mapping(visibility=1000, duration=0.1) as lab:
        lab.api.delete_latency = 20
        lab.send("a")
        await asyncio.sleep(5)
        assert (lab.runner.in_flight, lab.counts.inflight) == (1, 1)
        lab.stop.set()
        await lab.task
        assert lab.counts.inflight == 0


# --- throttles and unreachable functions


async def test_a_throttled_batch_is_tried_again_without_using_a_receive_count():
    answers = [Throttled(), Throttled(), None]
    async with mapping(lambda records: answers.pop(0)) as lab:
        lab.send("a")
        await asyncio.sleep(20)
        assert [r["attributes"]["ApproximateReceiveCount"] for [r] in lab.invoker.events] == ["1", "1", "1"]
        assert lab.counts.inflight == 0
        assert len(lab.heard(say.BatchDelayed)) == 2


async def test_a_function_that_stays_unreachable_leaves_the_message_to_its_visibility_timeout():
    async with mapping(lambda records: Unreachable("connection refused"), visibility=30, max_receive_count=2) as lab:
        lab.send("a")
        await asyncio.sleep(100)
        assert lab.engine.counts("dlq").visible == 1
        assert lab.heard(say.RecordsExpired)
        assert lab.heard(say.BatchFailed) == []


async def test_the_version_that_ran_is_named_in_the_log():
    answers = [FunctionError("exception", "ValueError", "no", executed_version="green"), Success(b"null", "blue"), None]
    async with mapping(lambda records: answers.pop(0), visibility=10) as lab:
        lab.send("a")
        await asyncio.sleep(20)
        lab.send("b")
        await asyncio.sleep(20)
        [failed] = lab.heard(say.BatchFailed)
        assert failed.executed_version == "green"
        assert [event.executed_version for event in lab.heard(say.BatchSucceeded)] == ["blue", None]


async def test_nothing_new_is_received_while_throttled():
    async with mapping(lambda records: Throttled(), batch_size=1, visibility=20) as lab:
        lab.send(*map(str, range(20)))
        await asyncio.sleep(15)
        assert lab.counts.inflight <= 5


# --- trouble with the queue


async def test_a_missing_queue_is_said_once_and_healed_when_it_appears():
    async with mapping(create=False) as lab:
        await asyncio.sleep(10)
        said = lab.heard(say.MappingUnavailable)
        assert said[0].error_type == NO_QUEUE.code
        assert [event.failures for event in said] == [1, 2, 4]
        lab.engine.create_queue("orders")
        lab.send("a")
        await asyncio.sleep(40)
        assert lab.invoker.bodies == [["a"]]
        assert len(lab.heard(say.MappingEnabled)) == 1
        assert len(lab.heard(say.MappingRecovered)) == 1


async def test_a_queue_that_is_deleted_and_made_again_is_found_again():
    async with mapping() as lab:
        await asyncio.sleep(1)
        lab.engine.delete_queue("orders")
        await asyncio.sleep(60)
        assert lab.heard(say.MappingUnavailable)
        lab.engine.create_queue("orders", {"VisibilityTimeout": "77"})
        lab.send("a")
        await asyncio.sleep(60)
        assert lab.invoker.bodies == [["a"]]
        assert lab.heard(say.MappingRecovered)


async def test_one_broken_receive_is_not_worth_an_error():
    async with mapping() as lab:
        await asyncio.sleep(1)
        lab.api.fail["receive"].append(BROKEN)
        await asyncio.sleep(30)
        lab.send("a")
        await asyncio.sleep(1)
        assert lab.invoker.bodies == [["a"]]
        assert lab.heard(say.MappingUnavailable) == []
        assert len(lab.heard(say.PollFailed)) == 1


async def test_an_endpoint_that_stays_away_is_said_ever_more_rarely():
    async with mapping() as lab:
        await asyncio.sleep(1)
        lab.api.fail["receive"] = [BROKEN] * 20
        lab.api.fail["look_up"] = [BROKEN] * 20
        await asyncio.sleep(3600)
        assert [event.failures for event in lab.heard(say.MappingUnavailable)] == [2, 4, 8, 16, 32]
        assert len(lab.heard(say.MappingRecovered)) == 1


async def test_a_visibility_timeout_below_the_functions_is_refused_with_awss_text_and_heals():
    async with mapping(visibility=60, function_timeout=120) as lab:
        await asyncio.sleep(1)
        event = lab.heard(say.MappingUnavailable)[0]
        assert event.error_message == "Queue visibility timeout: 60 seconds is less than Function timeout: 120 seconds"
        lab.engine.set_attributes("orders", {"VisibilityTimeout": "120"})
        await asyncio.sleep(5)
        assert lab.heard(say.MappingEnabled)


@pytest.mark.parametrize(
    ("options", "topics"),
    [
        ({"max_receive_count": 5, "visibility": 30}, []),
        ({"max_receive_count": 4, "visibility": 30}, ["low_max_receive_count"]),
        ({"visibility": 30}, ["no_redrive_policy"]),
        ({"max_receive_count": 5, "visibility": 17}, ["short_visibility_timeout"]),
    ],
)
async def test_advice_about_the_queue(options, topics):
    async with mapping(function_timeout=3, **options) as lab:
        await asyncio.sleep(1)
        assert [event.topic for event in lab.heard(say.MappingAdvice)] == topics


# --- deletes


async def test_a_delete_that_fails_is_tried_again():
    async with mapping() as lab:
        lab.api.fail["delete"] = [BROKEN, BROKEN]
        lab.api.fail_entries = [BROKEN]
        lab.send("a")
        await asyncio.sleep(10)
        assert lab.counts.inflight == lab.counts.visible == 0
        assert lab.heard(say.DeleteFailed) == []
        assert lab.invoker.bodies == [["a"]]


async def test_a_delete_that_keeps_failing_is_said_and_the_message_comes_again():
    async with mapping(visibility=5, function_timeout=1) as lab:
        lab.api.fail["delete"] = [BROKEN] * 20
        [message] = lab.send("a")
        await asyncio.sleep(6)
        [event] = lab.heard(say.DeleteFailed)
        assert (event.id, event.error_type) == (message, "ServiceUnavailable")
        assert lab.invoker.bodies == [["a"], ["a"]]


async def test_deletes_of_many_batches_share_calls():
    async with mapping(batch_size=1, started=False) as lab:
        lab.api.latency = 0.05
        lab.send(*map(str, range(200)))
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(30)
        calls = [handles for name, handles in lab.api.calls if name == "delete"]
        assert sum(map(len, calls)) == 200
        assert len(calls) < 120


# --- FIFO


async def test_fifo_keeps_the_order_of_each_group_when_messages_fail():
    seen = []

    def handler(records):
        seen.extend((r["attributes"]["MessageGroupId"], r["body"]) for r in records)
        fails = [r for r in records if r["body"] == "2" and r["attributes"]["ApproximateReceiveCount"] == "1"]
        if not fails:
            return {"batchItemFailures": []}
        after = records[records.index(fails[0]) :]
        return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in after]}

    async with mapping(handler, fifo=True, report_batch_item_failures=True, started=False) as lab:
        for group in ("a", "b"):
            lab.send("1", "2", "3", "4", group=group)
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(120)
        for group in ("a", "b"):
            order = [body for name, body in seen if name == group]
            firsts = [body for n, body in enumerate(order) if body not in order[:n]]
            assert firsts == ["1", "2", "3", "4"]
            assert order[-3:] == ["2", "3", "4"]
        assert lab.counts.visible == lab.counts.inflight == 0


async def test_fifo_groups_run_in_parallel_and_one_group_does_not():
    async with mapping(fifo=True, batch_size=1, duration=10, visibility=60) as lab:
        lab.send("1", "2", group="a")
        lab.send("1", "2", group="b")
        await asyncio.sleep(5)
        assert lab.invoker.running == 2
        assert {r["attributes"]["MessageGroupId"] for [r] in lab.invoker.events} == {"a", "b"}


async def test_a_fifo_receive_above_the_payload_limit_is_run_in_sequence_and_a_failure_holds_its_group_back():
    big = "x" * 1_000_000

    def handler(records):
        if any(r["body"].startswith("bad") for r in records):
            raise ValueError("bad")

    async with mapping(handler, fifo=True, visibility=60, started=False) as lab:
        lab.send("bad" + big, *(f"{n}{big}" for n in range(6)), group="a")
        lab.send("last" + big, group="b")
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(30)
        first, second = lab.invoker.events
        assert {r["attributes"]["MessageGroupId"] for r in first} == {"a"}
        assert [r["attributes"]["MessageGroupId"] for r in second] == ["b"]
