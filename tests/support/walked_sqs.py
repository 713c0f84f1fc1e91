"""An SQS mapping that somebody cancels: whatever happens, no message is lost, and none is deleted that was not processed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.invoke.protocol import StartFailed
from esmd.mappings.filters import compile_filters
from esmd.mappings.outcomes import Unreachable
from esmd.sqs.runner import SqsRunner
from esmd.supervisor import Supervisor
from esmd.testing.queues import QueueEngine

from support.functions import function_of
from support.mapping_lab import BROKEN, Collector, MemorySqs, ScriptedBeginner, ScriptedInvoker, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.mappings.events import Event
    from esmd.mappings.outcomes import Outcome
    from esmd.trouble import Trouble

    from support.walker import Walk

LONGEST = 900.0
"""Seconds within which a mapping is done with everything, whatever happened to it; of virtual time."""


class Strict(MemorySqs):
    """Refuses to delete what nobody processed."""

    def __init__(self, engine: QueueEngine, name: str, done: Callable[[str], bool]) -> None:
        super().__init__(engine, name)
        self._done = done
        self._bodies: dict[str, str] = {}
        self.wrong: list[str] = []
        self.defects = 0

    async def receive(self, *args: Any, **options: Any) -> Sequence[Any]:
        if self.defects:
            self.defects -= 1
            raise RuntimeError("a defect")
        messages = await super().receive(*args, **options)
        self._bodies.update((each["ReceiptHandle"], each["Body"]) for each in messages)
        return messages

    async def delete(self, queue: Any, handles: Sequence[str]) -> list[Any]:
        self.wrong += [self._bodies[handle] for handle in handles if not self._done(self._bodies[handle])]
        return await super().delete(queue, handles)


class Refusing(ScriptedBeginner):
    """Cannot begin every other invocation: it has to be awaited then."""

    begun = 0

    def begin(self, event: Event, *, request_id: str, done: Callable[[Outcome], None]) -> asyncio.Task[Outcome] | None:
        self.begun += 1
        return None if self.begun % 2 else super().begin(event, request_id=request_id, done=done)


class Slow(ScriptedInvoker):
    """Loads and ends slowly, and cannot be loaded at first."""

    tried = 0

    async def start(self) -> None:
        await asyncio.sleep(0.1)
        self.tried += 1
        if self.tried < 3:
            raise StartFailed("Runtime.ImportModuleError", "not yet")

    async def close(self) -> None:
        await asyncio.sleep(0.1)


@dataclass(kw_only=True)
class SqsScenario:
    """One mapping, and messages for it. Call it with a walk.

    Attributes:
        bodies: what is sent, a list at a time, ten seconds apart; `skip...` matches no filter.
        fails: how often the handler fails with a body.
        kind: of invoker.
        limit: of the function.
        other: another mapping of the function takes a place for so many seconds.
        trouble: failures of calls of the queue, by the operation.
        missing: the queue is made so many seconds late.
        far: how often the function is not reached at first.
        halts_at: when the mapping is halted by itself, in seconds; then it is started anew.
        defects: how often a receive fails as it never should.
        stops_at: when the mapping is told to drain by itself, in seconds; then it is started anew.
        changes: of the settings.
    """

    bodies: Sequence[Sequence[str]] = (("a", "b", "c"),)
    fails: dict[str, int] = field(default_factory=dict)
    kind: type[ScriptedInvoker] = ScriptedInvoker
    limit: int = 1000
    duration: float = 0.3
    visibility: int = 20
    other: float = 0.0
    trouble: dict[str, int] = field(default_factory=dict)
    missing: float = 0.0
    far: int = 0
    defects: int = 0
    halts_at: float | None = None
    stops_at: float | None = None
    delete_latency: float = 0.1
    changes: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, walk: Walk) -> None:
        """Run it to its end, and see that nothing is lost."""
        await _Life(self, walk).run()


class _Life:
    def __init__(self, scenario: SqsScenario, walk: Walk) -> None:
        self.scenario = scenario
        self.walk = walk
        self.fifo = bool(scenario.changes.get("fifo"))
        self.name = "orders.fifo" if self.fifo else "orders"
        self.engine = QueueEngine()
        self.succeeded: list[str] = []
        self.fails = dict(scenario.fails)
        self.far = scenario.far
        self.invoker = scenario.kind(self._handle, limit=scenario.limit, duration=scenario.duration)
        self.collector = Collector()
        self.function = function_of(self.invoker, telemetry=self.collector)
        self.filtered = any("skip" in body for each in scenario.bodies for body in each)
        self.api = Strict(self.engine, self.name, lambda body: body.startswith("skip") or body in self.succeeded)
        self.api.delete_latency = scenario.delete_latency
        self.api.latency = 0.01
        self.api.defects = scenario.defects
        for operation, times in scenario.trouble.items():
            self.api.fail[operation] = [BROKEN] * times

    def _handle(self, records: list[dict[str, Any]]) -> Any:
        if self.far:
            self.far -= 1
            return Unreachable("nobody is there")
        failed = []
        for record in records:
            body = record["body"]
            if self.fails.get(body, 0) > 0:
                self.fails[body] -= 1
                failed.append(record)
                if self.fifo:
                    failed += records[records.index(record) + 1 :]
                    break
            else:
                self.succeeded.append(body)
        return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in failed]}

    def start(self) -> asyncio.Task[None]:
        """Begin, as a process does."""
        self.stop = asyncio.Event()
        filters = ['{"body": [{"anything-but": {"prefix": "skip"}}]}'] if self.filtered else []
        chosen = settings(
            report_batch_item_failures=True, **({"function_limit": self.scenario.limit} | self.scenario.changes)
        )

        def make_runner(trouble: Trouble) -> SqsRunner:
            return SqsRunner(
                chosen,
                api=self.api,
                function=self.function,
                record_filter=compile_filters(filters, source="sqs") if filters else None,
                telemetry=self.collector,
                trouble=trouble,
                stop=self.stop,
            )

        supervisor = self.supervisor = Supervisor(
            "orders", function=self.function, make_runner=make_runner, telemetry=self.collector, stop=self.stop
        )
        return asyncio.get_running_loop().create_task(supervisor.run())

    async def run(self) -> None:
        main = self.walk.main = self.start()
        self.walk.stop = self.stop.set
        if self.scenario.halts_at is not None:
            asyncio.get_running_loop().call_later(self.scenario.halts_at, main.cancel)
        feeding = asyncio.create_task(self._feed())
        other = asyncio.create_task(self._load())
        try:
            async with asyncio.timeout(LONGEST):
                await self._work_off(main, feeding)
        finally:
            feeding.cancel()
            other.cancel()
            self.engine.close()
        assert not self.api.wrong, f"deleted without success: {self.api.wrong}"
        assert (self.function.busy, self.invoker.running, self.api.receiving) == (0, 0, 0)
        assert self.function.room == self.scenario.limit, "someone still waits for a place"
        sent = [body for each in self.scenario.bodies for body in each if not body.startswith("skip")]
        assert set(sent) == set(self.succeeded)
        if self.fifo:
            assert list(dict.fromkeys(self.succeeded)) == sent, "the group is not in order"

    async def _work_off(self, main: asyncio.Task[None], feeding: asyncio.Task[None]) -> None:
        """Start it anew whenever it has ended, until nothing is left; then drain."""
        self.asking = asyncio.create_task(self._ask())
        stopping = self.scenario.stops_at is not None
        while True:
            if stopping and asyncio.get_running_loop().time() >= (self.scenario.stops_at or 0):
                stopping = False
                self.stop.set()
            if self.stop.is_set():
                async with asyncio.timeout(60):
                    await asyncio.wait([main])
            if main.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await main
                for _ in range(3):  # halted twice, it does not wait for the end of what it has cancelled
                    await asyncio.sleep(0)
                assert not self.invoker.running, "a handler outlives its mapping"
                main = self.start()
            if self.asking.done():
                self.asking = asyncio.create_task(self._ask())
            if feeding.done() and self._is_empty():
                break
            await asyncio.sleep(0.5)
        self.stop.set()
        closing = asyncio.create_task(self.function.close())
        await asyncio.wait([main, closing, self.asking])

    async def _ask(self) -> None:
        """As the status does."""
        runner = self.supervisor.runner
        if isinstance(runner, SqsRunner):
            await runner.backlog()

    async def _load(self) -> None:
        """As another mapping of the function does."""
        with contextlib.suppress(StartFailed):
            await self.function.start()

    def _is_empty(self) -> bool:
        counts = self.engine.counts(self.name)
        return not (counts.visible or counts.inflight or counts.delayed)

    async def _feed(self) -> None:
        await asyncio.sleep(self.scenario.missing)
        visibility = str(self.scenario.visibility)
        self.engine.create_queue(
            self.name, {"VisibilityTimeout": visibility} | ({"FifoQueue": "true"} if self.fifo else {})
        )
        other = self.scenario.other and await self.function.take_place(1)
        for bodies in self.scenario.bodies:
            for body in bodies:
                group = {"group": "g", "deduplication": body} if self.fifo else {}
                self.engine.send(self.name, body, **group, serve=False)
            self.engine.serve(self.name)
            await asyncio.sleep(self.scenario.other)
            if other:
                self.function.give_place_back()
                other = False
            await asyncio.sleep(10)


SCENARIOS: dict[str, SqsScenario] = {
    "awaited": SqsScenario(bodies=[["a", "b", "c"], ["d"]], fails={"b": 1}, changes={"batch_size": 2}),
    "begun": SqsScenario(
        bodies=[["a", "b", "c"], ["d"]], fails={"b": 1}, kind=ScriptedBeginner, changes={"batch_size": 2}
    ),
    "retried": SqsScenario(
        bodies=[["a", "b"], ["c"]],
        fails={"a": 2, "c": 1},
        kind=ScriptedBeginner,
        changes={"retry_backoff": (2, 4), "visibility_heartbeat": True},
        duration=8.0,
        visibility=12,
    ),
    "retried and awaited": SqsScenario(bodies=[["a", "b"]], fails={"a": 2}, changes={"retry_backoff": (2, 4)}),
    "throttled": SqsScenario(
        bodies=[["a", "b", "c"], ["d"]], limit=1, other=5.0, duration=1.0, changes={"batch_size": 1}
    ),
    "windowed and throttled": SqsScenario(
        bodies=[["a", "b", "c"], ["d"]], limit=1, other=5.0, duration=1.0, changes={"window": 1, "batch_size": 2}
    ),
    "refused": SqsScenario(
        bodies=[["a", "b", "c", "d"], ["e", "f"]], kind=Refusing, limit=2, other=5.0, changes={"batch_size": 1}
    ),
    "in order": SqsScenario(
        bodies=[["a", "b", "c"], ["d", "e"]], fails={"b": 1}, changes={"fifo": True, "batch_size": 2}, visibility=5
    ),
    "filtered": SqsScenario(bodies=[["a", "skip 1", "b"], ["skip 2"]], changes={"window": 2}),
    "troubled": SqsScenario(bodies=[["a", "b"], ["c"]], trouble={"look_up": 2, "receive": 2, "delete": 2}, missing=3.0),
    "stopped": SqsScenario(
        bodies=[["a", "b"], ["c"]], stops_at=1.0, changes={"window": 5}, kind=ScriptedBeginner, delete_latency=2.0
    ),
    "stopped while throttled": SqsScenario(
        bodies=[["a", "b"]], stops_at=1.0, limit=1, other=5.0, far=1, changes={"batch_size": 1}
    ),
    "stopped while not reached": SqsScenario(
        bodies=[["a", "b"]], stops_at=0.5, far=3, kind=ScriptedBeginner, changes={"batch_size": 1}
    ),
    "not reached": SqsScenario(bodies=[["a", "b"]], far=2, kind=ScriptedBeginner),
    "halted": SqsScenario(
        bodies=[["a", "b", "c"]], halts_at=1.0, kind=ScriptedBeginner, changes={"batch_size": 1}, duration=2.0
    ),
    "halted while deleting": SqsScenario(bodies=[["a", "b", "c"]], halts_at=1.0, delete_latency=12.0),
    "loading": SqsScenario(bodies=[["a"]], kind=Slow),
    "defective": SqsScenario(bodies=[["a"]], defects=2),
    "polled without a wait": SqsScenario(bodies=[["a"]], changes={"longest_poll": 0}),
}
