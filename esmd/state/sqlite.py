"""Progress in one SQLite file: what a save has kept survives `kill -9` and a restart.

| while                          | a call                                                        |
|--------------------------------|---------------------------------------------------------------|
| nothing is being committed     | waits for the end of this loop tick, with all others of it    |
| a transaction is under way     | waits for its end, and goes into the next one with all others |

So one loop tick is one transaction, and under load the transactions grow instead of queueing up. A save is a synced
write to SQLite's log; the writing is done by one thread, so that the loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from esmd.state import registry_rows, rows
from esmd.state.database import Database
from esmd.state.errors import StateError, closed
from esmd.tasks import unhurried

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from esmd.state.protocol import Lease, ShardProgress, Stored, StreamIdentity, Summary
    from esmd.state.registry import KeptMapping

T = TypeVar("T")

LOCK_WAIT = 5.0
"""Seconds to wait for another program that has locked the tables."""


def default_path(environ: Mapping[str, str]) -> Path:
    """`esmd/esmd.db` below `XDG_STATE_HOME`, else below `~/.local/state` [XDG Base Directory Specification].

    A relative `XDG_STATE_HOME` is ignored, as that specification wants.
    """
    base = environ.get("XDG_STATE_HOME", "")
    folder = Path(base) if base.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return folder / "esmd" / "esmd.db"


class SqliteStateStore:
    """`StateStore`, `LeaseStore` and `Registry` in a file. Made by `open`; `close` it."""

    def __init__(self, database: Database, thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]] = []
        self._busy = False
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, path: Path, *, lock_wait: float = LOCK_WAIT) -> Self:
        """Open the file at `path`; make it (mode 0600) and its folders where they are missing.

        Args:
            path: the file; `<path>.lock` beside it says who owns it, `<path>-wal` and `<path>-shm` belong to SQLite.
            lock_wait: seconds that a call waits for a program that has locked the tables.

        Raises:
            StateInUseError: another process has it open; the message names it.
            StateError: it is not esmd's, of a newer esmd, damaged or not writable.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="esmd-state")
        database = Database(path, lock_wait=lock_wait)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(thread, database.open)
        except BaseException:
            # Where this was cancelled the thread opens to the end, and then has to close it again: whoever opens the file
            # next must not find it in use, by us.
            closing = loop.run_in_executor(thread, database.close)
            thread.shutdown(wait=False)
            await unhurried(closing)
            raise
        return cls(database, thread)

    async def load(self, mapping: str, stream_arn: str) -> Stored | None:
        """See `StateStore.load`."""
        return await self._do(lambda connection: rows.load(connection, mapping, stream_arn))

    async def begin(self, mapping: str, identity: StreamIdentity) -> Stored | None:
        """See `StateStore.begin`."""
        return await self._do(lambda connection: rows.begin(connection, mapping, identity))

    async def save(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        """See `StateStore.save`."""
        await self._do(lambda connection: rows.save(connection, mapping, identity, progress))

    async def move(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        """See `StateStore.move`."""
        await self._do(lambda connection: rows.move(connection, mapping, identity, progress))

    async def forget(self, mapping: str, identity: StreamIdentity, shard_ids: Iterable[str]) -> None:
        """See `StateStore.forget`."""
        ids = tuple(shard_ids)  # the caller may change its own until the thread comes to it
        await self._do(lambda connection: rows.forget(connection, mapping, identity, ids))

    async def mappings(self) -> list[Summary]:
        """See `StateStore.mappings`."""
        return await self._do(rows.mappings)

    async def assign(self, mapping: str, identity: StreamIdentity, processes: Mapping[str, int | None]) -> None:
        """See `LeaseStore.assign`."""
        now = dict(processes)
        await self._do(lambda connection: rows.assign(connection, mapping, identity, now))

    async def leases(self) -> list[Lease]:
        """See `LeaseStore.leases`."""
        return await self._do(rows.leases)

    async def clear_leases(self) -> None:
        """See `LeaseStore.clear_leases`."""
        await self._do(rows.clear_leases)

    async def kept(self) -> list[KeptMapping]:
        """See `Registry.kept`."""
        return await self._do(registry_rows.kept)

    async def keep(self, mapping: KeptMapping) -> None:
        """See `Registry.keep`."""
        await self._do(lambda connection: registry_rows.keep(connection, mapping))

    async def drop(self, uuid: str) -> None:
        """See `Registry.drop`."""
        await self._do(lambda connection: registry_rows.drop(connection, uuid))

    async def drop_positions(self, mapping: str) -> None:
        """See `Registry.drop_positions`."""
        await self._do(lambda connection: registry_rows.drop_positions(connection, mapping))

    async def pauses(self) -> Mapping[str, float]:
        """See `Registry.pauses`."""
        return await self._do(registry_rows.pauses)

    async def pause(self, uuid: str, since: float) -> None:
        """See `Registry.pause`."""
        await self._do(lambda connection: registry_rows.pause(connection, uuid, since))

    async def resume(self, uuid: str) -> None:
        """See `Registry.resume`."""
        await self._do(lambda connection: registry_rows.resume(connection, uuid))

    async def close(self) -> None:
        """See `StateStore.close`. To its end, also where this is cancelled: the file is still in use until then, by us."""
        await unhurried(self.end())

    def end(self) -> asyncio.Future[None]:
        """Begin to close, unless that has begun. Nobody may cancel what is returned: it ends when the file is given back.

        No task carries it that something could cancel.
        """
        if self._closing is None:
            self._closing = self._loop.create_future()
            if not self._busy:
                self._give_back(self._closing)
        return self._closing

    # --- the loop's side of the thread

    def _do(self, call: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Put a call into the next transaction; the future ends when that is on the disk."""
        if self._closing is not None:
            raise closed()
        done: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append((call, cast("asyncio.Future[Any]", done)))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._commit)
        return done

    def _commit(self) -> None:
        """Hand what has gathered to the thread."""
        gathered, self._waiting = self._waiting, []
        under_way = self._loop.run_in_executor(self._thread, self._database.transact, [call for call, _ in gathered])
        under_way.add_done_callback(partial(self._settle, [done for _, done in gathered]))

    def _settle(self, waiting: list[asyncio.Future[Any]], transaction: asyncio.Future[list[Any]]) -> None:
        """Tell the callers of one transaction, and begin the next one."""
        error = transaction.exception()
        results = [_own(error) for _ in waiting] if error is not None else transaction.result()
        for done, result in zip(waiting, results, strict=True):
            if done.done():  # its caller was cancelled
                continue
            if isinstance(result, BaseException):
                done.set_exception(result)
            else:
                done.set_result(result)
        if self._waiting:
            self._commit()
            return
        self._busy = False
        if self._closing is not None:
            self._give_back(self._closing)

    def _give_back(self, closing: asyncio.Future[None]) -> None:
        """Give the file back, now that nothing is under way."""
        giving_back = self._loop.run_in_executor(self._thread, self._database.close)
        self._thread.shutdown(wait=False)
        giving_back.add_done_callback(partial(_hand_on, closing))


def _hand_on(closing: asyncio.Future[None], given_back: asyncio.Future[None]) -> None:
    """Whoever closes gets what came of it."""
    error = given_back.exception()
    if error is None:
        closing.set_result(None)
    else:
        closing.set_exception(error)


def _own(error: BaseException) -> BaseException:
    """An error of the whole transaction for one of its callers, each with a traceback of its own."""
    if not isinstance(error, StateError):
        return error
    mine = StateError(error.message, hint=error.hint)
    mine.__cause__ = error
    return mine
