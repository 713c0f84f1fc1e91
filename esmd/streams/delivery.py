"""One batch of a stream on its way: the failure policy decides, this carries out and reports back.

Whatever the policy resolves is handed to the shard at once, and committed before anything else happens where a restart has
to know it (`esmd.streams.ledger`). A delivery that ends early (the mapping stops) leaves the rest unresolved.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Protocol

from esmd.mappings.commands import Bisected, Discard, Finished, Invoke, Processed, Retrying, Trouble, Wait
from esmd.mappings.events import text_of
from esmd.mappings.kinesis_values import event_of
from esmd.mappings.outcomes import Outcome, Throttled, version_of
from esmd.mappings.policy import BatchPolicy
from esmd.mappings.stream_events import stream_event
from esmd.mappings.window_replies import read_reply
from esmd.observe import mapping_events as say
from esmd.observe import stream_events as stream
from esmd.observe.context import bound_context, request_context
from esmd.observe.ids import new_batch_id, new_request_id
from esmd.streams.failures import StoppedError, give_up
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.mappings.events import Event
    from esmd.mappings.policy import PolicyOptions
    from esmd.mappings.records import Record
    from esmd.mappings.stream_events import WindowFields
    from esmd.streams.settings import Surroundings

_PATIENCE = 30.0
"""Seconds to wait for a free place before asking the policy again, and saying that the batch is delayed."""

_IDS_SHOWN = 10
"""Most record ids of one log line; the counts beside them are complete."""

_BLOCKED_AFTER = 60.0
"""Seconds of failing after which the shard is said to be blocked; then again each time that has grown tenfold."""


class Progress(Protocol):
    """What a delivery tells its shard."""

    async def moved(
        self, resolved: Sequence[Record], *, state: bytes | None, snapshot: dict[str, Any] | None, can_wait: bool
    ) -> None:
        """Something has happened to the batch; returns when it would survive a kill, or may be stored later.

        Args:
            resolved: records that are now processed or given up; none after a failure.
            state: of a tumbling window, from the answer that processed them.
            snapshot: the attempts so far, for a restart; None if there is nothing to know.
            can_wait: whether a kill may undo it: the records were processed at once, and may be again.
        """
        ...

    async def before_invoke(self, first: Record) -> WindowFields | None:
        """The tumbling window that the record is in, opened if need be, after closing the one before it.

        Raises:
            StoppedError: the mapping stopped before that one was closed.
        """
        ...


class Delivery:
    """Drives one batch; `run` it once.

    Args:
        around: what the mapping's shards share.
        shard_id: the shard.
        records: the batch, in order.
        progress: the shard's ear.
        options: the failure options; those of the mapping, or others for a window's final invocation.
        cut: why the batch was closed.
        resume: the policy's snapshot from before a restart.
    """

    def __init__(
        self,
        around: Surroundings,
        shard_id: str,
        records: Sequence[Record],
        *,
        progress: Progress,
        options: PolicyOptions,
        cut: str,
        resume: object = None,
    ) -> None:
        self._around = around
        self._shard_id = shard_id
        self._progress = progress
        self._cut = cut
        self._id = new_batch_id()
        self._request_id = new_request_id()
        self._loop = asyncio.get_running_loop()
        self._policy = BatchPolicy(records, options, resume)
        self._blocked_said = _BLOCKED_AFTER
        self.retry_at: float | None = None
        """Loop time of the next invocation, while a failed one is waited out."""
        if self._policy.resume_ignored is not None:
            reason = self._policy.resume_ignored
            self._emit(stream.SnapshotIgnored(mapping=self._name, shard=shard_id, reason=reason))

    @property
    def _name(self) -> str:
        return self._around.settings.name

    @property
    def trouble(self) -> Trouble | None:
        """Why the batch does not get on; None while nothing has failed since a record was last resolved."""
        return self._policy.trouble

    async def run(self) -> bool:
        """Take the batch to its end; False if the mapping stopped before that."""
        try:
            return await self._run()
        except StoppedError:
            return False

    async def _run(self) -> bool:
        function = self._around.function.name
        with bound_context(mapping=self._name, function=function, shard=self._shard_id, batch_id=self._id):
            while True:
                match self._policy.next(self._loop.time(), self._around.wall()):
                    case Finished():
                        return True
                    case Invoke(records):
                        if self._around.stop.is_set():
                            return False
                        await self._invoke(records)
                    case Wait(until):
                        self._say_blocked()
                        self.retry_at = until
                        if await stopped_before(self._around.stop, until):
                            return False
                    case Discard() as discard:
                        await self._discard(discard)

    # --- invoking

    async def _invoke(self, records: tuple[Record, ...]) -> None:
        window = await self._progress.before_invoke(records[0])
        event = event_of(records, window=window)
        self.retry_at = None
        started = self._loop.time()
        sent_age = (self._around.wall() - records[-1].arrived_at) * 1000
        outcome = await self._outcome(event, records)
        refused, state = None, None
        if window is not None:
            reply = read_reply(outcome)
            refused, state = reply.refused, reply.state
        notes = self._policy.invoked(outcome, self._loop.time(), self._around.wall(), refused_answer=refused)
        about = self._about(records)
        ages = {"iterator_age_ms": sent_age, "processed_age_ms": (self._around.wall() - records[-1].arrived_at) * 1000}
        about |= {"duration_ms": (self._loop.time() - started) * 1000, "executed_version": version_of(outcome), **ages}
        processed: Sequence[Record] = ()
        again: Retrying | Bisected | None = None
        for note in notes:
            match note:
                case Processed(done):
                    processed = done
                case Retrying():
                    again = note
                    self._say_retrying(note)
                case Bisected():
                    again = note
                    self._say_bisected(note)
        self._say_outcome(about, records, processed, again)
        snapshot = self._policy.snapshot()
        can_wait = snapshot is None and len(processed) == len(records)
        await self._progress.moved(processed, state=state, snapshot=snapshot, can_wait=can_wait)

    async def _outcome(self, event: bytes | Event, records: Sequence[Record]) -> Outcome:
        """Invoke in turn with the other batches of the function; `Throttled` if there is no place for long."""
        around = self._around
        self._request_id = new_request_id()
        if around.settings.log_payloads:
            self._emit(say.BatchPayload(**self._about(records), payload=text_of(event).decode()))
        if around.function.room:
            with self._named():
                return await around.function.invoke(event, request_id=self._request_id)
        if not await around.function.take_place_unless(around.stop, _PATIENCE):
            return Throttled()
        with self._named():
            return await around.function.invoke_in_place(event, request_id=self._request_id)

    def _named(self) -> request_context:
        """Whatever is logged during the invocation, here or by its handler, names the batch."""
        return request_context(self._request_id, mapping=self._name, shard=self._shard_id, batch_id=self._id)

    # --- giving up

    async def _discard(self, discard: Discard) -> None:
        window = await self._progress.before_invoke(discard.records[0])
        event = stream_event(discard.records, window=window)
        destination = await give_up(self._around, self._shard_id, discard, request_id=self._request_id, event=event)
        self._policy.discarded()
        self._emit(
            stream.BatchDiscarded(
                mapping=self._name,
                shard=self._shard_id,
                function=self._around.function.name,
                batch_id=self._id,
                condition=discard.condition,
                approximate_invoke_count=discard.approximate_invoke_count,
                records=len(discard.records),
                first_sequence_number=discard.records[0].id,
                last_sequence_number=discard.records[-1].id,
                destination=destination,
            )
        )
        snapshot = self._policy.snapshot()
        await self._progress.moved(discard.records, state=None, snapshot=snapshot, can_wait=False)

    # --- saying

    def _emit(self, event: Any) -> None:
        self._around.telemetry.emit(event)

    def _about(self, records: Sequence[Record]) -> dict[str, Any]:
        return {
            "mapping": self._name,
            "shard": self._shard_id,
            "function": self._around.function.name,
            "batch_id": self._id,
            "request_id": self._request_id,
            "records": len(records),
        }

    def _say_outcome(
        self,
        about: dict[str, Any],
        records: Sequence[Record],
        processed: Sequence[Record],
        again: Retrying | Bisected | None,
    ) -> None:
        """`batch.succeeded`, `batch.partial` or `batch.failed`; one that never ran has been said as delayed."""
        trouble = self._policy.trouble
        about["attempt"] = 1 if trouble is None else max(1, trouble.attempts)
        if len(processed) == len(records):
            self._emit(say.BatchSucceeded(**about, cut=self._cut, ids=tuple([record.id for record in records])))
            return
        failure = again.failure if again is not None else trouble.failure if trouble is not None else None
        if failure is None or not failure.counts:
            return
        left = records[len(processed) :]
        self._emit(
            say.BatchRecords(
                mapping=self._name,
                shard=self._shard_id,
                function=self._around.function.name,
                batch_id=self._id,
                request_id=self._request_id,
                ids=tuple([record.id for record in records]),
                failed_ids=tuple([record.id for record in left]),
            )
        )
        about["ids"] = tuple(record.id for record in left[:_IDS_SHOWN])
        about["next"] = "discard" if again is None else "retry"
        about["retry_in_s"] = 0.0 if again is None else again.delay
        if failure.kind == "reported":
            self._emit(say.BatchPartial(**about, failed=len(left)))
        else:
            self._emit(say.BatchFailed(**about, error_type=failure.error_type, error_message=failure.error_message))

    def _say_retrying(self, note: Retrying) -> None:
        common = {"mapping": self._name, "shard": self._shard_id, "function": self._around.function.name}
        if not note.failure.counts:
            self._emit(
                say.BatchDelayed(
                    **common,
                    batch_id=self._id,
                    request_id=self._request_id,
                    records=len(note.records),
                    reason=note.failure.error_message,
                    retry_in_s=note.delay,
                )
            )
            return
        self._emit(
            stream.BatchRetrying(
                **common,
                batch_id=self._id,
                request_id=self._request_id,
                records=len(note.records),
                attempt=note.attempts,
                why=note.failure.kind,
                error_type=note.failure.error_type,
                error_message=note.failure.error_message,
                retry_in_s=note.delay,
            )
        )

    def _say_bisected(self, note: Bisected) -> None:
        self._emit(
            stream.BatchBisected(
                mapping=self._name,
                shard=self._shard_id,
                function=self._around.function.name,
                batch_id=self._id,
                request_id=self._request_id,
                sizes=note.sizes,
                at_sequence_number=note.at,
            )
        )

    def _say_blocked(self) -> None:
        """Once the batch has failed for a minute, then after ten, after a hundred."""
        trouble = self._policy.trouble
        if trouble is None:
            return
        now = self._around.wall()
        failing_for = now - trouble.since
        if failing_for < self._blocked_said:
            return
        while self._blocked_said <= failing_for:
            self._blocked_said *= 10
        expires_at = trouble.expires_at
        self._emit(
            stream.ShardBlocked(
                mapping=self._name,
                shard=self._shard_id,
                records=len(trouble.records),
                first_sequence_number=trouble.records[0].id,
                last_sequence_number=trouble.records[-1].id,
                error_type=trouble.failure.error_type,
                error_message=trouble.failure.error_message,
                failing_for_s=failing_for,
                expires_in_s=None if expires_at is None or math.isinf(expires_at) else max(0.0, expires_at - now),
            )
        )
