"""Runs one SQS mapping: decides what to start next, starts it, and waits for whatever may change the decision.

| wake-up                                      | what it may allow                    |
|----------------------------------------------|--------------------------------------|
| a receive ended                              | batches to start, the next receive   |
| a batch ended, a place of the function freed | a waiting batch, the next receive    |
| the batching window ran out                  | the open batch to start              |
| the pause after a failed receive ended       | the next receive                     |
| stop                                         | the drain                            |

A long poll is never cancelled on stop, because servers hand the next message to a dead request and hide it; what it brings
is given back.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from esmd.mappings.batching import Batcher
from esmd.mappings.scaling import Scaling
from esmd.observe import mapping_events as say
from esmd.pollers.deletes import DeleteGatherer
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.visibility import change_visibility
from esmd.sqs.batch import Surroundings
from esmd.sqs.batches import Batches
from esmd.sqs.heartbeat import Heartbeat
from esmd.sqs.intake import Intake, Unmatched
from esmd.sqs.lookup import QueueLookup
from esmd.sqs.receives import Receives
from esmd.sqs.saying import say_delete_failures, say_visibility_failures
from esmd.tasks import Tasks
from esmd.waiting import woken

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from esmd.function import Function
    from esmd.mappings.filters import RecordFilter
    from esmd.mappings.records import Record
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.sqs import Depth, EntryFailure, Queue, SqsApi
    from esmd.sqs.receives import Ask
    from esmd.sqs.settings import SqsSettings
    from esmd.trouble import Trouble

_SHORTEST_EMPTY_POLL = 0.2
"""Seconds that an empty poll takes at least: a proxy that answers, or a server that does not wait, must not make us spin."""

_LAST_DELETES = 10.0
"""Seconds that deletes still under way may take when the mapping ends."""


class SqsRunner:
    """One mapping at work. `run` it once; it heals by itself and ends only when it is told to."""

    def __init__(
        self,
        settings: SqsSettings,
        *,
        api: SqsApi,
        function: Function,
        record_filter: RecordFilter | None,
        telemetry: Telemetry,
        trouble: Trouble,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._api = api
        self._function = function
        self._telemetry = telemetry
        self._trouble = trouble
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lookup = QueueLookup(settings, api, telemetry)
        self._intake = Intake(settings, record_filter)
        self._batcher = Batcher(batch_size=settings.batch_size, window=settings.window)
        self._scaling = Scaling(settings.limits)
        self._deletes = DeleteGatherer(api)
        self._heartbeat = Heartbeat(settings.name, api, telemetry)
        self._around = Surroundings(
            settings=settings,
            api=api,
            function=function,
            scaling=self._scaling,
            deletes=self._deletes,
            heartbeat=self._heartbeat,
            telemetry=telemetry,
            stop=stop,
            loop=self._loop,
        )
        self._tasks: Tasks | None = None
        self._batches = Batches(
            self._around,
            lookup=self._lookup,
            batcher=self._batcher,
            spawn=self._spawn,
            look=self._look_soon,
            wake=self._wake.set,
            give_back=self._give_back,
        )
        self._looking = False
        self._receives = Receives(
            self._around,
            lookup=self._lookup,
            batcher=self._batcher,
            batches=self._batches,
            trouble=trouble,
            wake=self._wake.set,
        )
        self._beating: asyncio.Task[None] | None = None
        self.tried = asyncio.Event()
        """Set when the queue has been polled, or the mapping has said why not."""

    # --- what others may ask

    @property
    def in_flight(self) -> int:
        """Batches under way, those waiting for a place included, and those whose deletes are not done."""
        return self._batches.in_flight

    @property
    def pollers(self) -> int:
        """Receives under way."""
        return self._receives.under_way

    @property
    def concurrency(self) -> int:
        """Batches that may be under way now."""
        return self._scaling.concurrency

    @property
    def quiet_since(self) -> float:
        """Loop time since which nothing was received, run or waiting to be retried; infinity while something is."""
        if self.in_flight or len(self._batcher):
            return math.inf
        return max(self._batches.last_activity, self._batches.visible_at)

    async def backlog(self) -> Depth | None:
        """About how many messages the queue holds; None while it is not found.

        Raises:
            SourceError: the queue does not say.
        """
        queue = self._lookup.queue
        return None if queue is None else await self._api.depth(queue)

    # --- the loop

    async def run(self) -> None:
        """Poll until stop, then drain: wait for receives and batches, give back what was never started.

        Cancelling it halts: handlers are killed, their messages are left to their visibility timeout.
        """
        stopping = self._loop.create_task(self._stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            async with Tasks() as tasks:
                self._tasks = tasks
                try:
                    while not self._stop.is_set():
                        self._wake.clear()
                        self._look()
                        await woken(self._wake, self._next_deadline(self._loop.time()))
                    await self._drain()
                finally:
                    self._tasks = None
        finally:
            self._function.wants_room(self._wake.set, wanted=False)
            stopping.cancel()
            try:
                await self._batches.halt()
            finally:
                await self._deletes.close(within=_LAST_DELETES)

    async def _drain(self) -> None:
        """Give back what waits, then let what is under way come to its end."""
        waiting = [*self._batcher.drain()]
        while self._batches.ready:
            waiting += [record for batch in self._batches.ready.popleft() for record in batch.records]
        await self._give_back(waiting)
        while self._receives.under_way or self._batches.running or self._batches.finishing:
            self._wake.clear()
            await self._wake.wait()
        if self._beating is not None and self._tasks is not None:
            self._tasks.cancel(self._beating)

    def _next_deadline(self, now: float) -> float | None:
        deadlines = []
        if self._batcher.due is not None:
            deadlines.append(self._batcher.due)
        if self._trouble.retry_at > now:
            deadlines.append(self._trouble.retry_at)
        return min(deadlines, default=None)

    def _look_soon(self) -> None:
        """Look when whatever else ends in this turn of the loop has ended: one receive for the places of all of it."""
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._look_now)

    def _look_now(self) -> None:
        self._looking = False
        self._look()

    def _look(self) -> None:
        """Start what may be started now; nothing once the mapping stops or is halted."""
        if self._stop.is_set() or self._tasks is None:
            return
        now = self._loop.time()
        if (due := self._batcher.expire(now)) is not None:
            self._batches.ready.append([due])
        self._batches.start()
        self._start_receives(now)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do something else beside; not any more if we are halted."""
        try:
            if self._tasks is not None:
                self._tasks.create_task(work)
                return
        except RuntimeError:  # a task has failed, and the others are being cancelled
            pass
        work.close()

    # --- receiving

    def _start_receives(self, now: float) -> None:
        while (ask := self._receives.reserve(now)) is not None:
            self._spawn(self._poll(ask))

    async def _poll(self, first: Ask) -> None:
        """Receive again and again, for as long as another receive may be started when one has ended."""
        ask: Ask | None = first
        while ask is not None:
            records = await self._receive(ask)
            if records:
                await self._take_in(records)
            if self._stop.is_set():
                self._wake.set()
                return
            self._batches.start()
            if 0 < len(records) < ask[0]:
                # Nobody else waits in the queue: the handler begins before the next request is made and sent.
                await asyncio.sleep(0)
                if self._stop.is_set():
                    self._wake.set()
                    return
            now = self._loop.time()
            ask = self._receives.reserve(now)
            if ask is not None:
                self._start_receives(now)
            if self._settings.window or self._trouble.exists:
                self._wake.set()  # there may be another deadline

    async def _receive(self, ask: Ask) -> list[Record]:
        records: list[Record] = []
        most = ask[0]
        try:
            queue = None if self._trouble.exists else self._lookup.fresh
            if queue is None:
                queue = await self._find_queue()
            visibility = self._lookup.raised_visibility(queue)
            asked_at = self._loop.time()
            messages = await self._api.receive(queue, most=most, wait=self._wait_time(), visibility_timeout=visibility)
            now = self._loop.time()
            if not messages and now - asked_at < _SHORTEST_EMPTY_POLL:
                await asyncio.sleep(_SHORTEST_EMPTY_POLL)
            self._trouble.passed(now)
            self._scaling.polled(asked=most, got=len(messages), now=now)
            if messages:
                self._batches.last_activity = now
                ids = tuple([message["MessageId"] for message in messages])
                self._telemetry.emit(say.RecordsReceived(mapping=self._settings.name, records=len(messages), ids=ids))
                hidden_until = now + (visibility or queue.visibility_timeout)
                records, unmatched = self._intake.admit(messages, hidden_until)
                if unmatched:
                    self._delete_unmatched(queue, unmatched, hidden_until)
        except SourceError as error:
            why = error.failure
            passing = why.kind is Kind.BACK_OFF and self._lookup.queue is not None
            self._trouble.failed(why.code, why.message, self._loop.time(), passing=passing)
        finally:
            self._receives.ended(ask)
            if not self.tried.is_set():
                self.tried.set()
        return records

    async def _take_in(self, records: list[Record]) -> None:
        if self._stop.is_set():
            await self._give_back(records)
            return
        if self._settings.visibility_heartbeat:
            self._heartbeat.hold(records)
        batches = self._batcher.add(records, self._loop.time())
        if self._settings.fifo:
            # One receive may bring several batches of the same group only if it passes the payload limit:
            # they follow each other.
            self._batches.ready.append(batches)
        else:
            self._batches.ready.extend([batch] for batch in batches)

    async def _find_queue(self) -> Queue:
        first = self._lookup.queue is None
        queue = await self._lookup.find(again=self._trouble.exists)
        if first:
            settings = self._settings
            self._telemetry.emit(
                say.MappingEnabled(
                    mapping=settings.name,
                    source=settings.queue_arn,
                    function=self._function.name,
                    batch_size=settings.batch_size,
                    window_s=settings.window,
                    max_concurrency=settings.limits.ceiling,
                    visibility_timeout_s=queue.visibility_timeout,
                    max_receive_count=queue.max_receive_count,
                )
            )
            if self._function.limit == 0:
                hint = f"reserved_concurrency of {self._function.name} is 0: nothing is received until it is raised"
                self._telemetry.emit(say.MappingAdvice(mapping=settings.name, topic="function_stopped", hint=hint))
            if settings.visibility_heartbeat:
                self._spawn(self._beat(queue))
        return queue

    def _wait_time(self) -> int:
        """Long poll as long as allowed, but not beyond the end of an open window."""
        if self._batcher.due is None:
            return self._settings.longest_poll
        left = math.ceil(self._batcher.due - self._loop.time())
        return max(1, min(self._settings.longest_poll, left))

    async def _beat(self, queue: Queue) -> None:
        """The heartbeat; it ends with the drain."""
        self._beating = asyncio.current_task()
        await self._heartbeat.beat(queue)

    def _delete_unmatched(self, queue: Queue, unmatched: list[Unmatched], hidden_until: float) -> None:
        name = self._settings.name
        ids = tuple([message.id for message in unmatched])
        self._telemetry.emit(say.RecordFiltered(mapping=name, records=len(unmatched), ids=ids))

        def deleted(failures: list[EntryFailure]) -> None:
            say_delete_failures(self._telemetry, name, failures, {each.handle: each.id for each in unmatched})

        self._deletes.post(queue, [(message.handle, hidden_until) for message in unmatched], deleted)

    async def _give_back(self, records: Sequence[Record]) -> None:
        """Make received records that were never started visible at once (`release_on_stop`)."""
        queue = self._lookup.queue
        if not records or queue is None:
            return
        self._heartbeat.let_go(records)
        if not self._settings.release_on_stop:
            return
        ids = {record.handle: record.id for record in records}
        failures = await change_visibility(self._api, queue, dict.fromkeys(ids, 0))
        say_visibility_failures(self._telemetry, self._settings.name, failures, ids, purpose="release")
        if len(records) > len(failures):
            kept = {entry.handle for entry in failures}
            released = tuple(each for handle, each in ids.items() if handle not in kept)
            self._telemetry.emit(say.RecordsReleased(mapping=self._settings.name, records=len(released), ids=released))
