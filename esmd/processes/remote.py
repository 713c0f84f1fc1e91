"""A child's side of the state store and the books, which the parent keeps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from esmd.processes.channel import ChannelLostError
from esmd.state.errors import StateError, closed
from esmd.streams.bookreader import BookReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esmd.processes.channel import Channel
    from esmd.state.protocol import ShardProgress, Stored, StreamIdentity, Summary


async def _call(channel: Channel, method: str, *arguments: Any, **options: Any) -> Any:
    try:
        return await channel.call(method, *arguments, **options)
    except ChannelLostError as error:
        raise StateError("the parent process is gone", hint="This process ends too.") from error


class RemoteStateStore:
    """`StateStore` of another process, at the other end of a channel. Closing it leaves that store open."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def load(self, mapping: str, stream_arn: str) -> Stored | None:
        """See `StateStore.load`."""
        stored: Stored | None = await self._do("load", mapping, stream_arn)
        return stored

    async def begin(self, mapping: str, identity: StreamIdentity) -> Stored | None:
        """See `StateStore.begin`."""
        forgotten: Stored | None = await self._do("begin", mapping, identity)
        return forgotten

    async def save(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        """See `StateStore.save`.

        Raises:
            LeaseLostError: another process may read one of the shards.
        """
        await self._do("save", mapping, identity, *progress)

    async def move(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:  # noqa: ARG002
        """See `StateStore.move`: not from here. The parent's books say who reads these shards.

        Raises:
            StateError: always.
        """
        if self._closed:
            raise closed()
        raise StateError(
            f"shards of mapping {mapping} are not moved from one of several processes",
            hint="Stop the daemon, move them, and start it again.",
        )

    async def forget(self, mapping: str, identity: StreamIdentity, shard_ids: Iterable[str]) -> None:
        """See `StateStore.forget`."""
        await self._do("forget", mapping, identity, tuple(shard_ids))

    async def mappings(self) -> list[Summary]:
        """See `StateStore.mappings`."""
        found: list[Summary] = await self._do("mappings")
        return found

    async def close(self) -> None:
        """See `StateStore.close`."""
        self._closed = True
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _do(self, method: str, *arguments: Any) -> Any:
        if self._closed:
            raise closed()
        # A task of its own: the caller may be cancelled, and `close` waits for the answer all the same.
        task = asyncio.get_running_loop().create_task(_call(self._channel, method, *arguments))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever was to be told may have been cancelled


def remote_book(mapping: str, channel: Channel) -> BookReader:
    """The reader of a mapping's book that the parent keeps."""

    async def call(method: str, identity: StreamIdentity, /, *arguments: Any, **options: Any) -> Any:
        return await _call(channel, f"book.{method}", mapping, identity, *arguments, **options)

    return BookReader(call)
