"""Looks into the state file without owning it: also while a daemon has it, and without changing anything."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from esmd.state import rows
from esmd.state.errors import StateError, explain
from esmd.state.schema import check
from esmd.state.sqlite import LOCK_WAIT

if TYPE_CHECKING:
    from pathlib import Path

    from esmd.state.protocol import Stored


def peek(path: Path) -> dict[str, list[Stored]]:
    """Everything that the file holds about streams at one moment, by mapping. Blocks for as long as a read takes.

    Raises:
        StateError: there is no such file, it is not ours, newer than us, or cannot be read.
    """
    if not path.exists():
        raise StateError(f"there is no state file {path}", hint="No stream mapping has run with it yet.")
    try:
        with closing(
            sqlite3.connect(
                f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, isolation_level=None, timeout=LOCK_WAIT
            )
        ) as connection:
            check(connection, path)
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return {}  # made a moment ago, and not yet filled
            connection.execute("BEGIN")
            found: dict[str, list[Stored]] = {}
            for summary in rows.mappings(connection):
                stored = rows.load(connection, summary.mapping, summary.identity.arn)
                if stored is not None:
                    found.setdefault(summary.mapping, []).append(stored)
            return found
    except sqlite3.Error as error:
        raise explain(error, path) from error
