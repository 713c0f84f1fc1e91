"""Keeps the book on the stream of one mapping: its shards, where each stands in the store, and who may read it.

Every reader of the mapping (one, or one in each process of the daemon) asks the same book:

| call        | what the book does                                                                                  |
|-------------|-----------------------------------------------------------------------------------------------------|
| `begin`     | takes up the stream's stored progress, forgets that of a stream of the same name; the reader has no shard |
| `ticket`    | says which listing comes next: ask before listing                                                   |
| `listed`    | takes a listing in, and stores what is new; one that another overtook is dropped, it may be older;  |
|             | one that lacks shards which the one before it did not lack is doubted: the next one decides         |
| `take`      | leases shards that may be read to the reader, as many as are its share; says which ones to give up  |
| `ended`     | stores a shard's end together with its children, neither without the other; then they may be read   |
| `give_back` | ends a lease; the shard may be taken again, once listed again if the service does not know it        |

A call that could not store what it took in, or was cut off, is made again: it takes nothing in twice.
Nothing is handed out while something is not stored. Whoever may find something new to take or to give up is woken.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esmd.pollers.shards import Discovery, Phase, ShardGraph
from esmd.pollers.streams import Place, pinned
from esmd.state.errors import LeaseLostError, OtherStreamError, StateError
from esmd.state.position import SHARD_END
from esmd.state.protocol import ShardProgress, StreamIdentity
from esmd.streams.leases import Leases
from esmd.streams.positions import to_position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from esmd.pollers.streams import Seek, Shard
    from esmd.state.protocol import LeaseStore, StateStore


@dataclass(frozen=True, slots=True)
class Changes:
    """What was stored since the last call that said so.

    Attributes:
        discovered: shards that were not known before.
        lost: shards that vanished before they were read to the end.
        shards: how many are known now.
        doubted: shards that the listing lacks and the one before it did not. If there are any, nothing of it was taken in:
            the stream is to be listed again soon.
    """

    discovered: tuple[Discovery, ...]
    lost: tuple[str, ...]
    shards: int
    doubted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Granted:
    """A shard to read.

    Attributes:
        progress: where it stands.
        first: where the very first iterator is to be got, if that is not where it stands: `LATEST`.
    """

    progress: ShardProgress
    first: Seek | None


@dataclass(frozen=True, slots=True)
class Turn:
    """What a reader is to do now: shards to begin, and shards (by id) to end and give back."""

    begin: tuple[Granted, ...] = ()
    give_up: tuple[str, ...] = ()


class _Book:
    """One stream, from `begin` until the mapping begins on another one."""

    def __init__(self, identity: StreamIdentity, start: Seek, stored: dict[str, ShardProgress]) -> None:
        self.identity = identity
        self.stored = stored
        known = {shard_id: progress.position == SHARD_END for shard_id, progress in stored.items()}
        self.graph = ShardGraph(start, known=known)
        self.leases = Leases()
        self.listings = 0
        self.missing: frozenset[str] = frozenset()
        """What the last listing lacked."""
        self.first: dict[str, Seek] = {}
        self.unknown: set[str] = set()
        """Given back because the service does not know them: the next listing decides."""
        self.stale: set[str] = set()
        """Another reader has moved them on: the store knows where they stand."""
        self.unsaved: dict[str, ShardProgress] = {}
        self.to_forget: list[str] = []
        self.discovered: list[Discovery] = []
        self.lost: list[str] = []
        self.unwritten: dict[str, int | None] = {}
        """Leases that the table does not have yet."""


class Bookkeeper:
    """The book of one mapping, for all its readers.

    Args:
        mapping: its name.
        store: where progress is kept.
        table: where leases are written down for others to see; None for nowhere. What counts is the book.
        wall: the time of day.
        wake: called with a reader's number when there may be something to take or to give up.
    """

    def __init__(
        self,
        mapping: str,
        *,
        store: StateStore,
        table: LeaseStore | None = None,
        wall: Callable[[], float],
        wake: Callable[[int], None],
    ) -> None:
        self._mapping = mapping
        self._store = store
        self._table = table
        self._wall = wall
        self._wake = wake
        # Between a change of the graph and the commit that makes it lasting nobody may take what the graph offers.
        self._lock = asyncio.Lock()
        self._now: _Book | None = None
        self._replaced: set[StreamIdentity] = set()
        self._expected: frozenset[int] = frozenset()

    # --- who reads

    def expect(self, readers: Iterable[int]) -> None:
        """Say who is starting: shards are kept for them. In place of whom was expected before."""
        self._expected = frozenset(readers)
        if (book := self._now) is not None:
            book.leases.expect(self._expected)
            self._rebalance(book)

    def leave(self, reader: int) -> None:
        """A reader is gone: what it had may be taken by others, from where the store has it."""
        if (book := self._now) is not None:
            self._freed(book, book.leases.leave(reader))

    def check_lease(self, reader: int, identity: StreamIdentity, shard_ids: Iterable[str]) -> None:
        """Refuse a reader that saves progress of a shard that is not its own: two would be reading it.

        Raises:
            LeaseLostError: it is not.
            OtherStreamError: the mapping has begun on another stream.
        """
        book = self._of(identity)
        for shard_id in shard_ids:
            if book.leases.holder(shard_id) != reader:
                raise LeaseLostError(
                    f"progress of mapping {self._mapping} in shard {shard_id} is not saved",
                    hint="It is not, or no more, for this process to read; the mapping starts anew.",
                )

    # --- the calls of a reader

    async def begin(self, reader: int, identity: StreamIdentity, start: Seek) -> int | None:
        """Take a stream up; how many shards of a former one of that name were forgotten, None if there was none.

        Raises:
            OtherStreamError: another reader has found this stream replaced already.
            StateError: the store cannot.
        """
        async with self._lock:
            if identity in self._replaced:
                raise OtherStreamError(
                    f"mapping {self._mapping} has gone on to another stream than that of {identity.created_at}",
                    hint="It is looked up again.",
                )
            forgotten = await self._store.begin(self._mapping, identity)
            book = self._now
            if book is None or book.identity != identity or forgotten is not None:
                stored = await self._store.load(self._mapping, identity.arn)
                if book is not None and book.identity != identity:
                    self._replaced.add(book.identity)
                book = self._now = _Book(identity, start, dict(stored.shards) if stored is not None else {})
            self._freed(book, book.leases.join(reader))
            book.leases.expect(self._expected)
            self._rebalance(book)
            return None if forgotten is None else len(forgotten.shards)

    async def ticket(self, reader: int, identity: StreamIdentity) -> int:  # noqa: ARG002 - all calls name their reader
        """What `listed` is to be given with the listing that is asked for next."""
        return self._of(identity).listings

    async def listed(
        self, reader: int, identity: StreamIdentity, ticket: int, shards: Sequence[Shard], before: float
    ) -> Changes:
        """Take in all shards of the stream, as listed after `before` (epoch seconds), and store what is new of them.

        Raises:
            StateError: it could not be stored; call again.
        """
        async with self._lock:
            book = self._of(identity)
            if ticket == book.listings:
                book.listings += 1
                for shard_id in book.unknown:
                    book.graph.put_back(shard_id)
                book.unknown.clear()
                missing = frozenset(book.graph.missing(shards))
                doubted = tuple(sorted(missing - book.missing))
                book.missing = missing
                if doubted:
                    # To forget a position cannot be undone: a page that got lost would have all its shards read again.
                    return replace(await self._keep(book, reader), doubted=doubted)
                listed = book.graph.listed(shards)
                self._note(book, listed.discovered, before)
                book.lost += listed.lost
                book.to_forget += listed.forgotten
            return await self._keep(book, reader)

    async def ended(
        self, reader: int, identity: StreamIdentity, at_end: ShardProgress, children: Sequence[Shard]
    ) -> Changes:
        """Store that a shard was read to its end, together with those of its children that are new.

        Raises:
            LeaseLostError: the reader does not have it.
            StateError: it could not be stored; call again.
        """
        async with self._lock:
            book = self._of(identity)
            if book.graph.phase(at_end.shard_id) is not Phase.FINISHED:  # else it is the same call again
                self.check_lease(reader, identity, [at_end.shard_id])
                self._end_lease(book, at_end.shard_id)
                book.unsaved[at_end.shard_id] = at_end
                self._note(book, book.graph.ended(at_end.shard_id, children), self._wall())
            return await self._keep(book, reader)

    async def give_back(self, reader: int, identity: StreamIdentity, shard_id: str, *, gone: bool) -> None:
        """End the lease of a shard that has not ended; everything done is stored. `gone`: the service does not know it.

        Raises:
            LeaseLostError: the reader does not have it.
        """
        async with self._lock:
            self.check_lease(reader, identity, [shard_id])
            book = self._of(identity)
            self._end_lease(book, shard_id)
            book.stale.add(shard_id)
            if gone:
                book.unknown.add(shard_id)
            else:
                book.graph.put_back(shard_id)
            self._rebalance(book)
            await self._write_leases(book)

    async def take(self, reader: int, identity: StreamIdentity) -> Turn:
        """Lease what may be read and is the reader's share.

        Raises:
            StateError: where a shard stands could not be read.
        """
        async with self._lock:
            book = self._of(identity)
            if book.unsaved or book.to_forget:
                return Turn()
            room = book.leases.room(reader, book.graph.readable)
            if room and book.stale:
                stored = await self._store.load(self._mapping, identity.arn)
                book.stored = dict(stored.shards) if stored is not None else {}
                book.stale.clear()
            begin = []
            for shard_id in book.graph.take(room):
                book.leases.grant(reader, shard_id)
                book.unwritten[shard_id] = reader
                begin.append(Granted(book.stored[shard_id], book.first.pop(shard_id, None)))
            # What is left waits for somebody else: "now" would be later then than it was promised.
            book.first.clear()
            try:
                await self._write_leases(book)
            except BaseException:
                self._untaken(book, reader, begin)
                raise
            return Turn(tuple(begin), book.leases.to_give_up(reader))

    # --- inside

    def _of(self, identity: StreamIdentity) -> _Book:
        book = self._now
        if book is None or book.identity != identity:
            raise OtherStreamError(
                f"mapping {self._mapping} does not read the stream of {identity.created_at}",
                hint="It has begun on another one of that name since.",
            )
        return book

    def _note(self, book: _Book, discovered: Iterable[Discovery], before: float) -> None:
        """Remember what is to be stored of new shards: where they begin.

        `LATEST` is stored as the time it was asked for: asked for again after a restart, it would skip what came between.
        """
        for found in discovered:
            start = found.start
            if start is not None and start.place is Place.LATEST:
                book.first[found.shard.id] = start
            book.unsaved[found.shard.id] = ShardProgress(
                shard_id=found.shard.id,
                parents=found.shard.parents,
                position=SHARD_END if start is None else to_position(pinned(start, before)),
                updated_at=self._wall(),
            )
            book.discovered.append(found)

    async def _keep(self, book: _Book, reader: int) -> Changes:
        """Store all that is not yet stored, new shards in one commit; then others may find something to take."""
        if book.unsaved:
            await self._store.save(self._mapping, book.identity, *book.unsaved.values())
            book.stored |= book.unsaved
            book.unsaved.clear()
        if book.to_forget:
            await self._store.forget(self._mapping, book.identity, book.to_forget)
            for shard_id in book.to_forget:
                book.stored.pop(shard_id, None)
            book.to_forget.clear()
        changes = Changes(tuple(book.discovered), tuple(book.lost), len(book.graph))
        book.discovered.clear()
        book.lost.clear()
        self._rebalance(book, but=reader)
        await self._write_leases(book)
        return changes

    def _freed(self, book: _Book, shard_ids: Iterable[str]) -> None:
        """Leases ended with their reader."""
        for shard_id in shard_ids:
            book.graph.put_back(shard_id)
            book.stale.add(shard_id)
            book.unwritten[shard_id] = None
        self._rebalance(book)

    def _untaken(self, book: _Book, reader: int, begin: Iterable[Granted]) -> None:
        """A reader is not told what it has got: it would have these shards, and nobody would read them."""
        for shard_id in [granted.progress.shard_id for granted in begin]:
            if book.leases.holder(shard_id) == reader:
                self._end_lease(book, shard_id)
                book.graph.put_back(shard_id)
        self._rebalance(book)

    def _end_lease(self, book: _Book, shard_id: str) -> None:
        book.leases.end(shard_id)
        book.unwritten[shard_id] = None

    def _rebalance(self, book: _Book, *, but: int | None = None) -> None:
        """Wake whom a change may concern; `but` looks for itself."""
        free = book.graph.readable
        book.leases.rebalance(free)
        for reader in book.leases.readers:
            if reader != but and (book.leases.room(reader, free) or book.leases.to_give_up(reader)):
                self._wake(reader)

    async def _write_leases(self, book: _Book) -> None:
        """Write the leases down for others to see. Nothing relies on it: a failure is made up for by the next change."""
        if self._table is None:
            book.unwritten.clear()
        elif book.unwritten:
            writing = dict(book.unwritten)
            with contextlib.suppress(StateError):
                await self._table.assign(self._mapping, book.identity, writing)
                book.unwritten = {
                    shard_id: reader
                    for shard_id, reader in book.unwritten.items()
                    if shard_id not in writing or writing[shard_id] != reader
                }
