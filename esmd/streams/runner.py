"""Runs one stream mapping: knows the stream and its shards, starts a consumer for each that may be read.

| wake-up                       | what it leads to                                                            |
|-------------------------------|-----------------------------------------------------------------------------|
| start                         | identity, stored progress, first listing                                    |
| the discovery interval        | listing: new shards stored, vanished ones said and forgotten                |
| a shard ended                 | its end and its children stored in one commit, children started, listing    |
| the service knows a shard no more | listing decides: gone for good, or read on from its checkpoint           |
| the stream was made anew      | everything about the old one is forgotten, reading starts anew              |
| stop                          | readers end after their call, batches after their invocation                |
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esmd.observe import mapping_events as say
from esmd.observe import stream_events as stream
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.shards import Discovery, ShardGraph
from esmd.pollers.streams import Place, pinned
from esmd.state.errors import OtherStreamError, StateError
from esmd.state.position import SHARD_END
from esmd.state.protocol import ShardProgress, StreamIdentity
from esmd.streams.positions import to_position
from esmd.streams.reader import ShardGoneError
from esmd.streams.shard import ShardConsumer
from esmd.streams.storing import keep
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esmd.pollers.streams import Seek, Shard
    from esmd.streams.settings import Surroundings


class _StreamReplacedError(Exception):
    """The stream has another identity than the one being read."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """The shards of a stream, and the time just before they were asked for (epoch seconds)."""

    shards: list[Shard]
    before: float


class StreamRunner:
    """One mapping at work. `run` it once; it heals by itself and ends only when it is told to."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._configured_arn = around.settings.stream_arn
        self._loop = asyncio.get_running_loop()
        self._consumers: dict[str, ShardConsumer] = {}
        self._stored: dict[str, ShardProgress] = {}
        self._first: dict[str, Seek] = {}
        self._list_again = asyncio.Event()
        # Between a change of the graph and the commit that makes it lasting nobody may start what the graph offers.
        self._changing = asyncio.Lock()
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
            forgotten = await around.store.begin(around.settings.name, identity)
            stored = await around.store.load(around.settings.name, identity.arn)
        except (SourceError, StateError) as error:
            await self._failed(error)
            return None
        if forgotten is not None:
            around.telemetry.emit(
                stream.StreamReplaced(
                    mapping=around.settings.name,
                    source=identity.arn,
                    created_at=identity.created_at,
                    forgotten_shards=len(forgotten.shards),
                )
            )
        self._stored = dict(stored.shards) if stored is not None else {}
        self._first = {}
        # A table's stream may be named by the label `latest`; events and failure records name the real one.
        self._around = replace(around, settings=replace(around.settings, stream_arn=info.arn))
        return identity

    async def _consume(self, identity: StreamIdentity) -> None:
        """List, and run what may be read, until stop or until the stream is another one."""
        known = {shard_id: progress.position == SHARD_END for shard_id, progress in self._stored.items()}
        graph = ShardGraph(self._around.settings.start, known=known)
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._around.stop.is_set():
                    self._list_again.clear()
                    if (listing := await self._list(identity)) is not None:
                        async with self._changing:
                            if await self._take_in(listing, graph, identity):
                                self._start_readable(graph, identity, tasks)
                    await self._until_next_listing()
        except ExceptionGroup as group:
            # A stream that was replaced shows in several places at once; any other error is a defect.
            replaced, others = group.split((_StreamReplacedError, OtherStreamError))
            if others is not None or replaced is None:
                raise
            raise _StreamReplacedError from group
        finally:
            self._last_activity = self._loop.time()
            self._consumers.clear()

    async def _until_next_listing(self) -> None:
        stopping = asyncio.create_task(self._around.stop.wait())
        again = asyncio.create_task(self._list_again.wait())
        try:
            await asyncio.wait(
                (stopping, again),
                timeout=max(
                    self._around.settings.discovery_interval, self._around.trouble.retry_at - self._loop.time()
                ),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopping.cancel()
            again.cancel()

    # --- shards

    async def _list(self, identity: StreamIdentity) -> _Listing | None:
        """List the shards; None if that failed, after a pause."""
        around = self._around
        try:
            async with around.calls:
                info = await around.api.describe()
                if info.created_at != identity.created_at:
                    raise _StreamReplacedError
                before = around.wall()
                return _Listing(await around.api.list_shards(), before)
        except SourceError as error:
            await self._failed(error)
            return None

    async def _take_in(self, listing: _Listing, graph: ShardGraph, identity: StreamIdentity) -> bool:
        """Store what a listing shows to be new, and forget what is gone; False if the mapping stopped first."""
        around = self._around
        around.trouble.passed(self._loop.time())
        listed = graph.listed(listing.shards)
        if not await self._store_new(listed.discovered, identity, listing.before):
            return False
        for shard_id in listed.lost:
            around.telemetry.emit(stream.ShardLost(mapping=around.settings.name, shard=shard_id))
        if listed.forgotten:
            await self._forget(listed.forgotten, identity)
        if not self._said_enabled:
            self._said_enabled = True
            self._say_enabled(len(graph))
        self.tried.set()
        return True

    async def _forget(self, shard_ids: Iterable[str], identity: StreamIdentity) -> None:
        """Drop what is stored of vanished shards. If that fails, they are found missing again after a restart."""
        for shard_id in shard_ids:
            self._stored.pop(shard_id, None)
        try:
            await self._around.store.forget(self._around.settings.name, identity, shard_ids)
        except OtherStreamError:
            raise
        except StateError as error:
            self._around.trouble.failed(type(error).__name__, str(error), self._loop.time(), passing=False)

    async def _store_new(
        self, discovered: Iterable[Discovery], identity: StreamIdentity, before: float, *more: ShardProgress
    ) -> bool:
        """Store where new shards begin, all in one commit, before any is read. False if the mapping stopped first.

        `LATEST` is stored as the time it was asked for: asked for again after a restart, it would skip what came between.
        """
        new = [self._new_progress(found, before) for found in discovered]
        if new or more:
            if not await keep(self._around, identity, *new, *more):
                return False
            self._stored.update((progress.shard_id, progress) for progress in (*new, *more))
        return True

    def _new_progress(self, found: Discovery, before: float) -> ShardProgress:
        around = self._around
        shard, start = found.shard, found.start
        if start is not None and start.place is Place.LATEST:
            self._first[shard.id] = start
        position = SHARD_END if start is None else to_position(pinned(start, before))
        around.telemetry.emit(
            stream.ShardDiscovered(
                mapping=around.settings.name,
                shard=shard.id,
                parents=shard.parents,
                start="passed over" if start is None else start.place.value,
            )
        )
        return ShardProgress(shard_id=shard.id, parents=shard.parents, position=position, updated_at=around.wall())

    def _start_readable(self, graph: ShardGraph, identity: StreamIdentity, tasks: asyncio.TaskGroup) -> None:
        for shard_id in graph.take():
            first = self._first.pop(shard_id, None)
            consumer = ShardConsumer(self._around, identity, self._stored[shard_id], first=first)
            self._consumers[shard_id] = consumer
            tasks.create_task(self._consume_shard(consumer, graph, identity, tasks))

    async def _consume_shard(
        self, consumer: ShardConsumer, graph: ShardGraph, identity: StreamIdentity, tasks: asyncio.TaskGroup
    ) -> None:
        shard_id = consumer.shard_id
        try:
            children = await consumer.run()
        except ShardGoneError:
            self._stored[shard_id] = consumer.ledger.progress
            del self._consumers[shard_id]
            graph.put_back(shard_id)  # the listing that follows drops it if it is gone, else it is read again
            self._list_again.set()
            return
        self._last_activity = max(self._last_activity, consumer.last_activity)
        self._consumers.pop(shard_id, None)
        if children is None:
            return
        async with self._changing:
            if await self._shard_ended(consumer, children, graph, identity):
                self._start_readable(graph, identity, tasks)
        self._list_again.set()

    async def _shard_ended(
        self, consumer: ShardConsumer, children: tuple[Shard, ...], graph: ShardGraph, identity: StreamIdentity
    ) -> bool:
        """Store a shard's end together with its children, neither without the other; False if the mapping stopped first."""
        discovered = graph.ended(consumer.shard_id, children)
        if not await self._store_new(discovered, identity, self._around.wall(), consumer.ledger.at_end):
            return False
        self._around.telemetry.emit(
            stream.ShardFinished(
                mapping=self._around.settings.name,
                shard=consumer.shard_id,
                children=tuple(child.id for child in children),
            )
        )
        return True

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
