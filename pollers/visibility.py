"""Changing visibility timeouts of any number of messages, ten to a call."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from esmd.pollers.errors import SourceError
from esmd.pollers.sqs import MAX_RECEIVE, EntryFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.pollers.sqs import Queue, SqsApi


async def change_visibility(api: SqsApi, queue: Queue, timeouts: Mapping[str, int]) -> list[EntryFailure]:
    """Set the visibility timeout (seconds from now) of each message, given by receipt handle.

    Never raises `SourceError`: a call that fails as a whole is a failure of each of its messages. Nothing is tried
    again, since the timeout that a message has stays in force and that is safe.
    """
    failures: list[EntryFailure] = []
    rest = iter(timeouts.items())
    while chunk := dict(islice(rest, MAX_RECEIVE)):
        try:
            failures += await api.change_visibility(queue, chunk)
        except SourceError as error:
            failures += [EntryFailure(handle, error.failure) for handle in chunk]
    return failures
