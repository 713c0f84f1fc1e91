"""The state file while it is open: owned by one process, used by one thread, changed in transactions that are synced.

A transaction carries many calls. One of them that refuses leaves the others alone; an error of SQLite undoes them all.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

from esmd.state.errors import StateError, closed, explain
from esmd.state.lock import FileLock
from esmd.state.schema import check, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Database:
    """Every method blocks, and all of them must be called by the same thread.

    Args:
        path: the state file; it and its folder are made where they are missing.
        lock_wait: seconds to wait for a program that has locked the tables, such as an sqlite3 shell.
    """

    def __init__(self, path: Path, *, lock_wait: float) -> None:
        self._path = path
        self._lock_wait = lock_wait
        self._lock: FileLock | None = None
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Take the file, or leave nothing open.

        Raises:
            StateInUseError: another process has it.
            StateError: it is not ours, newer than us, damaged or not writable.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The same file through another link must have the same lock.
            self._path = self._path.resolve()
            self._lock = FileLock(self._path)
            # SQLite would make it readable to all; its companions (-wal, -shm) copy the mode of this file.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=self._lock_wait)
            check(self._connection, self._path)
            # A commit is one appended, synced write, and readers do not hinder it.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            upgrade(self._connection)
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise explain(error, self._path) from error
            raise

    def transact(self, calls: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        """Carry out calls in one transaction, in their order; return when it is on the disk.

        Returns:
            For each call its result, or the `StateError` with which it refused.

        Raises:
            StateError: nothing of any call was done.
        """
        connection = self._connection
        if connection is None:
            raise closed()
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [_result(call, connection) for call in calls]
            connection.execute("COMMIT")
        except Exception as error:
            # Some errors have ended the transaction already; a commit that failed has not.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise explain(error, self._path) from error
            raise
        return results

    def close(self) -> None:
        """Give the file back. May be called again."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                connection.close()
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        finally:
            if lock is not None:
                lock.release()


def _result(call: Callable[[sqlite3.Connection], Any], connection: sqlite3.Connection) -> Any:
    try:
        return call(connection)
    except StateError as refusal:
        return refusal
