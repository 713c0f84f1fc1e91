"""One shard at work: read ahead, in batches through its lanes, progress stored.

    reading -> draining its last batches -> finished
       |              |
       '---- stop ----'--> left: what is not resolved comes again

Three things run side by side: the reader fills the lanes while there is room; each lane delivers one batch at a time; the
checkpoint follows what is resolved, and is stored as `esmd.streams.ledger` says. A shard that retries slows no other.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import MAX_EVENT_BYTES
from esmd.mappings.lanes import Lanes
from esmd.mappings.policy import BatchPolicy
from esmd.mappings.windows import MAX_RECORDS_BYTES, Windows
from esmd.observe import stream_events as stream
from esmd.streams.delivery import Delivery
from esmd.streams.failures import StoppedError
from esmd.streams.intake import StreamIntake
from esmd.streams.ledger import FINAL, Ledger
from esmd.streams.positions import to_seek
from esmd.streams.reader import ShardGoneError, ShardReader
from esmd.streams.saying import say_page
from esmd.streams.settings import READ_AHEAD_BYTES
from esmd.streams.view import ShardView, blocked_by
from esmd.tasks import Tasks
from esmd.waiting import woken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.mappings.records import Batch, Record
    from esmd.mappings.stream_events import WindowFields
    from esmd.mappings.windows import Final
    from esmd.pollers.streams import Page, Seek, Shard
    from esmd.state.protocol import ShardProgress, StreamIdentity
    from esmd.streams.settings import Surroundings


_FINAL_LANE = -1
"""Where a window's final invocation is kept among the deliveries of the lanes."""


class ShardConsumer:
    """Consumes one shard; `run` it once.

    Args:
        around: what the mapping's shards share.
        identity: of the stream.
        progress: where the shard stands.
        first: see `ShardReader`.
    """

    def __init__(
        self, around: Surroundings, identity: StreamIdentity, progress: ShardProgress, *, first: Seek | None = None
    ) -> None:
        settings = around.settings
        self._around = around
        self._shard_id = progress.shard_id
        self.ledger = Ledger(around, identity, progress)
        """What is stored of the shard."""
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._reader = ShardReader(around, progress.shard_id, to_seek(progress.position), first=first)
        self._intake = StreamIntake(settings, around.record_filter, progress.shard_id, values=around.function.begins)
        self._lanes = Lanes(
            settings.parallelization_factor,
            batch_size=settings.batch_size,
            window=settings.window,
            max_bytes=MAX_RECORDS_BYTES if settings.tumbling_window else MAX_EVENT_BYTES,
            checkpoint=progress.position.sequence_number,
            resume=self.ledger.lanes_snapshot,
        )
        for lane in range(settings.parallelization_factor):
            if (end := BatchPolicy.resume_end(self.ledger.stored(str(lane)))) is not None:
                self._lanes.end_first_batch_at(lane, end)
        self._windows: Windows | None = None
        if settings.tumbling_window:
            self._windows = Windows(
                settings.tumbling_window,
                shard_id=progress.shard_id,
                stream_arn=settings.stream_arn,
                snapshot=self.ledger.window_snapshot,
            )
        elif (self.ledger.window_snapshot or {}).get("open"):
            around.telemetry.emit(stream.WindowDropped(mapping=settings.name, shard=self._shard_id))
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._quiet_since: float | None = None
        self._read_to_end = False
        self._gone: ShardGoneError | None = None
        self._children: tuple[Shard, ...] = ()
        self.last_activity = self._loop.time()
        """Loop time of the last record read or batch ended."""

    # --- what others may ask

    @property
    def shard_id(self) -> str:
        """Which shard it is."""
        return self._shard_id

    @property
    def in_flight(self) -> int:
        """Batches under way."""
        return len(self._busy)

    @property
    def quiet(self) -> bool:
        """Whether everything that is there has been read and resolved."""
        return (self._reader.caught_up or self._read_to_end) and not self._lanes.outstanding and not self._busy

    @property
    def view(self) -> ShardView:
        """The shard as it is now."""
        return ShardView(
            shard=self._shard_id,
            position=str(self.ledger.progress.position),
            outstanding=self._lanes.outstanding,
            in_flight=len(self._busy),
            caught_up=self._reader.caught_up,
            millis_behind_latest=self._reader.millis_behind,
            blocked=blocked_by(list(self._deliveries.values()), self._loop.time()),
        )

    # --- running

    async def run(self) -> tuple[Shard, ...] | None:
        """Consume to the end: the children that its last page named. None if the mapping stops first.

        Raises:
            ShardGoneError: the service does not know the shard (any more).
        """
        name = self._around.settings.name
        position = str(self.ledger.progress.position)
        self._around.telemetry.emit(stream.ShardStarted(mapping=name, shard=self.shard_id, position=position))
        stopping = self._loop.create_task(self._around.stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        self._around.ahead.shards += 1
        try:
            async with Tasks() as tasks:
                reading = tasks.create_task(self._read())
                tasks.create_task(self.ledger.follow(self._lanes, self._windows))
                await self._deliver(tasks)
                await asyncio.wait([reading])
                await self.ledger.finish(self._lanes, self._windows)
        finally:
            self._around.ahead.shards -= 1
            stopping.cancel()
        if self._gone is not None and not self._around.stop.is_set():
            raise self._gone
        return self._children if self._is_finished() and self._gone is None else None

    def _is_finished(self) -> bool:
        window_open = self._windows is not None and self._windows.is_open
        return self._read_to_end and not self._lanes.outstanding and not self._busy and not window_open

    # --- reading

    async def _read(self) -> None:
        """Fill the lanes until the shard ends or the mapping stops, pausing while enough is read ahead."""
        while await self._has_room():
            try:
                page = await self._reader.next_page()
            except ShardGoneError as error:
                # What was read ahead is still delivered: nobody can read it again.
                self._gone = error
                self._read_to_end = True
                self._wake.set()
                return
            if page is None:
                return
            await self._take_in(page)
            if page.next_iterator is None:
                self._children = page.children
                self._read_to_end = True
                self._wake.set()
                return

    @property
    def _most_ahead(self) -> int:
        """Bytes to read ahead. A batching window asks for whole batches, else they would be as small as the shard's part."""
        return READ_AHEAD_BYTES if self._around.settings.window else self._around.ahead.limit

    async def _has_room(self) -> bool:
        while self._lanes.outstanding_bytes >= self._most_ahead and not self._around.stop.is_set():
            self._room.clear()
            await self._room.wait()
        return not self._around.stop.is_set()

    async def _take_in(self, page: Page) -> None:
        unmatched = len(page.records)
        last: str | None = None
        runs = self._intake.admit(page.records) if page.records else []
        for records, passed_over in runs:
            unmatched -= len(records)
            self._lanes.add(records)
            if passed_over is not None:
                self._lanes.skip_to(passed_over)
            last = passed_over or records[-1].id
        if last is not None:
            self._reader.went_past(last)
            self.last_activity = self._loop.time()
            say_page(self._around, self._shard_id, page.records, runs, numbers_of=self._intake.numbers)
        if unmatched:
            await self.ledger.commit_soon(self._lanes, self._windows)
        if self._reader.caught_up and self._quiet_since is None:
            self._quiet_since = self._around.wall()
        elif not self._reader.caught_up:
            self._quiet_since = None
        if runs or self._windows is not None:  # a window may end since nothing comes
            self._wake.set()

    # --- delivering

    async def _deliver(self, tasks: Tasks) -> None:
        """Start a batch on every lane that has one due, until the shard is finished or the mapping stops."""
        while not self._around.stop.is_set() and not self._is_finished():
            self._wake.clear()
            deadlines: list[float] = []
            for lane in range(self._lanes.factor):
                if lane in self._busy:
                    continue
                if (deadline := self._start(tasks, lane)) is not None:
                    deadlines.append(deadline)
            if self._is_finished():
                break
            await woken(self._wake, min(deadlines, default=None))
        self._wake.set()
        self._room.set()
        while self._busy:
            await asyncio.wait(list(self._busy.values()))

    def _start(self, tasks: Tasks, lane: int) -> float | None:
        """Start what is due on a free lane; else when to look again (loop time)."""
        now = self._loop.time()
        if self._windows is not None:
            ended = self._read_to_end and not self._lanes.outstanding
            final = self._windows.due(
                self._around.wall(),
                next_record=self._lanes.front(lane),
                quiet_since=self._quiet_since,
                shard_ended=ended,
            )
            if final is not None:
                self._busy[lane] = tasks.create_task(self._run_final(lane, final))
                return None
        batch = self._lanes.take(lane, now, joins=None if self._windows is None else self._windows.joins)
        if batch is not None:
            self._busy[lane] = tasks.create_task(self._run_batches(lane, batch))
            return None
        due = self._lanes.due(lane)
        if self._windows is not None and (at := self._windows.due_at(self._quiet_since)) is not None:
            due = min(due if due is not None else math.inf, now + max(0.0, at - self._around.wall()))
        # A lane that says "at once" but gave nothing waits for more records, which wake us anyhow.
        return due if due is not None and due > now else None

    async def _run_batches(self, lane: int, batch: Batch | None) -> None:
        """Deliver a batch, and those behind it that are due without looking at anything else."""
        try:
            while batch is not None:
                await self._run_batch(lane, batch)
                self.last_activity = now = self._loop.time()
                self._lanes.batch_ended(lane, now)
                may_go_on = self._windows is None and not self._around.stop.is_set()
                batch = self._lanes.take(lane, now) if may_go_on else None
        finally:
            self._ended(lane)

    async def _run_batch(self, lane: int, batch: Batch) -> None:
        delivery = self._deliveries[lane] = Delivery(
            self._around,
            self.shard_id,
            batch.records,
            progress=_LaneProgress(self, lane),
            options=self._around.settings.policy,
            cut=batch.cut,
            resume=self.ledger.resume(str(lane)),
        )
        await delivery.run()

    async def _run_final(self, lane: int, final: Final) -> None:
        try:
            await self._close_window(final)
            self.last_activity = self._loop.time()
            self._lanes.batch_ended(lane, self.last_activity)
        finally:
            self._ended(lane)

    def _ended(self, lane: int) -> None:
        del self._busy[lane]
        self._deliveries.pop(lane, None)
        self._wake.set()

    # --- tumbling windows

    async def _close_window(self, final: Final) -> bool:
        """Drive a window's final invocation through the failure rules; True when the window is closed."""
        options = replace(self._around.settings.policy, bisect=False, report_batch_item_failures=False)
        delivery = self._deliveries[_FINAL_LANE] = Delivery(
            self._around,
            self.shard_id,
            [final.stand_in],
            progress=_FinalProgress(self, final),
            options=options,
            cut="window",
            resume=self.ledger.resume(FINAL),
        )
        try:
            return await delivery.run()
        finally:
            del self._deliveries[_FINAL_LANE]

    async def window_for(self, first: Record) -> WindowFields | None:
        """The window of the next invocation; closes the one before it where that is due."""
        if self._windows is None:
            return None
        while (final := self._windows.due(self._around.wall(), next_record=first)) is not None:
            if not await self._close_window(final):
                raise StoppedError
        return self._windows.fields()

    async def window_moved(self, *, closed: bool, snapshot: Any) -> None:
        """A window's final invocation succeeded or was given up, or failed and will be tried again."""
        if closed and self._windows is not None:
            self._windows.closed()
        self.ledger.remember(FINAL, None if closed else snapshot)
        await self._commit()

    # --- progress

    async def moved(
        self, lane: int, resolved: Sequence[Record], *, state: bytes | None, snapshot: Any, can_wait: bool
    ) -> None:
        """Something has happened to a lane's batch; returns when it is stored, or may be stored later."""
        if resolved:
            if self._windows is not None:
                self._windows.resolved(resolved, state=state)
            self._lanes.resolve([record.id for record in resolved])
            if self._lanes.outstanding_bytes < self._most_ahead:
                self._room.set()
        if can_wait and self._windows is None and not self.ledger.remembers(str(lane)):
            await self.ledger.commit_soon(self._lanes, self._windows)
            return
        self.ledger.remember(str(lane), snapshot)
        await self._commit()

    async def _commit(self) -> None:
        await self.ledger.commit(self._lanes, self._windows)


class _LaneProgress:
    """The shard's ear for the batches of one lane."""

    def __init__(self, shard: ShardConsumer, lane: int) -> None:
        self._shard = shard
        self._lane = lane

    async def moved(
        self, resolved: Sequence[Record], *, state: bytes | None, snapshot: dict[str, Any] | None, can_wait: bool
    ) -> None:
        await self._shard.moved(self._lane, resolved, state=state, snapshot=snapshot, can_wait=can_wait)

    async def before_invoke(self, first: Record) -> WindowFields | None:
        return await self._shard.window_for(first)


class _FinalProgress:
    """The shard's ear for a window's final invocation, whose only record stands for the window."""

    def __init__(self, shard: ShardConsumer, final: Final) -> None:
        self._shard = shard
        self._final = final

    async def moved(
        self,
        resolved: Sequence[Record],
        *,
        state: bytes | None,  # noqa: ARG002 - the state of a closed window is dropped
        snapshot: dict[str, Any] | None,
        can_wait: bool,  # noqa: ARG002 - with windows nothing can
    ) -> None:
        await self._shard.window_moved(closed=bool(resolved), snapshot=snapshot)

    async def before_invoke(self, first: Record) -> WindowFields | None:  # noqa: ARG002 - no record is sent
        return self._final.fields
