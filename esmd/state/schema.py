"""The tables of the state file, and the way from every earlier version of them to this one.

| application id | version        | tables | what happens                            |
|----------------|----------------|--------|-----------------------------------------|
| 0              | 0              | none   | a new file: every migration runs        |
| ours           | up to ours     | any    | the missing migrations run              |
| ours           | above ours     | any    | refused: a newer esmd has written it    |
| 0              | 0              | some   | refused: another program's database     |
| another        | any            | any    | refused: another program's database     |
| 0              | above 0        | any    | refused: another program's database     |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.state.errors import StateError, foreign

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

APPLICATION_ID = int.from_bytes(b"esmd")
"""Marks the file as ours in SQLite's header."""

Migration = tuple[str, ...]
"""SQL statements that lead from one version to the next, in one transaction."""

MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE streams (
            mapping TEXT NOT NULL,
            arn TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (mapping, arn)
        )
        """,
        # position is the kind; sequence_number and timestamp are its value where it has one. parents is a JSON array;
        # trouble and tumbling_window are the bytes of JSON text.
        """
        CREATE TABLE shards (
            mapping TEXT NOT NULL,
            arn TEXT NOT NULL,
            shard_id TEXT NOT NULL,
            parents TEXT NOT NULL,
            position TEXT NOT NULL CHECK (position IN ('TRIM_HORIZON', 'LATEST', 'AT_TIMESTAMP', 'AFTER', 'SHARD_END')),
            sequence_number TEXT,
            timestamp REAL,
            trouble BLOB,
            tumbling_window BLOB,
            updated_at REAL NOT NULL,
            PRIMARY KEY (mapping, arn, shard_id),
            FOREIGN KEY (mapping, arn) REFERENCES streams ON DELETE CASCADE
        )
        """,
    ),
    (
        # Which process of the daemon reads which shard: true only while the daemon that wrote it runs.
        """
        CREATE TABLE leases (
            mapping TEXT NOT NULL,
            arn TEXT NOT NULL,
            shard_id TEXT NOT NULL,
            process INTEGER NOT NULL,
            PRIMARY KEY (mapping, arn, shard_id),
            FOREIGN KEY (mapping, arn) REFERENCES streams ON DELETE CASCADE
        )
        """,
    ),
    (
        # Mappings made through the API; settings is JSON text.
        """
        CREATE TABLE mappings (
            uuid TEXT NOT NULL PRIMARY KEY,
            settings TEXT NOT NULL,
            created_at REAL NOT NULL,
            modified_at REAL NOT NULL
        )
        """,
        """
        CREATE TABLE pauses (
            uuid TEXT NOT NULL PRIMARY KEY,
            since REAL NOT NULL
        )
        """,
    ),
)
"""Never changed once released: a change of the tables is one more entry."""


def check(connection: sqlite3.Connection, path: Path, *, newest: int = len(MIGRATIONS)) -> None:
    """Refuse a file that is not ours, or newer than us. Changes nothing.

    Raises:
        StateError: by the module's table.
        sqlite3.Error: it is no database at all, or cannot be read.
    """
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    if application != APPLICATION_ID:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application or version or tables:
            raise foreign(path)
    if version > newest:
        raise StateError(
            f"the state file {path} has version {version}, this esmd knows versions up to {newest}",
            hint="A newer esmd has written it: run that one, or choose another state file.",
        )


def upgrade(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the tables to the newest version, each step in a transaction of its own.

    Raises:
        sqlite3.Error: a step failed; the file has the version before it.
    """
    for version in range(_pragma(connection, "user_version") + 1, len(migrations) + 1):
        with connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            for statement in migrations[version - 1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
