"""What the daemon keeps about stream mappings, and what every store of it promises.

| call     | what is stored                          | result                                            |
|----------|-----------------------------------------|---------------------------------------------------|
| `begin`  | nothing of that ARN                     | None; the identity is stored                      |
| `begin`  | the same identity                       | None; progress stays                              |
| `begin`  | another identity of that ARN            | what was stored: it is forgotten, the new one kept |
| `save`   | the same identity, no or an earlier position | the shard's progress is replaced             |
| `save`   | the same identity, a later position     | `PositionMovedBackError`, nothing saved           |
| `save`   | no or another identity                  | `OtherStreamError`, nothing saved                 |
| `forget` | the same identity                       | those shards are gone; unknown ones do not matter |
| `forget` | no or another identity                  | `OtherStreamError`, nothing forgotten             |
| `load`   | nothing of that ARN                     | None                                              |
| `load`   | an identity                             | it, and all its shards                            |
| any      | the store is closed                     | `StateError`                                      |

Calls take effect in the order in which they were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from esmd.state.errors import OtherStreamError, PositionMovedBackError
from esmd.state.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esmd.state.position import Position


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """One stream, from its creation to its deletion.

    A stream that was deleted and made again has the same ARN but other records: a sequence number of the old one means
    nothing there.

    Attributes:
        arn: the stream's ARN.
        created_at: when it was created, as text that is the same at every look; only ever compared for equality.
    """

    arn: str
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardProgress:
    """How far a mapping has come in one shard.

    Attributes:
        shard_id: the shard's id.
        parents: ids of the shards it came from: none, one, or two after a merge.
        position: every record up to here is resolved.
        trouble: JSON text on the batches that are failing just now, so that a restart does not grant them fresh
            retries; None where nothing fails. The store does not look into it.
        window: JSON text on the open tumbling window; None without one. The store does not look into it.
        updated_at: when this was true, in epoch seconds.
    """

    shard_id: str
    parents: tuple[str, ...] = ()
    position: Position
    trouble: str | None = None
    window: str | None = None
    updated_at: float


@dataclass(frozen=True, slots=True)
class Stored:
    """All that is known of one mapping on one stream; `shards` by shard id."""

    identity: StreamIdentity
    shards: Mapping[str, ShardProgress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A line of the list of what is stored.

    Attributes:
        mapping: the mapping's name.
        identity: the stream it reads.
        shards: how many shards have progress.
        finished: how many of them are at their end.
        updated_at: the latest progress, in epoch seconds; None without any.
    """

    mapping: str
    identity: StreamIdentity
    shards: int
    finished: int
    updated_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who reads a shard just now.

    Attributes:
        mapping: the mapping's name.
        stream_arn: the stream's ARN.
        shard_id: the shard.
        process: number of the daemon's process that reads it, from 0.
    """

    mapping: str
    stream_arn: str
    shard_id: str
    process: int


class StateStore(Protocol):
    """Keeps the progress of stream mappings. Belongs to one event loop.

    Every method raises `StateError` where the store cannot do its work; nothing of that call has happened then.
    Cancelling a call stops the waiting, not the work: what it was asked to save may still be saved.
    """

    async def load(self, mapping: str, stream_arn: str) -> Stored | None:
        """What is stored of a mapping on the stream of that ARN; None where it has never begun."""
        ...

    async def begin(self, mapping: str, identity: StreamIdentity) -> Stored | None:
        """Start or resume on a stream, and forget progress in a stream that had the same ARN before.

        Returns:
            What was forgotten; None where nothing was.
        """
        ...

    async def save(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        """Keep the progress of one or more shards, all or none; return when it would survive a kill.

        Raises:
            PositionMovedBackError: a shard is further already. `SHARD_END` is the furthest.
            OtherStreamError: the mapping has not begun on this identity, or has begun on another one since.
        """
        ...

    async def forget(self, mapping: str, identity: StreamIdentity, shard_ids: Iterable[str]) -> None:
        """Drop the progress of shards that exist no more.

        Raises:
            OtherStreamError: as for `save`.
        """
        ...

    async def mappings(self) -> list[Summary]:
        """What is stored, by mapping and ARN."""
        ...

    async def close(self) -> None:
        """Finish what was asked for, then let go of everything. May be called again."""
        ...


class LeaseStore(Protocol):
    """Writes down, for others to see, which process of the daemon reads which shard.

    It decides nothing, and what it says holds only as long as the daemon that wrote it owns the store: the next one
    begins with `clear_leases`. Every method raises `StateError` where the store cannot do its work.
    """

    async def assign(self, mapping: str, identity: StreamIdentity, processes: Mapping[str, int | None]) -> None:
        """Note for shards, by id, which process reads them now; None for nobody.

        Raises:
            OtherStreamError: as for `StateStore.save`.
        """
        ...

    async def leases(self) -> list[Lease]:
        """All leases, by mapping, ARN and shard."""
        ...

    async def clear_leases(self) -> None:
        """Forget every lease."""
        ...


class DaemonStore(StateStore, LeaseStore, Registry, Protocol):
    """What a daemon keeps its state in."""


def check_identity(mapping: str, identity: StreamIdentity, begun_at: str | None) -> None:
    """Refuse a change for a stream other than the one begun.

    Args:
        mapping: the mapping's name.
        identity: the stream that the change is for.
        begun_at: creation time of the stream that the mapping has begun on under the same ARN; None if none.

    Raises:
        OtherStreamError: it is another one.
    """
    if begun_at is None:
        raise OtherStreamError(
            f"mapping {mapping} has not begun on the stream {identity.arn}",
            hint="Progress is saved after begin() only.",
        )
    if begun_at != identity.created_at:
        raise OtherStreamError(
            f"progress of mapping {mapping} in the stream {identity.arn} created at {identity.created_at} is not saved",
            hint=f"The mapping has begun since on the stream of that name created at {begun_at}.",
        )


def check_advance(mapping: str, progress: ShardProgress, stored: Position | None) -> None:
    """Refuse a position behind the stored one.

    Raises:
        PositionMovedBackError: it is behind.
    """
    if stored is not None and progress.position.is_behind(stored):
        raise PositionMovedBackError(
            f"mapping {mapping} was about to move shard {progress.shard_id} back, to {progress.position}",
            hint=f"It is {stored} already; this is a defect of esmd, please report it.",
        )
