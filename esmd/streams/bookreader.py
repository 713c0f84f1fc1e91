"""How a stream mapping's runner reaches its book: in its own process, or in the one that keeps it for all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from esmd.streams.book import Bookkeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.pollers.streams import Seek, Shard
    from esmd.state.protocol import ShardProgress, StateStore, StreamIdentity
    from esmd.streams.book import Changes, Turn

THE_ONLY = 0
"""Number of the reader where there is one."""


class Call(Protocol):
    """Carries a call to the book out; raises what the book raises."""

    async def __call__(self, method: str, identity: StreamIdentity, /, *arguments: Any, **options: Any) -> Any:
        """Call a method of `Bookkeeper` for this reader."""
        ...


class BookReader:
    """One reader's view of the book. The methods are those of `Bookkeeper`, which says what they do and raise.

    Args:
        call: takes the calls to the book.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self.changed = asyncio.Event()
        """Set when there may be something to `take`."""

    @classmethod
    def alone(cls, mapping: str, *, store: StateStore, wall: Callable[[], float]) -> BookReader:
        """The reader of a book that has no other."""

        async def call(method: str, identity: StreamIdentity, /, *arguments: Any, **options: Any) -> Any:
            return await getattr(keeper, method)(THE_ONLY, identity, *arguments, **options)

        reader = cls(call)
        keeper = Bookkeeper(mapping, store=store, wall=wall, wake=lambda _: reader.changed.set())
        return reader

    async def begin(self, identity: StreamIdentity, start: Seek) -> int | None:
        """See `Bookkeeper.begin`."""
        forgotten: int | None = await self._call("begin", identity, start)
        return forgotten

    async def ticket(self, identity: StreamIdentity) -> int:
        """See `Bookkeeper.ticket`."""
        ticket: int = await self._call("ticket", identity)
        return ticket

    async def listed(self, identity: StreamIdentity, ticket: int, shards: Sequence[Shard], before: float) -> Changes:
        """See `Bookkeeper.listed`."""
        changes: Changes = await self._call("listed", identity, ticket, shards, before)
        return changes

    async def ended(self, identity: StreamIdentity, at_end: ShardProgress, children: Sequence[Shard]) -> Changes:
        """See `Bookkeeper.ended`."""
        changes: Changes = await self._call("ended", identity, at_end, children)
        return changes

    async def give_back(self, identity: StreamIdentity, shard_id: str, *, gone: bool) -> None:
        """See `Bookkeeper.give_back`."""
        await self._call("give_back", identity, shard_id, gone=gone)

    async def take(self, identity: StreamIdentity) -> Turn:
        """See `Bookkeeper.take`."""
        turn: Turn = await self._call("take", identity)
        return turn
