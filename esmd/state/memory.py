"""Progress in memory: for tests, and for whoever wants none to survive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.state.errors import closed
from esmd.state.protocol import Lease, ShardProgress, Stored, StreamIdentity, Summary, check_advance, check_identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esmd.state.registry import KeptMapping

_Shards = dict[str, ShardProgress]


class MemoryStateStore:
    """`StateStore`, `LeaseStore` and `Registry` that end with the process."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], tuple[StreamIdentity, _Shards]] = {}
        self._leases: dict[tuple[str, str], dict[str, int]] = {}
        self._kept: dict[str, KeptMapping] = {}
        self._pauses: dict[str, float] = {}
        self._closed = False

    async def load(self, mapping: str, stream_arn: str) -> Stored | None:
        """See `StateStore.load`."""
        self._check_open()
        found = self._streams.get((mapping, stream_arn))
        return None if found is None else Stored(found[0], dict(found[1]))

    async def begin(self, mapping: str, identity: StreamIdentity) -> Stored | None:
        """See `StateStore.begin`."""
        before = await self.load(mapping, identity.arn)
        if before is not None and before.identity == identity:
            return None
        self._streams[mapping, identity.arn] = (identity, {})
        self._leases.pop((mapping, identity.arn), None)
        return before

    async def save(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        """See `StateStore.save`."""
        shards = self._begun(mapping, identity)
        changed: dict[str, ShardProgress] = {}
        for each in progress:
            stored = changed.get(each.shard_id) or shards.get(each.shard_id)
            check_advance(mapping, each, None if stored is None else stored.position)
            changed[each.shard_id] = each
        shards.update(changed)

    async def forget(self, mapping: str, identity: StreamIdentity, shard_ids: Iterable[str]) -> None:
        """See `StateStore.forget`."""
        shards = self._begun(mapping, identity)
        for shard_id in shard_ids:
            shards.pop(shard_id, None)

    async def mappings(self) -> list[Summary]:
        """See `StateStore.mappings`."""
        self._check_open()
        return [
            Summary(
                mapping=mapping,
                identity=identity,
                shards=len(shards),
                finished=sum(each.position.kind == "SHARD_END" for each in shards.values()),
                updated_at=max((each.updated_at for each in shards.values()), default=None),
            )
            for (mapping, _), (identity, shards) in sorted(self._streams.items(), key=lambda item: item[0])
        ]

    async def assign(self, mapping: str, identity: StreamIdentity, processes: Mapping[str, int | None]) -> None:
        """See `LeaseStore.assign`."""
        self._begun(mapping, identity)
        held = self._leases.setdefault((mapping, identity.arn), {})
        for shard_id, process in processes.items():
            if process is None:
                held.pop(shard_id, None)
            else:
                held[shard_id] = process

    async def leases(self) -> list[Lease]:
        """See `LeaseStore.leases`."""
        self._check_open()
        return [
            Lease(mapping=mapping, stream_arn=arn, shard_id=shard_id, process=process)
            for (mapping, arn), held in sorted(self._leases.items())
            for shard_id, process in sorted(held.items())
        ]

    async def clear_leases(self) -> None:
        """See `LeaseStore.clear_leases`."""
        self._check_open()
        self._leases.clear()

    async def kept(self) -> list[KeptMapping]:
        """See `Registry.kept`."""
        self._check_open()
        return sorted(self._kept.values(), key=lambda each: (each.created_at, each.uuid))

    async def keep(self, mapping: KeptMapping) -> None:
        """See `Registry.keep`."""
        self._check_open()
        self._kept[mapping.uuid] = mapping

    async def drop(self, uuid: str) -> None:
        """See `Registry.drop`."""
        self._check_open()
        self._kept.pop(uuid, None)

    async def drop_positions(self, mapping: str) -> None:
        """See `Registry.drop_positions`."""
        self._check_open()
        for key in [key for key in self._streams if key[0] == mapping]:
            del self._streams[key]
            self._leases.pop(key, None)

    async def pauses(self) -> Mapping[str, float]:
        """See `Registry.pauses`."""
        self._check_open()
        return dict(self._pauses)

    async def pause(self, uuid: str, since: float) -> None:
        """See `Registry.pause`."""
        self._check_open()
        self._pauses.setdefault(uuid, since)

    async def resume(self, uuid: str) -> None:
        """See `Registry.resume`."""
        self._check_open()
        self._pauses.pop(uuid, None)

    async def close(self) -> None:
        """See `StateStore.close`."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    def _begun(self, mapping: str, identity: StreamIdentity) -> _Shards:
        """The shards of a stream, once it is certain that it is the one that was begun."""
        self._check_open()
        found = self._streams.get((mapping, identity.arn))
        check_identity(mapping, identity, None if found is None else found[0].created_at)
        return {} if found is None else found[1]
