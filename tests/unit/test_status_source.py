"""A snapshot has what the mappings, the counters and the queues say, and waits for none of them."""

from __future__ import annotations

import asyncio
import json

import pytest

from esmd.mappings.outcomes import Success
from esmd.observe import mapping_events as say
from esmd.observe.statistics import Statistics
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.sqs import Depth
from esmd.status.history import History
from esmd.status.model import Backlog, to_json
from esmd.status.source import StatusSource
from esmd.streams.view import Blocked, ShardView

from support.functions import function_of
from support.mapping_lab import ScriptedInvoker
from support.status_lab import NOW, FakeControl, FakeQueueRunner, FakeStreamRunner, SlowQueueRunner, entry, process

pytestmark = pytest.mark.looptime


def source_of(control, *, statistics=None, history=None, **about):
    return StatusSource(
        control,
        process=process(**about),
        statistics=statistics or Statistics(),
        history=history or History(wall=lambda: NOW),
        wall=lambda: NOW,
    )


async def test_rates_come_from_looking_once_a_second():
    statistics = Statistics()
    source = source_of(FakeControl([entry("orders")]), statistics=statistics)
    async with source.running():
        for second in range(30):
            await asyncio.sleep(0.5)
            statistics.sink(say.RecordsReceived(mapping="orders", records=10 if second < 20 else 40))
            if second == 12:
                statistics.take("orders")  # what a period of the log took counts on
            await asyncio.sleep(0.5)
        [mapping] = (await source.snapshot()).mappings
        assert mapping.totals.received == 20 * 10 + 10 * 40
        assert mapping.pace.last_10_s.received == pytest.approx(40, rel=0.15)
        assert mapping.pace.last_60_s.received == pytest.approx(600 / 30, rel=0.15)


async def test_what_came_since_the_last_look_counts_at_once():
    statistics = Statistics()
    source = source_of(FakeControl([entry("orders")]), statistics=statistics)
    async with source.running():
        await asyncio.sleep(0.1)
        statistics.sink(say.RecordsReceived(mapping="orders", records=25))
        await asyncio.sleep(0.1)
        [mapping] = (await source.snapshot()).mappings
    assert mapping.pace.last_10_s.received == 25
    assert mapping.pace.invoked == ()


async def test_a_minute_of_what_was_invoked_and_failed_is_kept():
    statistics = Statistics()
    source = source_of(FakeControl([entry("orders")]), statistics=statistics)
    async with source.running():
        await asyncio.sleep(0.5)
        for second in range(90):
            statistics.sink(
                say.BatchSucceeded(
                    mapping="orders",
                    function="process",
                    batch_id="b",
                    request_id="r",
                    records=second,
                    attempt=1,
                    duration_ms=1.0,
                    cut="size",
                )
            )
            await asyncio.sleep(1)
        [mapping] = (await source.snapshot()).mappings
        assert mapping.pace.invoked == tuple(range(30, 90))
        assert mapping.pace.failed == (0,) * 60


async def test_the_queue_is_asked_once_for_some_seconds():
    runner = FakeQueueRunner(Depth(visible=7, not_visible=2, delayed=1))
    source = source_of(FakeControl([entry("orders")], {"orders": runner}))
    for _ in range(4):
        [mapping] = (await source.snapshot()).mappings
        assert mapping.backlog == Backlog(visible=7, not_visible=2, delayed=1)
        await asyncio.sleep(1)
    assert runner.asked == 1
    await asyncio.sleep(5)
    await source.snapshot()
    assert runner.asked == 2


async def test_a_queue_that_hangs_holds_up_the_first_snapshot_a_second_and_no_other_at_all():
    runners = {"orders": FakeQueueRunner(None), "payments": FakeQueueRunner(Depth(visible=1, not_visible=0, delayed=0))}
    source = source_of(FakeControl([entry("orders"), entry("payments")], runners))
    loop = asyncio.get_running_loop()
    began = loop.time()
    first, second = (await source.snapshot()).mappings
    assert loop.time() - began == pytest.approx(1.0)
    assert first.backlog == Backlog(reason="the queue did not answer within 1 s")
    assert second.backlog.visible == 1
    began = loop.time()
    await source.snapshot()
    assert loop.time() == began
    await asyncio.sleep(16)  # the question is given up after ten seconds, and that is remembered for five
    await source.snapshot()
    assert runners["orders"].asked == 2
    await source._backlogs.close()


async def test_a_queue_that_is_being_asked_is_not_called_one_that_does_not_answer():
    # Whoever asked it first has gone, and the next one was told so at once.
    source = source_of(FakeControl([entry("orders")], {"orders": SlowQueueRunner(0.4)}))
    first = asyncio.create_task(source.snapshot())
    await asyncio.sleep(0.2)
    first.cancel()
    [mapping] = (await source.snapshot()).mappings
    assert mapping.backlog == Backlog(visible=1, not_visible=0, delayed=0)


async def test_rates_go_on_when_what_looks_at_them_is_cancelled():
    # They stayed what they were, for as long as the daemon ran.
    statistics = Statistics()
    source = source_of(FakeControl([entry("orders")]), statistics=statistics)
    async with source.running():
        await asyncio.sleep(0.5)
        [looking] = [task for task in asyncio.all_tasks() if task.get_name() == "status"]
        looking.cancel()
        await asyncio.sleep(5)
        statistics.sink(say.RecordsReceived(mapping="orders", records=25))
        await asyncio.sleep(5)
        [mapping] = (await source.snapshot()).mappings
    assert mapping.pace.last_10_s.received == pytest.approx(2.5, rel=0.2)


async def test_a_queue_that_refuses_says_why():
    denied = SourceError(Failure(Kind.RECONFIGURE, "AccessDenied", "no permission"))
    source = source_of(FakeControl([entry("orders")], {"orders": FakeQueueRunner(denied)}))
    [mapping] = (await source.snapshot()).mappings
    assert mapping.backlog == Backlog(reason="AccessDenied: no permission")
    assert mapping.backlog.visible is None


async def test_a_blocked_shard_has_its_error_its_range_and_the_time_of_the_next_try():
    view = ShardView(
        shard="shard-1",
        position="AFTER 5",
        outstanding=3,
        in_flight=1,
        caught_up=False,
        millis_behind_latest=1500,
        blocked=Blocked(
            error_type="ValueError",
            error_message="boom",
            attempts=4,
            records=3,
            first_sequence_number="6",
            last_sequence_number="8",
            since=NOW - 90,
            expires_at=None,
            retry_in_s=12.0,
        ),
    )
    control = FakeControl([entry("payments", source="kinesis")], {"payments": FakeStreamRunner([view])})
    [mapping] = (await source_of(control).snapshot()).mappings
    assert mapping.backlog is None
    assert mapping.in_trouble
    [shard] = mapping.blocked
    assert (shard.blocked.attempts, shard.blocked.retry_at) == (4, NOW + 12)
    assert (shard.blocked.first_sequence_number, shard.blocked.last_sequence_number) == ("6", "8")
    assert shard.millis_behind_latest == 1500


async def test_a_function_is_counted_from_the_beginning():
    invoker = ScriptedInvoker(lambda _: Success(b"null"), limit=3)
    function = function_of(invoker)
    for _ in range(3):
        await function.invoke(b'{"Records": []}', request_id="r")
        function.take_counts()
    [status] = (await source_of(FakeControl([], functions={"process": function})).snapshot()).functions
    assert (status.invocations, status.errors, status.limit, status.busy) == (3, 0, 3, 0)
    assert status.environments is None


async def test_an_endpoint_is_shown_without_its_password():
    source = source_of(FakeControl([]), endpoint="http://user:secret@127.0.0.1:4566/path")
    assert (await source.snapshot()).daemon.endpoint == "http://127.0.0.1:4566/path"


async def test_a_snapshot_is_json_with_null_for_what_is_not_known():
    snapshot = await source_of(FakeControl([entry("orders", trouble="no queue")])).snapshot()
    value = json.loads(json.dumps(to_json(snapshot), allow_nan=False))
    assert value["mappings"][0]["reason"] == "no queue"
    assert value["mappings"][0]["backlog"] is None
    assert value["daemon"]["uptime_s"] == 3725.0


@pytest.mark.parametrize(
    ("mappings", "strict", "draining", "reasons"),
    [
        ([], False, False, {}),
        ([entry("a")], False, False, {}),
        ([entry("a"), entry("b", state="Enabling")], False, False, {"b": "it is Enabling"}),
        ([entry("a", state="Creating")], False, False, {"a": "it is Creating"}),
        ([entry("a", state="Enabling", trouble="no queue")], False, False, {}),
        ([entry("a", trouble="no queue")], False, False, {}),
        ([entry("a", trouble="no queue")], True, False, {"a": "no queue"}),
        ([entry("a", state="Disabled")], True, False, {}),
        ([entry("a", state="Updating")], True, False, {}),
        ([entry("a")], False, True, {"daemon": "it is draining"}),
    ],
)
async def test_ready_is_a_daemon_whose_mappings_have_all_been_tried(mappings, strict, draining, reasons):
    assert source_of(FakeControl(mappings), draining=draining).unready(strict=strict) == reasons
