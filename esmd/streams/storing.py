"""Storing progress: it waits, and says so, while the state store cannot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.state.errors import LeaseLostError, OtherStreamError, PositionMovedBackError, StateError
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from esmd.state.protocol import ShardProgress, StreamIdentity
    from esmd.streams.settings import Surroundings


async def keep(around: Surroundings, identity: StreamIdentity, *progress: ShardProgress) -> bool:
    """Store progress; returns when it would survive a kill. False if the mapping stopped before it could be stored.

    A full disk or a file that has become read-only holds the mapping up until it is mended: going on without would
    deliver everything since again after a restart, and nobody would know.

    Raises:
        PositionMovedBackError: a defect of the caller.
        OtherStreamError: the stream was replaced under way.
        LeaseLostError: the shard is another process's.
    """
    while True:
        try:
            await around.store.save(around.settings.name, identity, *progress)
        except StateError as error:
            if not await mended(around, error):
                return False
        else:
            return True


async def mended(around: Surroundings, error: StateError) -> bool:
    """Say that the store fails, and wait until it is to be tried again. False if the mapping stopped first.

    Raises:
        StateError: this one would be the same the next time.
    """
    if isinstance(error, PositionMovedBackError | OtherStreamError | LeaseLostError):
        raise error
    around.trouble.failed(type(error).__name__, str(error), asyncio.get_running_loop().time(), passing=False)
    return not await stopped_before(around.stop, around.trouble.retry_at)
