"""A state file that is opened when it is needed: a daemon of SQS mappings makes none for nothing, and holds none from others.

| at the start the file                    | what happens                                                       |
|------------------------------------------|--------------------------------------------------------------------|
| is needed: there are stream mappings     | `open`: it is made where it is missing, and held                   |
| is not there                             | nothing                                                            |
| has pauses or mappings of the API        | it is held                                                         |
| has none of them                         | it is closed again                                                 |
| is another daemon's, or cannot be read   | `look` says so; what is kept there is that daemon's                |

Whatever is asked later opens it, and keeps it open.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.state.errors import StateError, closed
from esmd.state.sqlite import SqliteStateStore
from esmd.tasks import unhurried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from esmd.state.protocol import Lease, ShardProgress, Stored, StreamIdentity, Summary
    from esmd.state.registry import KeptMapping


class LazyStateStore:
    """`DaemonStore` over the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: SqliteStateStore | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Open the file now.

        Raises:
            StateError: as `SqliteStateStore.open`.
        """
        await self._opened()

    async def look(self) -> StateError | None:
        """Hold the file if it keeps pauses or mappings; why it cannot be looked into, or None."""
        if not self._path.exists():
            return None
        try:
            async with self._opening:
                if self._store is None:
                    await self._look_into()
        except StateError as error:
            return error
        return None

    async def _look_into(self) -> None:
        """Nobody gets the store before it is known to stay: it would be closed under them."""
        store, is_needed = await self._open(), False
        try:
            is_needed = bool(await store.kept() or await store.pauses())
        finally:
            if is_needed:
                self._store = store
            else:
                # To its end, also where this is cancelled: whoever opens the file next must not find it in use, by us.
                await unhurried(store.end())

    @property
    def is_open(self) -> bool:
        """Whether the file is held."""
        return self._store is not None

    async def _opened(self) -> SqliteStateStore:
        if self._store is None:
            async with self._opening:
                if self._store is None:
                    self._store = await self._open()
        return self._store

    async def _open(self) -> SqliteStateStore:
        """A store over the file, made while `_opening` is held."""
        if self._closed:
            raise closed()
        store = await SqliteStateStore.open(self._path)
        try:
            await store.clear_leases()  # those of the daemon before, which may have been killed
        except BaseException:
            await unhurried(store.end())
            raise
        return store

    async def load(self, mapping: str, stream_arn: str) -> Stored | None:
        """See `StateStore.load`."""
        return await (await self._opened()).load(mapping, stream_arn)

    async def begin(self, mapping: str, identity: StreamIdentity) -> Stored | None:
        """See `StateStore.begin`."""
        return await (await self._opened()).begin(mapping, identity)

    async def save(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        """See `StateStore.save`."""
        await (await self._opened()).save(mapping, identity, *progress)

    async def move(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        """See `StateStore.move`."""
        await (await self._opened()).move(mapping, identity, *progress)

    async def forget(self, mapping: str, identity: StreamIdentity, shard_ids: Iterable[str]) -> None:
        """See `StateStore.forget`."""
        await (await self._opened()).forget(mapping, identity, shard_ids)

    async def mappings(self) -> list[Summary]:
        """See `StateStore.mappings`."""
        return await (await self._opened()).mappings()

    async def assign(self, mapping: str, identity: StreamIdentity, processes: Mapping[str, int | None]) -> None:
        """See `LeaseStore.assign`."""
        await (await self._opened()).assign(mapping, identity, processes)

    async def leases(self) -> list[Lease]:
        """See `LeaseStore.leases`."""
        return await (await self._opened()).leases()

    async def clear_leases(self) -> None:
        """See `LeaseStore.clear_leases`."""
        await (await self._opened()).clear_leases()

    async def kept(self) -> list[KeptMapping]:
        """See `Registry.kept`; none where the file is not held: then `look` has found none."""
        return await self._store.kept() if self._store is not None else []

    async def keep(self, mapping: KeptMapping) -> None:
        """See `Registry.keep`."""
        await (await self._opened()).keep(mapping)

    async def drop(self, uuid: str) -> None:
        """See `Registry.drop`."""
        await (await self._opened()).drop(uuid)

    async def drop_positions(self, mapping: str) -> None:
        """See `Registry.drop_positions`."""
        await (await self._opened()).drop_positions(mapping)

    async def pauses(self) -> Mapping[str, float]:
        """See `Registry.pauses`; as for `kept`."""
        return await self._store.pauses() if self._store is not None else {}

    async def pause(self, uuid: str, since: float) -> None:
        """See `Registry.pause`."""
        await (await self._opened()).pause(uuid, since)

    async def resume(self, uuid: str) -> None:
        """See `Registry.resume`."""
        await (await self._opened()).resume(uuid)

    async def close(self) -> None:
        """See `StateStore.close`."""
        async with self._opening:
            self._closed = True
            if self._store is not None:
                await self._store.close()
