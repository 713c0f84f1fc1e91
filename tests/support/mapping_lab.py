"""A whole SQS mapping in memory, under virtual time: engine, runner, and a handler that tests script."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from esmd.function import Function
from esmd.mappings.events import MAX_EVENT_BYTES
from esmd.mappings.filters import compile_filters
from esmd.mappings.outcomes import FunctionError, Outcome, Success, Throttled
from esmd.mappings.scaling import ScalingLimits
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.sqs import Depth, EntryFailure, Queue
from esmd.sqs.runner import SqsRunner
from esmd.sqs.settings import SqsSettings
from esmd.testing.queues import QueueEngine
from esmd.testing.sqs_errors import SqsError
from esmd.trouble import Trouble

from support.functions import function_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from esmd.mappings.events import Event
    from esmd.observe.events import Event as Said

NO_QUEUE = Failure(Kind.RECONFIGURE, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
BROKEN = Failure(Kind.BACK_OFF, "ServiceUnavailable", "try later")


class MemorySqs:
    """`SqsApi` on an engine. `fail` makes the next calls of an operation raise; `latency` is a round trip.

    `delete_latency` is what a delete takes on top of that.
    """

    def __init__(self, engine: QueueEngine, name: str) -> None:
        self._engine = engine
        self._name = name
        self.fail: dict[str, list[Failure]] = {
            "look_up": [],
            "receive": [],
            "delete": [],
            "change_visibility": [],
            "depth": [],
        }
        self.fail_entries: list[Failure] = []
        self.latency = 0.0
        self.delete_latency = 0.0
        self.calls: list[tuple[str, Any]] = []
        self.receiving = 0

    async def _called(self, operation: str, what: Any) -> None:
        self.calls.append((operation, what))
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.fail[operation]:
            raise SourceError(self.fail[operation].pop(0))

    async def look_up(self) -> Queue:
        await self._called("look_up", None)
        try:
            attributes = self._engine.get_attributes(self._name)
        except SqsError as error:
            raise SourceError(NO_QUEUE) from error
        redrive = json.loads(attributes.get("RedrivePolicy", "{}"))
        return Queue(
            url=self._name,
            visibility_timeout=int(attributes["VisibilityTimeout"]),
            max_receive_count=int(redrive["maxReceiveCount"]) if redrive else None,
            dead_letter_arn=redrive.get("deadLetterTargetArn"),
        )

    async def receive(
        self, queue: Queue, *, most: int, wait: int, visibility_timeout: int | None
    ) -> Sequence[Mapping[str, Any]]:
        self.receiving += 1
        try:
            await self._called("receive", {"most": most, "wait": wait, "visibility_timeout": visibility_timeout})
            return await self._engine.receive(queue.url, limit=most, wait=wait, visibility=visibility_timeout)
        except SqsError as error:
            raise SourceError(NO_QUEUE) from error
        finally:
            self.receiving -= 1

    async def depth(self, queue: Queue) -> Depth:
        await self._called("depth", None)
        attributes = self._engine.get_attributes(queue.url)
        return Depth(
            visible=int(attributes["ApproximateNumberOfMessages"]),
            not_visible=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(attributes["ApproximateNumberOfMessagesDelayed"]),
        )

    async def delete(self, queue: Queue, handles: Sequence[str]) -> list[EntryFailure]:
        await self._called("delete", list(handles))
        await asyncio.sleep(self.delete_latency)
        return self._each(handles, lambda handle: self._engine.delete(queue.url, handle))

    async def change_visibility(self, queue: Queue, timeouts: Mapping[str, int]) -> list[EntryFailure]:
        await self._called("change_visibility", dict(timeouts))
        return self._each(timeouts, lambda handle: self._engine.change_visibility(queue.url, handle, timeouts[handle]))

    def _each(self, handles: Any, operation: Callable[[str], None]) -> list[EntryFailure]:
        failures = []
        for handle in handles:
            if self.fail_entries:
                failures.append(EntryFailure(handle, self.fail_entries.pop(0)))
                continue
            try:
                operation(handle)
            except SqsError as error:
                failures.append(EntryFailure(handle, Failure(Kind.REFUSED, "ReceiptHandleIsInvalid", str(error))))
        return failures


class ScriptedInvoker:
    """An invoker whose handler is a function of the test; it sees the records and returns an answer or an `Outcome`."""

    def __init__(self, handler: Any, *, limit: int = 1000, duration: float = 0.0, whole_events: bool = False) -> None:
        self._handler = handler
        self._whole_events = whole_events
        self.limit = limit
        self.running = 0
        self.most_running = 0
        self.duration = duration
        self.events: list[list[dict[str, Any]]] = []
        self.times: list[float] = []
        self.cancelled = 0

    def on_freed(self, listener: Callable[[], None]) -> None:
        """Its places become free by the end of invocations only."""

    async def start(self) -> None:
        return None

    async def invoke(self, event: bytes | Event, *, request_id: str) -> Outcome:
        if self.running >= self.limit:
            return Throttled()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        whole = json.loads(event) if isinstance(event, bytes) else event.value()
        records = whole["Records"]
        self.events.append(records)
        self.times.append(asyncio.get_running_loop().time())
        try:
            if self.duration:
                await asyncio.sleep(self.duration)
            answer = self._handler(whole if self._whole_events else records)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        except Exception as error:
            return FunctionError("exception", type(error).__name__, str(error))
        finally:
            self.running -= 1
        return answer if isinstance(answer, Outcome) else Success(json.dumps(answer).encode())

    async def close(self) -> None:
        return None

    @property
    def bodies(self) -> list[list[str]]:
        return [[record["body"] for record in records] for records in self.events]


class ScriptedBeginner(ScriptedInvoker):
    """The same, where nobody has to await an invocation: as inline functions are."""

    def begin(self, event: Event, *, request_id: str, done: Callable[[Outcome], None]) -> asyncio.Task[Outcome] | None:
        if self.running >= self.limit or event.is_longer_than(MAX_EVENT_BYTES):
            return None
        call = asyncio.create_task(self.invoke(json.dumps(event.value()).encode(), request_id=request_id))
        call.add_done_callback(lambda call: None if call.cancelled() else done(call.result()))
        return call

    async def cancel(self, call: asyncio.Task[Outcome], /) -> None:
        call.cancel()
        await asyncio.wait([call])


_begun = ContextVar("begun", default=False)


@pytest.fixture(params=[False, True], ids=["awaited", "begun"])
def both_kinds(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test with this fixture is run twice: with a function that has to be awaited, and with one that has not."""
    before = _begun.set(request.param)
    yield
    _begun.reset(before)


def invoker_kind(begun: bool | None = None) -> type[ScriptedInvoker]:
    """The kind that the test asks for; None: that of the run that `both_kinds` is at."""
    return ScriptedBeginner if (_begun.get() if begun is None else begun) else ScriptedInvoker


@dataclass
class Lab:
    """One running mapping. `said` is every event it emitted."""

    engine: QueueEngine
    api: MemorySqs
    invoker: ScriptedInvoker
    function: Function
    runner: SqsRunner
    stop: asyncio.Event
    said: list[Said]
    queue: str
    task: asyncio.Task[None] = field(init=False)

    def send(self, *bodies: str, group: str | None = None) -> list[str]:
        return [
            self.engine.send(self.queue, body, group=group, deduplication=None if group is None else f"{group}/{body}")[
                "MessageId"
            ]
            for body in bodies
        ]

    def heard(self, kind: type) -> list[Any]:
        return [event for event in self.said if isinstance(event, kind)]

    @property
    def counts(self) -> Any:
        return self.engine.counts(self.queue)

    async def drain(self) -> None:
        self.stop.set()
        await self.task


def settings(**changes: Any) -> SqsSettings:
    limits = changes.pop("limits", None) or ScalingLimits.of(
        maximum_concurrency=changes.pop("maximum_concurrency", None),
        provisioned_pollers=None,
        function_limit=changes.pop("function_limit", 1000),
    )
    values: dict[str, Any] = {
        "name": "orders",
        "queue_arn": "arn:aws:sqs:us-east-1:000000000000:orders",
        "region": "us-east-1",
        "fifo": False,
        "batch_size": 10,
        "window": 0,
        "report_batch_item_failures": False,
        "limits": limits,
        "function_timeout": 3.0,
        "visibility_heartbeat": False,
        "retry_backoff": None,
        "release_on_stop": True,
        "longest_poll": 20,
        "log_payloads": False,
    }
    return SqsSettings(**(values | changes))


class Collector:
    """A telemetry that keeps everything."""

    def __init__(self) -> None:
        self.said: list[Said] = []

    def emit(self, event: Said, /) -> None:
        self.said.append(event)


@contextlib.asynccontextmanager
async def mapping(
    handler: Any = lambda records: None,
    *,
    filters: Sequence[str] = (),
    visibility: int = 30,
    max_receive_count: int | None = None,
    limit: int = 1000,
    duration: float = 0.0,
    create: bool = True,
    started: bool = True,
    begun: bool | None = None,
    **changes: Any,
) -> AsyncIterator[Lab]:
    """Run a mapping on a fresh queue; at the end it is drained if the test has not done so."""
    fifo = changes.get("fifo", False)
    name = "orders.fifo" if fifo else "orders"
    engine = QueueEngine()
    attributes: dict[str, object] = {"VisibilityTimeout": str(visibility)}
    if fifo:
        attributes["FifoQueue"] = "true"
    if max_receive_count is not None:
        engine.create_queue("dlq.fifo" if fifo else "dlq", {"FifoQueue": "true"} if fifo else {})
        dead = engine.queue_arn("dlq.fifo" if fifo else "dlq")
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": max_receive_count})
    if create:
        engine.create_queue(name, attributes)
    api = MemorySqs(engine, name)
    kind = invoker_kind(begun)
    invoker = kind(handler, limit=limit, duration=duration)
    collector = Collector()
    function = function_of(invoker, telemetry=collector)
    stop = asyncio.Event()
    chosen = settings(**({"function_limit": limit} | changes))
    runner = SqsRunner(
        chosen,
        api=api,
        function=function,
        record_filter=compile_filters(filters, source="sqs") if filters else None,
        telemetry=collector,
        trouble=Trouble(chosen.name, collector),
        stop=stop,
    )
    lab = Lab(engine, api, invoker, function, runner, stop, collector.said, name)
    lab.task = asyncio.create_task(runner.run() if started else asyncio.sleep(0))
    try:
        yield lab
        stop.set()
        await lab.task
    finally:
        lab.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await lab.task
        engine.close()
