"""A real SQS mapping in real time over a queue in memory, around any invoker."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.sqs.runner import SqsRunner
from esmd.testing.queues import QueueEngine
from esmd.trouble import Trouble

from support.functions import function_of
from support.invocations import Recorder
from support.mapping_lab import MemorySqs, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from esmd.invoke.protocol import Invoker


@dataclass
class LiveMapping:
    """One running mapping.

    Attributes:
        stop: set it, and the mapping drains.
        task: ends when the mapping has; cancel it, and the mapping halts.
    """

    engine: QueueEngine
    stop: asyncio.Event
    task: asyncio.Task[None]

    def send(self, body: str) -> None:
        self.engine.send("orders", body)

    @property
    def left(self) -> tuple[int, int]:
        """Messages that can be received now, and messages that will come back if nobody deletes them."""
        counts = self.engine.counts("orders")
        return counts.visible, counts.inflight


@contextlib.asynccontextmanager
async def live_mapping(invoker: Invoker) -> AsyncIterator[LiveMapping]:
    """Run a mapping whose function is `invoker`; at the end the mapping is over, and the invoker still open."""
    engine = QueueEngine()
    engine.create_queue("orders", {"VisibilityTimeout": "300"})
    telemetry = Recorder()
    function = function_of(invoker, telemetry=telemetry)
    stop = asyncio.Event()
    runner = SqsRunner(
        settings(function_limit=invoker.limit, longest_poll=0, function_timeout=30.0),
        api=MemorySqs(engine, "orders"),
        function=function,
        record_filter=None,
        telemetry=telemetry,
        trouble=Trouble("orders", telemetry),
        stop=stop,
    )
    mapping = LiveMapping(engine, stop, asyncio.create_task(runner.run()))
    try:
        yield mapping
    finally:
        mapping.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await mapping.task
        engine.close()
