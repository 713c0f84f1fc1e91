"""What is stored of one shard: its position, and what a restart has to know of lanes, failing batches and its window.

`trouble` of the stored progress is JSON: `{"lanes": how far each lane is, "batches": {lane: snapshot of its policy}}`; the
final invocation of a tumbling window has the key `final` among the batches.

When it is stored:

| what happened                                               | stored                                                  |
|-------------------------------------------------------------|---------------------------------------------------------|
| a batch failed, was cut or split, or grew too old           | before anything else happens in its lane                |
| a batch succeeded that had failed before                    | before anything else happens in its lane                |
| anything, with tumbling windows                             | before anything else happens in the shard               |
| a batch succeeded at once                                   | soon, beside the next ones: at most `MOST_BEHIND` of them |
| records were passed over, since no filter matches           | soon                                                    |
| the shard is finished, given up, or the mapping stops       | before anything else reads the shard                    |

Soon: at once if nothing was stored for `PAUSE`, else when that is over, together with what has succeeded meanwhile. A kill
repeats what was not stored yet; it takes back no attempt, and no failure record is sent for it that was not sent already.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esmd.observe.stream_events import CheckpointCommitted
from esmd.state.position import SHARD_END, Position
from esmd.streams.storing import keep
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from esmd.mappings.lanes import Lanes
    from esmd.mappings.windows import Windows
    from esmd.state.protocol import ShardProgress, StreamIdentity
    from esmd.streams.settings import Surroundings

PAUSE = 0.01
"""Seconds from the beginning of one save that can wait to that of the next: quick batches share one."""

MOST_BEHIND = 64
"""Batches that have succeeded and are not stored, at most: what a kill repeats beside those under way. Above it a lane waits
for the store, as it does for a failed batch."""

FINAL = "final"
"""Key of the snapshot of a window's final invocation, beside those of the lanes."""


class Ledger:
    """Keeps one shard's progress.

    Args:
        around: what the mapping's shards share.
        identity: of the stream.
        progress: what was stored.
    """

    def __init__(self, around: Surroundings, identity: StreamIdentity, progress: ShardProgress) -> None:
        self._around = around
        self._identity = identity
        self._progress = progress
        self._committed = progress.position
        self._saving = asyncio.Lock()
        self._wanted = 0
        self._kept = 0
        self._asked = asyncio.Event()
        self._finished = False
        trouble = _json(progress.trouble)
        lanes = trouble.get("lanes")
        self.lanes_snapshot: dict[str, Any] | None = lanes if isinstance(lanes, dict) else None
        """What `Lanes` resumes from."""
        self._snapshots = _batches(trouble, around.settings.parallelization_factor)
        self._resumes = dict(self._snapshots)

    @property
    def progress(self) -> ShardProgress:
        """Where the shard stands."""
        return self._progress

    @property
    def at_end(self) -> ShardProgress:
        """What to store when the shard is finished."""
        return replace(self._progress, position=SHARD_END, trouble=None, window=None, updated_at=self._around.wall())

    @property
    def window_snapshot(self) -> dict[str, Any] | None:
        """What `Windows` restores itself from."""
        return _json(self._progress.window) or None

    def stored(self, key: str) -> Any:
        """The policy's snapshot from before a restart, still to be resumed; None if there is none."""
        return self._resumes.get(key)

    def resume(self, key: str) -> Any:
        """As `stored`, and it is resumed now."""
        return self._resumes.pop(key, None)

    def remember(self, key: str, snapshot: Any) -> None:
        """What the next commit says of a lane's batch; None if there is nothing to know."""
        if snapshot is None:
            self._snapshots.pop(key, None)
        else:
            self._snapshots[key] = snapshot

    def remembers(self, key: str) -> bool:
        """Whether there is something to know of a lane's batch."""
        return key in self._snapshots

    async def commit_soon(self, lanes: Lanes, windows: Windows | None) -> None:
        """Let `follow` store where the shard stands; waits only while it is too far behind."""
        if self._wanted - self._kept >= MOST_BEHIND:
            await self.commit(lanes, windows)
            return
        self._wanted += 1
        self._asked.set()

    async def follow(self, lanes: Lanes, windows: Windows | None) -> None:
        """Store what was asked for with `commit_soon`, until `finish`. Runs beside all else that the shard does."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while not self._finished:
            await self._asked.wait()
            if loop.time() < next_at and not self._finished:
                await stopped_before(self._around.stop, next_at)
            next_at = loop.time() + PAUSE
            self._asked.clear()
            await self._catch_up(lanes, windows)

    async def finish(self, lanes: Lanes, windows: Windows | None) -> None:
        """Store what is not yet, and end `follow`."""
        self._finished = True
        self._asked.set()
        await self._catch_up(lanes, windows)

    async def _catch_up(self, lanes: Lanes, windows: Windows | None) -> None:
        async with self._saving:
            if self._kept < self._wanted:
                await self._save(lanes, windows)

    async def commit(self, lanes: Lanes, windows: Windows | None) -> None:
        """Store where the shard stands now; waits, and says so, while the store cannot.

        One at a time: a save that has to be tried again would else undo a later one of another lane. Who waits for its
        turn may find that the save before took everything along.
        """
        self._wanted += 1
        wanted = self._wanted
        async with self._saving:
            if self._kept < wanted:
                await self._save(lanes, windows)

    async def _save(self, lanes: Lanes, windows: Windows | None) -> None:
        wanted = self._wanted
        checkpoint = lanes.checkpoint
        position = self._progress.position if checkpoint is None else Position.after(checkpoint)
        self._progress = replace(
            self._progress,
            position=position,
            trouble=self._trouble(lanes),
            window=None if windows is None else json.dumps(windows.snapshot()),
            updated_at=self._around.wall(),
        )
        around = self._around
        if not await keep(around, self._identity, self._progress):
            return
        self._kept = wanted
        if position != self._committed:
            self._committed = position
            around.telemetry.emit(
                CheckpointCommitted(mapping=around.settings.name, shard=self._progress.shard_id, position=str(position))
            )

    def _trouble(self, lanes: Lanes) -> str | None:
        snapshot = lanes.snapshot()
        if snapshot is None and not self._snapshots:
            return None
        return json.dumps({"lanes": snapshot, "batches": self._snapshots})


def _json(text: str | None) -> dict[str, Any]:
    """What was stored; a text that is damaged or no object counts as nothing."""
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _batches(trouble: dict[str, Any], factor: int) -> dict[str, Any]:
    """The stored snapshots by lane; with another factor the keys lie in other lanes, so none fits."""
    stored = trouble.get("batches")
    lanes = trouble.get("lanes")
    known = lanes.get("factor") if isinstance(lanes, dict) else None
    if not isinstance(stored, dict) or (known is not None and known != factor):
        return {}
    keys = {str(lane) for lane in range(factor)} | {FINAL}
    return {key: snapshot for key, snapshot in stored.items() if key in keys}
