"""Finding a mapping's queue, and judging whether it fits the mapping.

| what is found                                              | what happens                                            |
|------------------------------------------------------------|---------------------------------------------------------|
| no queue, no permission                                    | the mapping is unavailable, with AWS's text              |
| visibility timeout below the function's, no heartbeat      | the mapping is unavailable, with AWS's text              |
| ... when it became so while the mapping runs               | advice only, as AWS does not check later changes either |
| visibility timeout below six times the function's + window | advice                                                  |
| no redrive policy, or maxReceiveCount below 5              | advice                                                  |
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from esmd.observe.mapping_events import MappingAdvice
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.sqs import MAX_VISIBILITY

if TYPE_CHECKING:
    from esmd.observe.mapping_events import Topic
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.sqs import Queue, SqsApi
    from esmd.sqs.settings import SqsSettings

_LOOK_AGAIN = 300.0
"""Seconds after which the attributes are read again: visibility and redrive policy may change under us."""

_WINDOW_MARGIN = 30
"""Seconds by which visibility must exceed window and timeout together [specification A.2(6)]."""


class QueueLookup:
    """Knows the queue of one mapping."""

    def __init__(self, settings: SqsSettings, api: SqsApi, telemetry: Telemetry) -> None:
        self._settings = settings
        self._api = api
        self._telemetry = telemetry
        self._loop = asyncio.get_running_loop()
        self._queue: Queue | None = None
        self._looked_at = -math.inf
        self._advised: set[str] = set()

    @property
    def queue(self) -> Queue | None:
        """The queue as last seen; None until it was found."""
        return self._queue

    @property
    def fresh(self) -> Queue | None:
        """The queue, unless `find` has to look."""
        is_fresh = self._loop.time() - self._looked_at < _LOOK_AGAIN
        return self._queue if is_fresh else None

    async def find(self, *, again: bool) -> Queue:
        """The queue; from memory, unless it is time to look again or `again` says so.

        Raises:
            SourceError: it is not there, may not be used, or does not fit the mapping.
        """
        now = self._loop.time()
        if self._queue is not None and not again and now - self._looked_at < _LOOK_AGAIN:
            return self._queue
        queue = await self._api.look_up()
        if self._queue is None or again:
            self._refuse_short_visibility(queue)
        self._queue = queue
        self._looked_at = now
        self._advise(queue)
        return queue

    def raised_visibility(self, queue: Queue) -> int | None:
        """The visibility timeout to ask for with each receive; None for the queue's own [specification A.2(6)]."""
        if not self._settings.window:
            return None
        needed = self._settings.window + math.ceil(self._settings.function_timeout) + _WINDOW_MARGIN
        return min(needed, MAX_VISIBILITY) if needed > queue.visibility_timeout else None

    def _refuse_short_visibility(self, queue: Queue) -> None:
        timeout = self._settings.function_timeout
        if queue.visibility_timeout < timeout and not self._settings.visibility_heartbeat:
            raise SourceError(
                Failure(
                    Kind.RECONFIGURE,
                    "InvalidParameterValueException",
                    f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than "
                    f"Function timeout: {timeout:g} seconds",
                )
            )

    def _advise(self, queue: Queue) -> None:
        """Say what will hurt, each once."""
        wanted = math.ceil(6 * self._settings.function_timeout) + self._settings.window
        if queue.visibility_timeout < wanted and not self._settings.visibility_heartbeat:
            raised = self.raised_visibility(queue)
            self._say(
                "short_visibility_timeout",
                f"the queue's visibility timeout is {queue.visibility_timeout} s; AWS recommends six times the "
                f"function's timeout plus the batching window: {wanted} s"
                + (f" (receives of this windowed mapping ask for {raised} s)" if raised else ""),
            )
        if queue.max_receive_count is None:
            self._say("no_redrive_policy", "without a redrive policy a message that always fails is retried for ever")
        elif queue.max_receive_count < 5:
            self._say(
                "low_max_receive_count",
                f"maxReceiveCount is {queue.max_receive_count}; AWS recommends at least 5, since throttled receives "
                "count too",
            )

    def _say(self, topic: Topic, hint: str) -> None:
        if topic not in self._advised:
            self._advised.add(topic)
            self._telemetry.emit(MappingAdvice(mapping=self._settings.name, topic=topic, hint=hint))
