"""The life of one SQS batch: invoke, settle, delete or leave.

    waiting for a place -> invoking -> settled: deleted / kept
                      ^          |
                      '--delayed-'   throttled or unreachable: the same batch again, while it is still hidden

Whatever ends it early (its visibility ran out, the mapping stops) leaves its messages to the queue and deletes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from esmd.mappings.backoff import delay
from esmd.mappings.events import Event
from esmd.mappings.outcomes import version_of
from esmd.mappings.records import Batch, Record
from esmd.mappings.scaling import Scaling
from esmd.mappings.settlement import Settled, TryAgain, settle
from esmd.observe import mapping_events as say
from esmd.observe.context import bind, bound_context, forget_request, remember_request, request_context, unbind
from esmd.observe.events import IDS_SHOWN
from esmd.observe.ids import new_batch_id, new_request_id
from esmd.pollers.sqs import MAX_VISIBILITY
from esmd.pollers.visibility import change_visibility
from esmd.sqs.saying import say_delete_failures, say_visibility_failures
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Sequence

    from esmd.function import Function, Halt
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.deletes import DeleteGatherer
    from esmd.pollers.sqs import EntryFailure, Queue, SqsApi
    from esmd.sqs.heartbeat import Heartbeat
    from esmd.sqs.settings import SqsSettings

_PATIENCE = 30.0
"""Seconds to wait for a free place before saying again that the batch is delayed."""

_LEAST_PATIENCE = 0.001
"""A wait of less might end before the visibility timeout does, by a tick of the clock, again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the batches of one mapping share; `stop` is set when nothing new is to be started."""

    settings: SqsSettings
    api: SqsApi
    function: Function
    scaling: Scaling
    deletes: DeleteGatherer
    heartbeat: Heartbeat
    telemetry: Telemetry
    stop: asyncio.Event
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a batch ended: records that were `kept` by the rules, and those that were never `started`.

    `visible_at` is when the last of the kept, or of those whose delete failed, is visible again (loop time).
    """

    kept: tuple[Record, ...] = ()
    never_started: tuple[Record, ...] = ()
    visible_at: float = float("-inf")


_NOTHING_LEFT = Ended()
"""How nearly every batch ends."""


class SqsBatch:
    """One batch on its way: `begin` and, with the outcome, `conclude` or `resume` it; or `run` it. Once."""

    __slots__ = ("_around", "_batch", "_id", "_loop", "_queue", "_request_id", "_started", "on_settled", "settled")

    def __init__(
        self, around: Surroundings, batch: Batch, queue: Queue, *, on_settled: Callable[[], None] | None = None
    ) -> None:
        """One batch.

        Args:
            around: what the mapping's batches share.
            batch: the records.
            queue: where they came from.
            on_settled: called, if given, when it is decided what becomes of them; deletes may still be under way then.
        """
        self.on_settled = on_settled
        self._around = around
        self._batch = batch
        self._queue = queue
        self._id = new_batch_id()
        self._request_id = ""
        self._loop = around.loop
        self._started = 0.0
        self.settled = False
        """Whether it is decided what becomes of the records; deletes may still be under way."""

    def begin(self, done: Callable[[Outcome], None]) -> Halt | None:
        """Invoke the function without awaiting it, if that can be done; see `Function.begin`."""
        around = self._around
        self._started = self._loop.time()
        if around.heartbeat.first_visible(self._batch.records) <= self._started:
            return None
        self._request_id = request_id = new_request_id()
        context = {
            "mapping": around.settings.name,
            "function": around.function.name,
            "batch_id": self._id,
            "request_id": request_id,
        }
        token = bind(context)
        try:
            halt = around.function.begin(self._make_event(), request_id=request_id, done=done)
        finally:
            unbind(token)
        if halt is not None:
            remember_request(request_id, context)
        return halt

    def judge(self, outcome: Outcome) -> Settled | TryAgain:
        """What the outcome of what was begun means."""
        self.forget()
        return settle(self._batch, outcome, report_batch_item_failures=self._around.settings.report_batch_item_failures)

    def forget(self) -> None:
        """What was begun has ended, or is halted."""
        forget_request(self._request_id)

    def conclude(
        self, verdict: Settled, version: str | None, ended: Callable[[Ended], None]
    ) -> Callable[[], Coroutine[None, None, None]] | None:
        """Carry a verdict out. Deletes are under way when it returns: no cancellation loses them.

        Args:
            verdict: on the last invocation.
            version: that it was of, where that is worth saying.
            ended: called when the deletes are done, perhaps at once.

        Returns:
            what else is to be called, and awaited; None if nothing is.
        """
        around = self._around
        heartbeat = around.heartbeat
        finished = self._loop.time()
        kept = verdict.kept
        delays = self._retry_delays(kept) if kept else {}
        _PACES[verdict.pace](around.scaling)
        visible_at = -math.inf

        def deleted(failures: list[EntryFailure]) -> None:
            ended(self._deleted(verdict, failures, visible_at))

        if verdict.done:
            around.deletes.post(self._queue, heartbeat.handles(verdict.done), deleted)
        visible_at = self._say_outcome(verdict, finished - self._started, delays, version)
        heartbeat.let_go(kept)
        self.settled = True
        if self.on_settled is not None:
            self.on_settled()
        if not verdict.done:
            deleted([])
        return partial(self._delay_retries, kept, delays) if delays else None

    async def resume(self, verdict: TryAgain) -> Ended:
        """Take the batch to its end after its first invocation, which was refused or did not get through."""
        with bound_context(mapping=self._around.settings.name, function=self._around.function.name, batch_id=self._id):
            await self._delay(verdict, 1)
            return await self._run(tries=1)

    async def run(self) -> Ended:
        """Take the batch to its end."""
        with bound_context(mapping=self._around.settings.name, function=self._around.function.name, batch_id=self._id):
            return await self._run(tries=0)

    async def _run(self, tries: int) -> Ended:
        around = self._around
        while True:
            self._drop_expired()
            if not self._batch.records:
                around.scaling.gave_up()
                return Ended()
            if tries and around.stop.is_set():
                return Ended(never_started=tuple(self._batch.records))
            self._request_id = new_request_id()
            self._started = self._loop.time()
            outcome = await (self._invoke() if not tries else self._invoke_in_turn())
            if outcome is None:
                continue
            verdict = settle(
                self._batch, outcome, report_batch_item_failures=around.settings.report_batch_item_failures
            )
            if isinstance(verdict, Settled):
                return await self._finish(verdict, version_of(outcome))
            tries += 1
            await self._delay(verdict, tries)

    async def _finish(self, verdict: Settled, version: str | None) -> Ended:
        """Carry a verdict out, to its end."""
        result: asyncio.Future[Ended] = self._loop.create_future()
        rest = self.conclude(verdict, version, lambda ended: None if result.done() else result.set_result(ended))
        if rest is not None:
            await rest()
        return await result

    async def _invoke(self) -> Outcome:
        with self._named():
            return await self._around.function.invoke(self._make_event(), request_id=self._request_id)

    async def _invoke_in_turn(self) -> Outcome | None:
        """Invoke as soon as there is a place; None if there was none before patience, visibility or the mapping ended."""
        function = self._around.function
        patience = max(_LEAST_PATIENCE, min(_PATIENCE, self._hidden_for()))
        if not await function.take_place_unless(self._around.stop, patience):
            return None
        with self._named():
            return await function.invoke_in_place(self._make_event(), request_id=self._request_id)

    def _named(self) -> request_context:
        """Whatever is logged during the invocation, here or by its handler, names the batch."""
        return request_context(self._request_id, mapping=self._around.settings.name, batch_id=self._id)

    def _make_event(self) -> Event:
        event = Event(self._batch.records)
        if self._around.settings.log_payloads:
            self._around.telemetry.emit(say.BatchPayload(**self._about(), payload=event.text().decode()))
        return event

    async def _delay(self, verdict: TryAgain, tries: int) -> None:
        """Say that the batch is delayed, and wait, unless waiting for a place will do that."""
        around = self._around
        around.scaling.throttled()
        waits_in_turn = verdict.throttled and not around.function.room
        pause = 0.0 if waits_in_turn else min(delay(tries, initial=0.2, maximum=10), max(0.0, self._hidden_for()))
        around.telemetry.emit(say.BatchDelayed(**self._about(), reason=verdict.reason, retry_in_s=pause))
        await stopped_before(around.stop, self._loop.time() + pause)

    def _deleted(self, verdict: Settled, failures: Sequence[EntryFailure], visible_at: float) -> Ended:
        """Say what was deleted, and what could not be."""
        around = self._around
        around.heartbeat.let_go(verdict.done)
        if len(verdict.done) > len(failures):
            deleted = len(verdict.done) - len(failures)
            around.telemetry.emit(say.RecordsDeleted(mapping=around.settings.name, records=deleted, batch_id=self._id))
        if failures:
            undeleted = {entry.handle for entry in failures}
            left = {record.handle: record for record in verdict.done if record.handle in undeleted}
            visible_at = max([visible_at, *(record.hidden_until for record in left.values())])
            ids = {handle: record.id for handle, record in left.items()}
            with bound_context(mapping=around.settings.name, function=around.function.name, batch_id=self._id):
                say_delete_failures(around.telemetry, around.settings.name, failures, ids)
        elif not verdict.kept:
            return _NOTHING_LEFT
        return Ended(kept=verdict.kept, visible_at=visible_at)

    def _say_outcome(self, verdict: Settled, duration: float, delays: dict[str, int], version: str | None) -> float:
        """Emit the batch's outcome; returns when the last of the kept records is visible again."""
        around = self._around
        attempt = max([record.attempt for record in self._batch.records])
        everyone = tuple([record.id for record in self._batch.records])
        if not verdict.kept:
            around.telemetry.emit(
                say.BatchSucceeded(
                    mapping=around.settings.name,
                    function=around.function.name,
                    batch_id=self._id,
                    request_id=self._request_id,
                    records=len(self._batch.records),
                    attempt=attempt,
                    duration_ms=duration * 1000,
                    executed_version=version,
                    cut=self._batch.cut,
                    ids=everyone,
                )
            )
            return -math.inf
        around.telemetry.emit(
            say.BatchRecords(
                mapping=around.settings.name,
                function=around.function.name,
                batch_id=self._id,
                request_id=self._request_id,
                ids=everyone,
                failed_ids=tuple([record.id for record in verdict.kept]),
            )
        )
        about = self._about()
        about |= {"attempt": attempt, "duration_ms": duration * 1000, "executed_version": version}
        now = self._loop.time()
        visible_in = [
            delays[record.handle] if record.handle in delays else around.heartbeat.hidden_until(record) - now
            for record in verdict.kept
        ]
        about["ids"] = tuple(record.id for record in verdict.kept[:IDS_SHOWN])
        about["retry_in_s"] = max(0.0, float(min(visible_in)))
        limit = self._queue.max_receive_count
        if limit is not None and all(record.attempt >= limit for record in verdict.kept):
            about["next"] = "dead_letter_queue"
        else:
            about["next"] = "retry_backoff" if delays else "visibility_timeout"
        if verdict.error_type is None:
            around.telemetry.emit(say.BatchPartial(**about, failed=len(verdict.kept)))
        else:
            message = verdict.error_message or ""
            around.telemetry.emit(say.BatchFailed(**about, error_type=verdict.error_type, error_message=message))
        return now + max(visible_in)

    def _about(self) -> dict[str, Any]:
        """The keys that every event of a batch has."""
        return {
            "mapping": self._around.settings.name,
            "function": self._around.function.name,
            "batch_id": self._id,
            "request_id": self._request_id,
            "records": len(self._batch.records),
        }

    def _retry_delays(self, kept: Sequence[Record]) -> dict[str, int]:
        """Seconds until each kept message is to be tried again, by handle; empty without `retry_backoff`."""
        if self._around.settings.retry_backoff is None:
            return {}
        initial, maximum = self._around.settings.retry_backoff
        return {
            record.handle: min(
                MAX_VISIBILITY, math.ceil(delay(max(1, record.attempt), initial=initial, maximum=maximum))
            )
            for record in kept
        }

    async def _delay_retries(self, kept: Sequence[Record], delays: dict[str, int]) -> None:
        ids = {record.handle: record.id for record in kept}
        failures = await change_visibility(self._around.api, self._queue, delays)
        around = self._around
        with bound_context(mapping=around.settings.name, function=around.function.name, batch_id=self._id):
            say_visibility_failures(around.telemetry, around.settings.name, failures, ids, purpose="retry_backoff")

    def _drop_expired(self) -> None:
        """Leave out the records whose visibility ran out: the queue hands those out again by itself."""
        around = self._around
        now = self._loop.time()
        if around.heartbeat.first_visible(self._batch.records) > now:
            return
        expired = [record for record in self._batch.records if around.heartbeat.hidden_until(record) <= now]
        around.heartbeat.let_go(expired)
        ids = tuple(record.id for record in expired[:IDS_SHOWN])
        around.telemetry.emit(say.RecordsExpired(mapping=around.settings.name, records=len(expired), ids=ids))
        gone = {record.handle for record in expired}
        self._batch = Batch([r for r in self._batch.records if r.handle not in gone], self._batch.cut)

    def _hidden_for(self) -> float:
        """Seconds until the first of the records is visible to others."""
        return self._around.heartbeat.first_visible(self._batch.records) - self._loop.time()


_PACES = {"recover": Scaling.succeeded, "keep": Scaling.ran, "slow": Scaling.failed}
