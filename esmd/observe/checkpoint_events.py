"""The events of positions that somebody moves while the daemon runs."""

from __future__ import annotations

from typing import ClassVar

from esmd.observe.events import event
from esmd.observe.stream_events import ShardEvent


@event
class CheckpointMoved(ShardEvent):
    """Somebody has moved the position of a shard. Attempts of failing batches and the open window went with the old one."""

    name: ClassVar[str] = "checkpoint.moved"
    before: str | None
    """Where it was; without a value where nothing was stored."""
    position: str
