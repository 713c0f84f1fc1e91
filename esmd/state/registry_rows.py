"""The calls of `Registry` as SQL, each inside a transaction that the caller has opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.state.registry import KeptMapping

if TYPE_CHECKING:
    import sqlite3


def kept(connection: sqlite3.Connection) -> list[KeptMapping]:
    """See `Registry.kept`."""
    rows = connection.execute(
        "SELECT uuid, settings, created_at, modified_at FROM mappings ORDER BY created_at, uuid"
    ).fetchall()
    return [
        KeptMapping(uuid=uuid, settings=settings, created_at=created_at, modified_at=modified_at)
        for uuid, settings, created_at, modified_at in rows
    ]


def keep(connection: sqlite3.Connection, mapping: KeptMapping) -> None:
    """See `Registry.keep`."""
    connection.execute(
        "INSERT OR REPLACE INTO mappings (uuid, settings, created_at, modified_at) VALUES (?, ?, ?, ?)",
        (mapping.uuid, mapping.settings, mapping.created_at, mapping.modified_at),
    )


def drop(connection: sqlite3.Connection, uuid: str) -> None:
    """See `Registry.drop`."""
    connection.execute("DELETE FROM mappings WHERE uuid = ?", (uuid,))


def drop_positions(connection: sqlite3.Connection, mapping: str) -> None:
    """See `Registry.drop_positions`."""
    connection.execute("DELETE FROM streams WHERE mapping = ?", (mapping,))  # what belongs to them goes with them


def pauses(connection: sqlite3.Connection) -> dict[str, float]:
    """See `Registry.pauses`."""
    return dict(connection.execute("SELECT uuid, since FROM pauses").fetchall())


def pause(connection: sqlite3.Connection, uuid: str, since: float) -> None:
    """See `Registry.pause`."""
    connection.execute("INSERT OR IGNORE INTO pauses (uuid, since) VALUES (?, ?)", (uuid, since))


def resume(connection: sqlite3.Connection, uuid: str) -> None:
    """See `Registry.resume`."""
    connection.execute("DELETE FROM pauses WHERE uuid = ?", (uuid,))
