"""The shards of a stream and their lineage: which may be read now, and which may be forgotten [specification B.3].

A shard's children go on where it ends, so they wait until it has been read to its end: else the records of one key would
overtake each other. The graph decides; it does no I/O and holds no positions. Its owner feeds it every full listing
(`listed`), the end of each shard (`ended`), and takes shards to read from it (`take`):

| phase        | event                                                  | next      | answer                          |
|--------------|--------------------------------------------------------|-----------|---------------------------------|
| unknown      | listed, a parent is neither finished nor gone          | waiting   | discovered                      |
| unknown      | listed, all parents finished or gone, or it has none   | readable  | discovered                      |
| unknown      | listed closed, first listing ever, start is `LATEST`   | finished  | discovered, to be passed over   |
| unknown      | named as a child by a shard's end, all parents known   | as listed | discovered                      |
| waiting      | its last parent has ended or is gone                   | readable  |                                 |
| waiting      | not in the listing any more                            | unknown   | lost, forgotten                 |
| readable     | taken                                                  | reading   |                                 |
| readable     | not in the listing any more                            | unknown   | lost, forgotten                 |
| reading      | ended                                                  | finished  |                                 |
| reading      | put back                                               | readable  |                                 |
| reading      | not in the listing any more                            | reading   | its reader finds out            |
| finished     | not in the listing any more                            | unknown   | forgotten                       |
| any but `unknown` | in the listing                                    | the same  |                                 |

A parent is gone when no listing names it and nobody is reading it: its records were trimmed. Only a shard that some
listing has named can vanish from one: a child that a shard's end named may be younger than the listing under way.

Where a newly discovered shard is read from:

| start of the mapping | in the first listing ever            | discovered later |
|----------------------|--------------------------------------|------------------|
| `TRIM_HORIZON`       | `TRIM_HORIZON`                       | `TRIM_HORIZON`   |
| `LATEST`             | open: `LATEST`; closed: passed over  | `TRIM_HORIZON`   |
| `AT_TIMESTAMP`       | `AT_TIMESTAMP`                       | `TRIM_HORIZON`   |

No listing tells when a shard was opened or closed, and with `AT_TIMESTAMP` none has to: a shard that was closed before
that time gives nothing from it and ends at once, and of its children only the records since then are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING

from esmd.pollers.streams import TRIM_HORIZON, Place, Seek, Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Phase(Enum):
    """Where a known shard is in its life; see the module's table."""

    WAITING = auto()
    READABLE = auto()
    READING = auto()
    FINISHED = auto()


@dataclass(frozen=True, slots=True)
class Discovery:
    """A shard that was not known before.

    Attributes:
        shard: as it was listed.
        start: where to read it from; None to pass it over: it is finished already.
    """

    shard: Shard
    start: Seek | None


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing changed.

    Attributes:
        discovered: new shards. Store what `start` says of all of them, in one commit, before reading any: a shard that
            is not stored counts as created later when the graph is made again.
        lost: shards that were trimmed before they were read to the end; their records are gone. Part of `forgotten`.
        forgotten: shards that are gone; what is stored about them can be deleted.
    """

    discovered: tuple[Discovery, ...] = ()
    lost: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


@dataclass(slots=True)
class _Node:
    phase: Phase
    listed: bool
    waits_for: set[str] = field(default_factory=set)
    unblocks: list[str] = field(default_factory=list)


class ShardGraph:
    """The shards of one stream, as one mapping sees them. Every operation costs what it changes, a listing its length.

    Args:
        start: the mapping's starting position: `TRIM_HORIZON`, `LATEST` or `AT_TIMESTAMP`.
        known: the shards that are stored from an earlier life, by id, and whether each was read to its end. Empty if
            the mapping has never run on this stream: then the first listing decides by `start`.
    """

    def __init__(self, start: Seek, *, known: Mapping[str, bool] | None = None) -> None:
        if start.names_record:
            raise ValueError("a stream has no starting position by sequence number: a shard has")
        self._start = start
        self._stored = dict(known or {})
        self._fresh = not self._stored
        self._nodes: dict[str, _Node] = {}
        self._readable: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def phase(self, shard_id: str) -> Phase | None:
        """Where a shard is; None if it is unknown."""
        node = self._nodes.get(shard_id)
        return None if node is None else node.phase

    def count(self, phase: Phase) -> int:
        """How many shards are in a phase."""
        return sum(node.phase is phase for node in self._nodes.values())

    @property
    def readable(self) -> int:
        """How many shards `take` could give now."""
        return len(self._readable)

    def listed(self, shards: Iterable[Shard]) -> Listed:
        """Take in a full listing: every shard of the stream, in any order."""
        now = {shard.id: shard for shard in shards}
        forgotten = self.missing(now.values())
        lost = self._drop(forgotten)
        first, self._fresh = self._fresh, False
        new, discovered = [], []
        for shard in now.values():
            node = self._nodes.get(shard.id)
            if node is not None:
                node.listed = True
                continue
            finished = self._stored.pop(shard.id, None)
            if finished is None:
                start = self._first_position(shard, first=first)
                discovered.append(Discovery(shard, start))
                finished = start is None
            self._nodes[shard.id] = _Node(Phase.FINISHED if finished else Phase.WAITING, listed=True)
            new.append(shard)
        for shard in new:  # once all of them exist: parents need not come before their children
            self._link(shard)
        return Listed(tuple(discovered), tuple(lost), tuple(forgotten))

    def missing(self, shards: Iterable[Shard]) -> list[str]:
        """What `listed` would forget of such a listing."""
        now = {shard.id for shard in shards}
        return [
            *(
                shard_id
                for shard_id, node in self._nodes.items()
                if shard_id not in now and node.listed and node.phase is not Phase.READING
            ),
            # Stored shards are known from the first listing of this life on, or they have vanished since the last one.
            *(shard_id for shard_id in self._stored if shard_id not in now),
        ]

    def ended(self, shard_id: str, children: Iterable[Shard] = ()) -> tuple[Discovery, ...]:
        """Say that a shard was read to its end and all its records are dealt with.

        Args:
            shard_id: the shard, which is being read.
            children: those that its last page named. One with a parent that is not known yet is left to the next
                listing, which is due anyhow: that parent may be newer than the last one.

        Returns:
            The children that are new, to be stored like those of a listing, together with the shard's end.
        """
        node = self._reading(shard_id)
        node.phase = Phase.FINISHED
        discovered = []
        for child in children:
            known = child.id in self._nodes
            if not known and shard_id in child.parents and all(parent in self._nodes for parent in child.parents):
                self._nodes[child.id] = _Node(Phase.WAITING, listed=False)
                self._link(child)
                discovered.append(Discovery(child, TRIM_HORIZON))
        self._unblock(node, shard_id)
        return tuple(discovered)

    def take(self, most: int | None = None) -> list[str]:
        """Take up to `most` shards (default all) to read now, each once, in the order they became readable."""
        taken = list(islice(self._readable, most))
        for shard_id in taken:
            del self._readable[shard_id]
            self._nodes[shard_id].phase = Phase.READING
        return taken

    def put_back(self, shard_id: str) -> None:
        """Say that a shard is not being read any more though it has not ended.

        It can be taken again, or vanish: a reader whose shard is unknown to the service puts it back and has the shards
        listed anew.
        """
        self._reading(shard_id).listed = True  # also a child that no listing has named so far may be gone by now
        self._make_readable(shard_id)

    def _first_position(self, shard: Shard, *, first: bool) -> Seek | None:
        if not first:
            return TRIM_HORIZON
        return None if self._start.place is Place.LATEST and shard.closed else self._start

    def _drop(self, gone: Iterable[str]) -> list[str]:
        """Forget shards; return which of them were not read to their ends."""
        lost = []
        for shard_id in gone:
            node = self._nodes.pop(shard_id, None)
            if node is None:
                finished = self._stored.pop(shard_id)
            else:
                finished = node.phase is Phase.FINISHED
                self._readable.pop(shard_id, None)
                self._unblock(node, shard_id)
            if not finished:
                lost.append(shard_id)
        return lost

    def _link(self, shard: Shard) -> None:
        """Make a waiting shard wait for those of its parents that are still to be read."""
        node = self._nodes[shard.id]
        if node.phase is Phase.FINISHED:
            return
        for parent_id in shard.parents:
            parent = self._nodes.get(parent_id)
            if parent is not None and parent.phase is not Phase.FINISHED and parent_id not in node.waits_for:
                node.waits_for.add(parent_id)
                parent.unblocks.append(shard.id)
        if not node.waits_for:
            self._make_readable(shard.id)

    def _unblock(self, parent: _Node, parent_id: str) -> None:
        for child_id in parent.unblocks:
            child = self._nodes.get(child_id)
            if child is not None and parent_id in child.waits_for:
                child.waits_for.remove(parent_id)
                if not child.waits_for:
                    self._make_readable(child_id)
        parent.unblocks.clear()

    def _make_readable(self, shard_id: str) -> None:
        self._nodes[shard_id].phase = Phase.READABLE
        self._readable[shard_id] = None

    def _reading(self, shard_id: str) -> _Node:
        node = self._nodes.get(shard_id)
        if node is None or node.phase is not Phase.READING:
            raise ValueError(f"{shard_id} is not being read")
        return node
