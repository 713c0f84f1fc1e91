"""Two ends of a channel in one process."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from esmd.processes.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from esmd.processes.messages import Request


async def nothing_served(request: Request) -> Any:
    raise AssertionError(f"nobody was to ask for {request.method}")


@contextlib.contextmanager
def channel_pair(
    serve: Callable[[Request], Awaitable[Any]],
    *,
    told: Callable[[Any], None] = lambda _: None,
    lost: Callable[[], None] = lambda: None,
    may_wait: bool = True,
) -> Iterator[Channel]:
    """The child's end of a channel whose parent serves and is told as given."""
    ours, theirs = socket.socketpair()
    parent = Channel(ours, told=told, serve=serve, lost=lost, may_wait=False)
    child = Channel(theirs, told=lambda _: None, serve=nothing_served, lost=lambda: None, may_wait=may_wait)
    try:
        yield child
    finally:
        child.close()
        parent.close()
