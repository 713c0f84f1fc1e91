"""Decides who reads which shard of a stream: one reader at most for each, and about as many shards for every reader.

Readers are the daemon's processes. One is *expected* from its start until it has come (`join`) or is known not to;
shards are kept for it, so that starting together does not mean moving them at once. With `n` readers, the expected ones
counted, and `s` shards that are read or could be, a share is `s // n`, and `s % n` readers have one more:

| a reader has                                       | may take                                  | gives up               |
|----------------------------------------------------|-------------------------------------------|------------------------|
| less than a share                                  | what it lacks, and one more where it may  | -                      |
| a share, and less than `s % n` others have more    | one                                       | -                      |
| a share, and enough others have more               | nothing                                   | -                      |
| more than a share                                  | nothing                                   | while others lack some |

Given up is one shard for each that others lack of a share and cannot take, by the richest first.
A shard stays with its reader otherwise, for as long as that lives. What is to be given up stays leased until its reader
says that it has ended and stored all it did; a reader that is gone has given everything up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Leases:
    """The leases of one stream of one mapping. Readers are numbers."""

    def __init__(self) -> None:
        self._expected: set[int] = set()
        self._held: dict[int, dict[str, None]] = {}
        self._holder: dict[str, int] = {}
        self._leaving: set[str] = set()

    # --- what is so

    @property
    def readers(self) -> tuple[int, ...]:
        """Those that have joined."""
        return tuple(self._held)

    def holder(self, shard_id: str) -> int | None:
        """Who has a shard."""
        return self._holder.get(shard_id)

    def held(self, reader: int) -> tuple[str, ...]:
        """The shards that a reader has, in the order in which it got them."""
        return tuple(self._held.get(reader, ()))

    def room(self, reader: int, free: int) -> int:
        """How many of `free` shards a reader may take now; see the module's table."""
        if reader not in self._held:
            return 0
        least, more = divmod(len(self._holder) + free, self._count)
        richer = sum(len(shards) > least for other, shards in self._held.items() if other != reader)
        return max(0, min(free, least + (richer < more) - len(self._held[reader])))

    def to_give_up(self, reader: int) -> tuple[str, ...]:
        """Which of its shards a reader is to give up."""
        return tuple(shard_id for shard_id in self._held.get(reader, ()) if shard_id in self._leaving)

    # --- what happens

    def expect(self, readers: Iterable[int]) -> None:
        """Say who is starting, or would at once if it died now, in place of whom was expected before."""
        self._expected = set(readers)

    def join(self, reader: int) -> tuple[str, ...]:
        """A reader begins, perhaps anew; returns what it had before and has no more."""
        freed = self.leave(reader)
        self._held[reader] = {}
        return freed

    def leave(self, reader: int) -> tuple[str, ...]:
        """A reader is gone; returns the shards that are free now."""
        freed = tuple(self._held.pop(reader, ()))
        for shard_id in freed:
            del self._holder[shard_id]
            self._leaving.discard(shard_id)
        return freed

    def grant(self, reader: int, shard_id: str) -> None:
        """Lease a free shard to a reader that has joined.

        Raises:
            ValueError: somebody has it.
        """
        if shard_id in self._holder:
            raise ValueError(f"{shard_id} is leased to {self._holder[shard_id]}")
        self._held[reader][shard_id] = None
        self._holder[shard_id] = reader

    def end(self, shard_id: str) -> None:
        """A lease is over: the shard was read to its end, or its reader has let it go."""
        del self._held[self._holder.pop(shard_id)][shard_id]
        self._leaving.discard(shard_id)

    def rebalance(self, free: int) -> None:
        """Choose what is to be given up, `free` shards being there to be taken; see the module's table."""
        if not self._held:
            return
        least = (len(self._holder) + free) // self._count
        keeping = {reader: len(shards) - len(self.to_give_up(reader)) for reader, shards in self._held.items()}
        wanted = sum(max(0, least - count) for count in keeping.values()) - free - len(self._leaving)
        while wanted > 0:
            richest = max(keeping, key=lambda reader: keeping[reader])
            if keeping[richest] <= least:
                return
            self._leaving.add(next(s for s in reversed(self._held[richest]) if s not in self._leaving))
            keeping[richest] -= 1
            wanted -= 1

    @property
    def _count(self) -> int:
        return len(self._expected | set(self._held))
