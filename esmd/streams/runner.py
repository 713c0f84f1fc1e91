"""Runs one stream mapping: knows the stream, lists its shards, runs a consumer for each that the book lets it read.

| wake-up                       | what it leads to                                                            |
|-------------------------------|-----------------------------------------------------------------------------|
| start                         | identity, stored progress, first listing                                    |
| the discovery interval        | listing: new shards stored, vanished ones said and forgotten                |
| a shard ended                 | its end and its children stored in one commit, children started, listing    |
| the service knows a shard no more | listing decides: gone for good, or read on from its checkpoint           |
| the stream was made anew      | everything about the old one is forgotten, reading starts anew              |
| another process changed the book | shards that are to be read here begin, those that are to be read there end |
| stop                          | readers end after their call, batches after their invocation                |
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from esmd.observe import mapping_events as say
from esmd.observe import stream_events as stream
from esmd.observe.events import IDS_SHOWN
from esmd.pollers.errors import Kind, SourceError
from esmd.state.errors import OtherStreamError, StateError
from esmd.state.protocol import StreamIdentity
from esmd.streams.bookreader import BookReader
from esmd.streams.reader import ShardGoneError
from esmd.streams.shard import ShardConsumer
from esmd.streams.storing import mended
from esmd.tasks import Tasks
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.pollers.streams import Shard
    from esmd.streams.book import Changes, Granted
    from esmd.streams.settings import Surroundings
    from esmd.streams.view import ShardView


_DOUBT_SECONDS = 1.0
"""Until a listing that is doubted is made again."""


class _StreamReplacedError(Exception):
    """The stream has another identity than the one being read."""


class StreamRunner:
    """One mapping at work. `run` it once; it heals by itself and ends only when it is told to."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._configured_arn = around.settings.stream_arn
        self._loop = asyncio.get_running_loop()
        self._book = around.book or BookReader.alone(around.settings.name, store=around.store, wall=around.wall)
        self._consumers: dict[str, ShardConsumer] = {}
        self._stops: dict[str, asyncio.Event] = {}
        self._list_again = asyncio.Event()
        self._said_enabled = False
        self._last_activity = self._loop.time()
        self.tried = asyncio.Event()
        """Set when the stream has been listed, or the mapping has said why not."""

    # --- what others may ask

    @property
    def in_flight(self) -> int:
        """Batches under way."""
        return sum(consumer.in_flight for consumer in self._consumers.values())

    @property
    def pollers(self) -> int:
        """Shards being read."""
        return len(self._consumers)

    @property
    def concurrency(self) -> int:
        """Batches that may be under way now."""
        return len(self._consumers) * self._around.settings.parallelization_factor

    @property
    def quiet_since(self) -> float:
        """Loop time since which nothing was read, run or waiting to be retried; infinity while something is."""
        if not all(consumer.quiet for consumer in self._consumers.values()):
            return math.inf
        return max((c.last_activity for c in self._consumers.values()), default=self._last_activity)

    @property
    def shards(self) -> list[ShardView]:
        """The shards that are being read, by their ids."""
        return [self._consumers[shard].view for shard in sorted(self._consumers)]

    # --- running

    async def run(self) -> None:
        """Consume the stream until stop, then drain. Cancelling it halts: handlers are killed, their records come again."""
        while not self._around.stop.is_set():
            identity = await self._begin()
            if identity is None:
                continue
            with contextlib.suppress(_StreamReplacedError):
                await self._consume(identity)

    async def _begin(self) -> StreamIdentity | None:
        """Look the stream up and take its stored progress; None if that failed, after a pause."""
        around = self._around
        try:
            info = await around.api.describe()
            identity = StreamIdentity(self._configured_arn, info.created_at)
            forgotten = await self._book.begin(identity, around.settings.start)
        except (SourceError, StateError) as error:
            await self._failed(error)
            return None
        if forgotten is not None:
            around.telemetry.emit(
                stream.StreamReplaced(
                    mapping=around.settings.name,
                    source=identity.arn,
                    created_at=identity.created_at,
                    forgotten_shards=forgotten,
                )
            )
        # A table's stream may be named by the label `latest`; events and failure records name the real one.
        self._around = replace(around, settings=replace(around.settings, stream_arn=info.arn))
        return identity

    async def _consume(self, identity: StreamIdentity) -> None:
        """List, and run what may be read, until stop or until the stream is another one."""
        stopping = self._loop.create_task(self._around.stop.wait())
        stopping.add_done_callback(lambda _: self._stop_consumers())
        try:
            async with Tasks() as tasks:
                self._list_again.set()
                list_at = 0.0
                while not self._around.stop.is_set():
                    if self._list_again.is_set():
                        self._list_again.clear()
                        pause = await self._list(identity)
                        list_at = self._loop.time() + pause
                    self._book.changed.clear()
                    await self._take(identity, tasks)
                    await self._until(list_at)
        except ExceptionGroup as group:
            # A stream that was replaced shows in several places at once; any other error is a defect.
            replaced, others = group.split((_StreamReplacedError, OtherStreamError))
            if others is not None or replaced is None:
                raise
            raise _StreamReplacedError from group
        finally:
            stopping.cancel()
            self._last_activity = self._loop.time()
            self._consumers.clear()
            self._stops.clear()

    async def _until(self, list_at: float) -> None:
        """Wait for the time of the next listing (loop time), or for what comes before it."""
        causes = [asyncio.create_task(e.wait()) for e in (self._around.stop, self._list_again, self._book.changed)]
        try:
            left = max(0.0, max(list_at, self._around.trouble.retry_at) - self._loop.time())
            woken, _ = await asyncio.wait(causes, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not woken:
                self._list_again.set()
        finally:
            for cause in causes:
                cause.cancel()

    def _stop_consumers(self) -> None:
        for stop in self._stops.values():
            stop.set()

    # --- shards

    async def _list(self, identity: StreamIdentity) -> float:
        """Show the book all shards. If that fails, say so and wait. Returns the seconds until it is to be done again."""
        around = self._around
        interval: float = around.settings.discovery_interval
        ticket = await self._book.ticket(identity)
        try:
            async with around.calls:
                info = await around.api.describe()
                if info.created_at != identity.created_at:
                    raise _StreamReplacedError
                before = around.wall()
                shards = await around.api.list_shards()
        except SourceError as error:
            await self._failed(error)
            return interval
        around.trouble.passed(self._loop.time())
        changes = await self._stored(lambda: self._book.listed(identity, ticket, shards, before))
        if changes is None:
            return interval
        self._say(changes)
        if changes.doubted:
            return min(interval, _DOUBT_SECONDS)
        if not self._said_enabled:
            self._said_enabled = True
            self._say_enabled(changes.shards)
        self.tried.set()
        return interval

    async def _take(self, identity: StreamIdentity, tasks: Tasks) -> None:
        """Begin and end what the book says. If it cannot say now, it is asked again after a pause."""
        try:
            turn = await self._book.take(identity)
        except StateError as error:
            if await mended(self._around, error):
                self._book.changed.set()
            return
        for granted in turn.begin:
            self._start(granted, identity, tasks)
        for shard_id in turn.give_up:
            if (stop := self._stops.get(shard_id)) is not None:  # else it has just ended by itself
                stop.set()

    def _start(self, granted: Granted, identity: StreamIdentity, tasks: Tasks) -> None:
        shard_id = granted.progress.shard_id
        stop = asyncio.Event()
        if self._around.stop.is_set():
            stop.set()
        consumer = ShardConsumer(replace(self._around, stop=stop), identity, granted.progress, first=granted.first)
        self._consumers[shard_id] = consumer
        self._stops[shard_id] = stop
        tasks.create_task(self._consume_shard(consumer, identity, tasks))

    async def _consume_shard(self, consumer: ShardConsumer, identity: StreamIdentity, tasks: Tasks) -> None:
        shard_id = consumer.shard_id
        gone, children = False, None
        try:
            children = await consumer.run()
        except ShardGoneError:
            gone = True
        self._last_activity = max(self._last_activity, consumer.last_activity)
        self._consumers.pop(shard_id, None)
        self._stops.pop(shard_id, None)
        if children is not None:
            if await self._shard_ended(consumer, children, identity):
                await self._take(identity, tasks)
            self._list_again.set()
        elif not self._around.stop.is_set():
            await self._book.give_back(identity, shard_id, gone=gone)
            if gone:
                self._list_again.set()

    async def _shard_ended(
        self, consumer: ShardConsumer, children: tuple[Shard, ...], identity: StreamIdentity
    ) -> bool:
        """Store a shard's end together with its children, neither without the other; False if the mapping stopped first."""
        at_end = consumer.ledger.at_end
        changes = await self._stored(lambda: self._book.ended(identity, at_end, children))
        if changes is None:
            return False
        self._say(changes)
        self._around.telemetry.emit(
            stream.ShardFinished(
                mapping=self._around.settings.name,
                shard=consumer.shard_id,
                children=tuple(child.id for child in children),
            )
        )
        return True

    async def _stored(self, change: Callable[[], Awaitable[Changes]]) -> Changes | None:
        """What a change of the book comes to, once it would survive a kill. None if the mapping stopped first."""
        while True:
            try:
                return await change()
            except StateError as error:
                if not await mended(self._around, error):
                    return None

    def _say(self, changes: Changes) -> None:
        around = self._around
        for found in changes.discovered:
            around.telemetry.emit(
                stream.ShardDiscovered(
                    mapping=around.settings.name,
                    shard=found.shard.id,
                    parents=found.shard.parents,
                    start="passed over" if found.start is None else found.start.place.value,
                )
            )
        if changes.doubted:
            around.telemetry.emit(
                stream.ListingDoubted(
                    mapping=around.settings.name,
                    shards=len(changes.doubted),
                    shard_ids=changes.doubted[:IDS_SHOWN],
                )
            )
        for shard_id in changes.lost:
            around.telemetry.emit(stream.ShardLost(mapping=around.settings.name, shard=shard_id))

    # --- trouble and state

    async def _failed(self, error: SourceError | StateError) -> None:
        """Say why the stream cannot be read now, and wait until it is to be tried again."""
        now = self._loop.time()
        if isinstance(error, SourceError):
            why = error.failure
            passing = why.kind is Kind.BACK_OFF and self._said_enabled
            self._around.trouble.failed(why.code, why.message, now, passing=passing)
        else:
            self._around.trouble.failed(type(error).__name__, str(error), now, passing=False)
        self.tried.set()
        await stopped_before(self._around.stop, self._around.trouble.retry_at)

    def _say_enabled(self, shards: int) -> None:
        settings = self._around.settings
        self._around.telemetry.emit(
            say.MappingEnabled(
                mapping=settings.name,
                source=settings.stream_arn,
                function=self._around.function.name,
                batch_size=settings.batch_size,
                window_s=settings.window,
                starting_position=settings.start.place.value,
                parallelization_factor=settings.parallelization_factor,
                shards=shards,
            )
        )
