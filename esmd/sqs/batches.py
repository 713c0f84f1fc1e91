"""The batches of an SQS mapping that are ready or under way, and how they come to their end.

| the function                                | a batch is taken to its end by                                              |
|---------------------------------------------|-----------------------------------------------------------------------------|
| needs nobody to await it (`Function.begin`) | callbacks: no task but the handler's own, and no turn of the loop beyond it  |
| ... but throttles, or is not reached        | a task, from there on                                                       |
| has to be awaited                           | a task                                                                      |
| and several batches follow each other       | a task                                                                      |
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING

from esmd.mappings.outcomes import version_of
from esmd.mappings.records import Batch
from esmd.mappings.settlement import TryAgain
from esmd.sqs.batch import Ended, SqsBatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from esmd.function import Halt
    from esmd.mappings.batching import Batcher
    from esmd.mappings.outcomes import Outcome
    from esmd.mappings.records import Record
    from esmd.sqs.batch import Surroundings
    from esmd.sqs.lookup import QueueLookup

    Spawn = Callable[[Coroutine[None, None, None]], None]


class Batches:
    """See the module's table.

    Args:
        around: what the batches share.
        lookup: knows the queue.
        batcher: is told when an invocation has ended.
        spawn: does something beside, for as long as the mapping is not halted.
        look: starts what may be started, in the next turn of the loop.
        wake: the same, a few turns later; also has deadlines looked at, and the end of a drain.
        give_back: makes records visible that were never started.

    Attributes:
        ready: chains of batches that follow each other, to be started.
        running: batches whose invocation is not over, those that wait for a place included.
        starting: of these, how many have not looked for their place yet.
        finishing: batches whose invocation is over, and whose deletes are not done.
        last_activity: when one of them ended (loop time).
        visible_at: when the last of the records that were kept is visible again (loop time).
    """

    def __init__(
        self,
        around: Surroundings,
        *,
        lookup: QueueLookup,
        batcher: Batcher,
        spawn: Spawn,
        look: Callable[[], None],
        wake: Callable[[], None],
        give_back: Callable[[Sequence[Record]], Awaitable[None]],
    ) -> None:
        self.ready: deque[list[Batch]] = deque()
        self.running = 0
        self.starting = 0
        self.finishing = 0
        self.last_activity = around.loop.time()
        self.visible_at = -math.inf
        self._around = around
        self._lookup = lookup
        self._batcher = batcher
        self._spawn = spawn
        self._look = look
        self._wake = wake
        self._give_back = give_back
        self._begun: dict[SqsBatch, Halt] = {}

    @property
    def in_flight(self) -> int:
        """Batches under way, those waiting for a place included, and those whose deletes are not done."""
        return self.running + self.finishing + len(self.ready)

    def start(self) -> None:
        """Start those that are ready, as far as concurrency allows."""
        while self.ready and self.running < self._around.scaling.concurrency:
            chain = self.ready.popleft()
            self.running += 1
            if len(chain) > 1 or not self._around.function.begins or not self._begin(chain[0]):
                self.starting += 1
                self._spawn(self._run_chain(chain))

    def _begin(self, batch: Batch) -> bool:
        queue = self._lookup.queue
        assert queue is not None  # noqa: S101 - batches come from a receive, which needs the queue
        begun = SqsBatch(self._around, batch, queue, on_settled=self._over)

        def done(outcome: Outcome) -> None:
            self._begun.pop(begun, None)
            try:
                self._conclude(begun, outcome)
            except Exception as error:  # noqa: BLE001 - nobody awaits us: whoever runs the mapping is to know
                self._spawn(_raise(error))

        halt = begun.begin(done)
        if halt is None:
            return False
        self._begun[begun] = halt
        return True

    def _conclude(self, begun: SqsBatch, outcome: Outcome) -> None:
        verdict = begun.judge(outcome)
        if isinstance(verdict, TryAgain):
            self._spawn(self._resume(begun, verdict))
            return
        rest = begun.conclude(verdict, version_of(outcome), self._ended)
        if rest is not None:
            self.finishing += 1
            self._spawn(self._finish(rest))
        self._look()
        if self._around.stop.is_set() or self._around.settings.window:
            self._wake()

    def _over(self) -> None:
        """What is left to do for a batch holds nobody up."""
        self.running -= 1
        self.finishing += 1

    def _over_later(self) -> None:
        """The same, where nobody looks right away what may be started now."""
        self._over()
        self._wake()

    def _ended(self, ended: Ended) -> None:
        self.visible_at = max(self.visible_at, ended.visible_at)
        self._left(settled=True)

    def _left(self, *, settled: bool) -> None:
        """Nothing is left to do for a batch."""
        if settled:
            self.finishing -= 1
        else:
            self.running -= 1
        self.last_activity = self._around.loop.time()
        self._batcher.invocation_ended(self.last_activity)
        if not settled or self._around.stop.is_set() or self.finishing >= self._around.scaling.concurrency:
            self._wake()

    async def _finish(self, rest: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await rest()
        finally:
            self._left(settled=True)

    async def _resume(self, begun: SqsBatch, verdict: TryAgain) -> None:
        begun.on_settled = self._over_later
        try:
            ended = await begun.resume(verdict)
            self.visible_at = max(self.visible_at, ended.visible_at)
            await self._give_back(ended.never_started)
        finally:
            self._left(settled=begun.settled)

    async def _run_chain(self, chain: list[Batch]) -> None:
        """Run batches one after the other; a group that failed in one is left out of the next ones."""
        self.starting -= 1  # from here to its place in the function there is no await
        queue = self._lookup.queue
        assert queue is not None  # noqa: S101 - batches come from a receive, which needs the queue
        held_back: set[str | None] = set()
        settled = False

        def on_settled() -> None:
            """The last invocation of the chain is over."""
            nonlocal settled
            settled = True
            self._over_later()

        try:
            for number, batch in enumerate(chain):
                records = [r for r in batch.records if r.ordering_key not in held_back] if number else batch.records
                if not records:
                    continue
                is_last = number == len(chain) - 1
                whole = Batch(records, batch.cut)
                ended = await SqsBatch(self._around, whole, queue, on_settled=on_settled if is_last else None).run()
                held_back.update(record.ordering_key for record in (*ended.kept, *ended.never_started))
                self.visible_at = max(self.visible_at, ended.visible_at)
                await self._give_back(ended.never_started)
        finally:
            self._left(settled=settled)

    async def halt(self) -> None:
        """End the invocations that nobody awaits; after a drain there are none."""
        for begun in self._begun:
            begun.forget()
        halts = [self._around.loop.create_task(_halted(halt)) for halt in self._begun.values()]
        self._begun.clear()
        if halts:
            # Not `gather`: whoever halts us again, before these have begun, would cancel them, and leave handlers running.
            await asyncio.wait(halts)
        for ended in halts:
            ended.result()


async def _halted(halt: Halt) -> None:
    await halt()


async def _raise(error: Exception) -> None:
    raise error
