"""The calls of `StateStore` and `LeaseStore` as SQL, each inside a transaction that the caller has opened.

A call that refuses has changed nothing: every check comes before the first write.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from esmd.state.errors import damaged
from esmd.state.position import Position
from esmd.state.protocol import Lease, ShardProgress, Stored, StreamIdentity, Summary, check_advance, check_identity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

_PROGRESS = "shard_id, parents, position, sequence_number, timestamp, trouble, tumbling_window, updated_at"

_SAVE = f"""
    INSERT INTO shards (mapping, arn, {_PROGRESS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (mapping, arn, shard_id) DO UPDATE SET
        parents = excluded.parents,
        position = excluded.position,
        sequence_number = excluded.sequence_number,
        timestamp = excluded.timestamp,
        trouble = excluded.trouble,
        tumbling_window = excluded.tumbling_window,
        updated_at = excluded.updated_at
"""  # noqa: S608 - column names of our own


def load(connection: sqlite3.Connection, mapping: str, arn: str) -> Stored | None:
    """See `StateStore.load`."""
    created_at = _created_at(connection, mapping, arn)
    if created_at is None:
        return None
    rows = connection.execute(
        f"SELECT {_PROGRESS} FROM shards WHERE mapping = ? AND arn = ? ORDER BY shard_id",  # noqa: S608
        (mapping, arn),
    )
    shards = (_progress(row) for row in rows)
    return Stored(StreamIdentity(arn, created_at), {each.shard_id: each for each in shards})


def begin(connection: sqlite3.Connection, mapping: str, identity: StreamIdentity) -> Stored | None:
    """See `StateStore.begin`."""
    before = load(connection, mapping, identity.arn)
    if before is not None:
        if before.identity == identity:
            return None
        connection.execute("DELETE FROM streams WHERE mapping = ? AND arn = ?", (mapping, identity.arn))
    connection.execute(
        "INSERT INTO streams (mapping, arn, created_at) VALUES (?, ?, ?)",
        (mapping, identity.arn, identity.created_at),
    )
    return before


def save(
    connection: sqlite3.Connection, mapping: str, identity: StreamIdentity, progress: Iterable[ShardProgress]
) -> None:
    """See `StateStore.save`."""
    check_identity(mapping, identity, _created_at(connection, mapping, identity.arn))
    changed: dict[str, Position] = {}
    rows = []
    for each in progress:
        stored = changed.get(each.shard_id) or _position(connection, mapping, identity.arn, each.shard_id)
        check_advance(mapping, each, stored)
        changed[each.shard_id] = each.position
        rows.append(_row(mapping, identity.arn, each))
    connection.executemany(_SAVE, rows)


def move(
    connection: sqlite3.Connection, mapping: str, identity: StreamIdentity, progress: Iterable[ShardProgress]
) -> None:
    """See `StateStore.move`."""
    check_identity(mapping, identity, _created_at(connection, mapping, identity.arn))
    connection.executemany(_SAVE, [_row(mapping, identity.arn, each) for each in progress])


def forget(connection: sqlite3.Connection, mapping: str, identity: StreamIdentity, shard_ids: Iterable[str]) -> None:
    """See `StateStore.forget`."""
    check_identity(mapping, identity, _created_at(connection, mapping, identity.arn))
    connection.executemany(
        "DELETE FROM shards WHERE mapping = ? AND arn = ? AND shard_id = ?",
        [(mapping, identity.arn, shard_id) for shard_id in shard_ids],
    )


def mappings(connection: sqlite3.Connection) -> list[Summary]:
    """See `StateStore.mappings`."""
    rows = connection.execute(
        """
        SELECT mapping, arn, created_at, count(shard_id), count(*) FILTER (WHERE position = 'SHARD_END'), max(updated_at)
        FROM streams LEFT JOIN shards USING (mapping, arn) GROUP BY mapping, arn ORDER BY mapping, arn
        """
    )
    return [
        Summary(
            mapping=mapping,
            identity=StreamIdentity(arn, created_at),
            shards=shards,
            finished=finished,
            updated_at=updated_at,
        )
        for mapping, arn, created_at, shards, finished, updated_at in rows
    ]


def assign(
    connection: sqlite3.Connection, mapping: str, identity: StreamIdentity, processes: Mapping[str, int | None]
) -> None:
    """See `LeaseStore.assign`."""
    check_identity(mapping, identity, _created_at(connection, mapping, identity.arn))
    connection.executemany(
        "DELETE FROM leases WHERE mapping = ? AND arn = ? AND shard_id = ?",
        [(mapping, identity.arn, shard_id) for shard_id in processes],
    )
    connection.executemany(
        "INSERT INTO leases (mapping, arn, shard_id, process) VALUES (?, ?, ?, ?)",
        [(mapping, identity.arn, shard_id, process) for shard_id, process in processes.items() if process is not None],
    )


def leases(connection: sqlite3.Connection) -> list[Lease]:
    """See `LeaseStore.leases`."""
    found = connection.execute("SELECT mapping, arn, shard_id, process FROM leases ORDER BY mapping, arn, shard_id")
    return [
        Lease(mapping=mapping, stream_arn=arn, shard_id=shard_id, process=process)
        for mapping, arn, shard_id, process in found
    ]


def clear_leases(connection: sqlite3.Connection) -> None:
    """See `LeaseStore.clear_leases`."""
    connection.execute("DELETE FROM leases")


def _created_at(connection: sqlite3.Connection, mapping: str, arn: str) -> str | None:
    row = connection.execute("SELECT created_at FROM streams WHERE mapping = ? AND arn = ?", (mapping, arn)).fetchone()
    return None if row is None else row[0]


def _position(connection: sqlite3.Connection, mapping: str, arn: str, shard_id: str) -> Position | None:
    row = connection.execute(
        "SELECT position, sequence_number, timestamp FROM shards WHERE mapping = ? AND arn = ? AND shard_id = ?",
        (mapping, arn, shard_id),
    ).fetchone()
    return None if row is None else _as_position(shard_id, *row)


def _as_position(shard_id: str, kind: Any, sequence_number: str | None, timestamp: float | None) -> Position:
    try:
        return Position(kind, sequence_number, timestamp)
    except ValueError as error:
        raise damaged(f"the position of shard {shard_id}", str(error)) from error


def _row(mapping: str, arn: str, progress: ShardProgress) -> tuple[Any, ...]:
    position = progress.position
    return (
        mapping,
        arn,
        progress.shard_id,
        json.dumps(progress.parents),
        position.kind,
        position.sequence_number,
        position.timestamp,
        _blob(progress.trouble),
        _blob(progress.window),
        progress.updated_at,
    )


def _progress(row: tuple[Any, ...]) -> ShardProgress:
    shard_id, parents, kind, sequence_number, timestamp, trouble, window, updated_at = row
    return ShardProgress(
        shard_id=shard_id,
        parents=tuple(json.loads(parents)),
        position=_as_position(shard_id, kind, sequence_number, timestamp),
        trouble=_text(trouble),
        window=_text(window),
        updated_at=updated_at,
    )


def _blob(text: str | None) -> bytes | None:
    """Bytes of any text: a handler's error or state may hold lone surrogates, which SQLite's own text cannot."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _text(blob: bytes | None) -> str | None:
    return None if blob is None else blob.decode("utf-8", "surrogatepass")
