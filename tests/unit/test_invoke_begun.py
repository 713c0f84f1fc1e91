"""Inline invocations that nobody awaits: their outcome comes by a call, once, and never after they were cancelled."""

from __future__ import annotations

import asyncio

import pytest

from esmd.function import Function
from esmd.invoke.inline import InlineInvoker
from esmd.invoke.protocol import MAX_REQUEST_BYTES
from esmd.mappings.events import Event, SqsText
from esmd.mappings.messages import Messages
from esmd.mappings.outcomes import FunctionError, Success, Unreachable
from esmd.observe.events import HandlerTimeout

from support.batches import record
from support.invocations import Recorder, function

pytestmark = pytest.mark.looptime

ID = "8f3c5d0e-0000-4000-8000-000000000001"
ATTRIBUTES = {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"}
MESSAGE = {"MessageId": "m", "ReceiptHandle": "h", "Body": "hello", "MD5OfBody": "0", "Attributes": ATTRIBUTES}


class Stage:
    """A function that runs `handler` inline; `seen` are its events, `outcomes` what came of them."""

    def __init__(self, handler, **changes) -> None:
        self.telemetry = Recorder()
        self.seen = []
        self.outcomes = []
        invoker = InlineInvoker(function("answering:wait_async", **changes), telemetry=self.telemetry)

        async def handle(event, context):
            self.seen.append(event)
            return await handler()

        invoker._handler, invoker._is_async = handle, True  # instead of importing one
        self.invoker = invoker
        self.function = Function("orders", invoker, arn="arn", telemetry=self.telemetry)

    def begin(self, event: Event | None = None):
        event = event or Event(
            Messages(SqsText(queue_arn="a", region="r", windowed=False), fifo=False).records([MESSAGE], 0)
        )
        return self.function.begin(event, request_id=ID, done=self.outcomes.append)


async def nothing():
    return None


async def a_minute():
    await asyncio.sleep(60)


async def test_the_outcome_comes_by_a_call_after_begin_has_returned():
    stage = Stage(nothing)
    assert stage.begin() is not None
    assert stage.outcomes == []
    assert stage.function.busy == 1
    await asyncio.sleep(1)
    assert stage.outcomes == [Success(b"null")]
    assert stage.function.busy == 0
    assert stage.function.take_counts().invocations == 1
    [event] = stage.seen
    assert event["Records"][0]["body"] == "hello"


async def test_every_invocation_ends_at_its_own_deadline():
    stage = Stage(a_minute, timeout=10.0, concurrency=3)
    stage.begin()
    await asyncio.sleep(4)
    stage.begin()
    await asyncio.sleep(5.9)
    assert stage.outcomes == []
    await asyncio.sleep(0.2)
    [outcome] = stage.outcomes
    assert isinstance(outcome, FunctionError)
    assert outcome.error_type == "Sandbox.Timedout"
    assert stage.function.busy == 1
    await asyncio.sleep(3.8)
    assert len(stage.outcomes) == 1
    await asyncio.sleep(0.2)
    assert [each.error_type for each in stage.outcomes] == ["Sandbox.Timedout"] * 2
    assert len([each for each in stage.telemetry.events if isinstance(each, HandlerTimeout)]) == 2
    assert stage.function.busy == 0


async def test_a_deadline_is_kept_after_quicker_invocations_have_come_and_gone():
    waits = iter([1.0, 1.0, 60.0])

    async def wait():
        await asyncio.sleep(next(waits))

    stage = Stage(wait, timeout=10.0)
    for _ in range(3):
        stage.begin()
        await asyncio.sleep(2)
    await asyncio.sleep(7.9)  # 13.9 s in: the third began at 4
    assert len(stage.outcomes) == 2
    await asyncio.sleep(0.2)
    assert len(stage.outcomes) == 3


async def test_of_a_cancelled_invocation_nobody_is_told_and_its_place_is_free():
    stage = Stage(a_minute)
    halt = stage.begin()
    await asyncio.sleep(1)
    await halt()
    await halt()
    assert stage.outcomes == []
    assert stage.function.busy == stage.invoker.running == 0


async def test_an_invocation_that_is_over_cannot_be_cancelled():
    stage = Stage(nothing)
    halt = stage.begin()
    await asyncio.sleep(1)
    await halt()
    assert stage.function.busy == 0


async def test_closing_the_function_ends_what_was_begun():
    stage = Stage(a_minute)
    stage.begin()
    await asyncio.sleep(1)
    await stage.function.close()
    [outcome] = stage.outcomes
    assert isinstance(outcome, Unreachable)
    assert stage.begin() is None
    assert stage.function.busy == 0


async def test_nothing_is_begun_without_a_place_or_with_an_event_that_is_too_long():
    stage = Stage(a_minute, concurrency=1)
    assert stage.begin(Event([record("a", size=MAX_REQUEST_BYTES)])) is None
    assert stage.function.busy == 0
    halt = stage.begin()
    assert stage.begin() is None
    assert stage.function.busy == 1
    await halt()


async def test_who_wants_room_is_told_once_and_nobody_else():
    stage = Stage(nothing, concurrency=1)
    told = []
    wants, other = (lambda: told.append("wants")), (lambda: told.append("other"))
    stage.function.wants_room(wants)
    stage.function.wants_room(other)
    stage.function.wants_room(other, wanted=False)
    for _ in range(2):
        stage.begin()
        await asyncio.sleep(1)
    assert told == ["wants"]
