"""A stream mapping that somebody cancels: no checkpoint passes what is not resolved, and nothing is left out."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.mappings.filters import compile_filters
from esmd.mappings.outcomes import Unreachable
from esmd.mappings.window_replies import MAX_STATE_BYTES
from esmd.state.errors import StateError
from esmd.state.memory import MemoryStateStore
from esmd.streams.runner import StreamRunner
from esmd.streams.settings import Surroundings
from esmd.supervisor import Supervisor
from esmd.testing.fake_streams import EngineStream
from esmd.testing.stream_engine import StreamEngine

from support.functions import function_of
from support.mapping_lab import Collector, ScriptedInvoker
from support.stream_lab import MemoryDestination, data_of, stream_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.function import Function
    from esmd.state.protocol import ShardProgress, StateStore
    from esmd.streams.bookreader import BookReader
    from esmd.trouble import Trouble

    from support.walker import Walk

LONGEST = 1800.0
"""Seconds of virtual time within which a mapping is done with everything, whatever happened to it."""


class SlowStore(MemoryStateStore):
    """A store on a disk; every call takes a moment, before and after it has its effect. It judges what is saved."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life
        self.fails = range(0)
        self._saves = 0

    async def load(self, *args: Any) -> Any:
        await asyncio.sleep(0.001)
        return await super().load(*args)

    async def save(self, mapping: str, identity: Any, *progress: ShardProgress) -> None:
        await asyncio.sleep(self._life.scenario.saving)
        self._saves += 1
        if self._saves in self.fails:
            raise StateError("the disk is full", hint="mend it")
        await super().save(mapping, identity, *progress)
        for each in progress:
            self._life.saved(each)
        await asyncio.sleep(self._life.scenario.saving)

    async def forget(self, *args: Any) -> None:
        await asyncio.sleep(0.001)
        await super().forget(*args)


class SlowDestination(MemoryDestination):
    """Takes its time."""

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0.05)
        await super().send(message)
        await asyncio.sleep(0.05)


@dataclass(kw_only=True)
class StreamScenario:
    """One mapping, and records for it. Call it with a walk.

    Attributes:
        bodies: what is put, a list at a time, five seconds apart; what is before a colon is the key. `bad...` always
            fails, `skip...` matches no filter, `huge...` leaves more state in a
            tumbling window than that may have.
        fails: how often the handler fails with a body.
        far: how often the function is not reached at first.
        limit: of the function.
        other: another mapping of the function takes a place for so many seconds.
        shards: of the stream.
        splits: the first shard is split after the first list.
        replaced: the stream is made anew after the first list, which may be lost then.
        store: which saves fail, counted from 1.
        calls: failures of calls of the service, by operation: the code, and how often.
        at_once: calls of the service at once.
        latency: of a call of the service, in seconds.
        retention: of records, in seconds.
        saving: seconds that a save takes, before it has its effect and after.
        destination: how often the destination refuses; None for no destination.
        halts_at: when it is halted by itself, in seconds; then it is started anew.
        stops_at: when it is told to drain by itself, in seconds; then it is started anew.
        changes: of the settings.
    """

    bodies: Sequence[Sequence[str]] = (("k:a", "k:b", "l:c"), ("k:d",))
    fails: dict[str, int] = field(default_factory=dict)
    far: int = 0
    limit: int = 1000
    other: float = 0.0
    shards: int = 1
    splits: bool = False
    replaced: bool = False
    store: range = range(0)
    calls: dict[str, tuple[str, int]] = field(default_factory=dict)
    at_once: int = 10
    latency: float = 0.01
    retention: float = 86400.0
    saving: float = 0.002
    destination: int | None = None
    halts_at: float | None = None
    stops_at: float | None = None
    duration: float = 0.05
    changes: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, walk: Walk) -> None:
        """Run it to its end, and see that nothing is lost."""
        await Life(self, walk).run()


class Life:
    """What a scenario has, and what became of its records."""

    def __init__(self, scenario: StreamScenario, walk: Walk) -> None:
        self.scenario = scenario
        self.walk = walk
        self.engine = StreamEngine()
        self.arn = self.engine.create_stream("events", shards=scenario.shards, retention=scenario.retention)
        self.store = SlowStore(self)
        self.store.fails = scenario.store
        self.destination = SlowDestination()
        self.destination.failing = scenario.destination or 0
        self.succeeded: list[str] = []
        self.fails = dict(scenario.fails)
        self.far = scenario.far
        self.put: list[tuple[str, int, str]] = []
        self.forgiven: set[str] = set()
        self.positions: dict[str, Any] = {}
        self.wrong: list[str] = []
        self.collector = Collector()
        self.invoker = ScriptedInvoker(self.handle, limit=scenario.limit, duration=scenario.duration, whole_events=True)
        self.function = function_of(self.invoker, telemetry=self.collector)
        for operation, (code, times) in scenario.calls.items():
            self.engine.fail(operation, code, times=times)  # type: ignore[arg-type]

    def handle(self, event: dict[str, Any]) -> Any:
        """As the handler of the function."""
        if self.far:
            self.far -= 1
            return Unreachable("nobody is there")
        state: Any = {}
        for record in event["Records"]:
            body = data_of(record)
            if self.fails.get(body, 0) > 0 or body.partition(":")[2].startswith("bad"):
                self.fails[body] = self.fails.get(body, 0) - 1
                failed = {"itemIdentifier": record["kinesis"]["sequenceNumber"]}
                return {"batchItemFailures": [failed]} | ({"state": state} if "window" in event else {})
            self.succeeded.append(body)
            if body.partition(":")[2].startswith("huge"):
                state = {"all": "x" * MAX_STATE_BYTES}
        return {"state": state} if "window" in event else None

    def is_resolved(self, body: str) -> bool:
        """Whether nothing needs to be done with a record any more."""
        what = body.partition(":")[2]
        if what.startswith("skip") or body in self.succeeded or body in self.forgiven:
            return True
        numbers = [number for _, number, each in self.put if each == body]
        ranges = [record["KinesisBatchInfo"] for record in self.destination.records]
        return any(
            int(each["startSequenceNumber"]) <= number <= int(each["endSequenceNumber"])
            for each in ranges
            for number in numbers
        )

    def saved(self, progress: ShardProgress) -> None:
        """A checkpoint is on the disk."""
        self.positions[progress.shard_id] = position = progress.position
        for shard, number, body in self.put:
            passed = position.kind == "SHARD_END" or (
                position.kind == "AFTER" and number <= int(position.sequence_number or 0)
            )
            if shard == progress.shard_id and passed and not self.is_resolved(body):
                self.wrong.append(f"{body} is passed by {position}")

    def start(self) -> asyncio.Task[None]:
        """Begin, as a process does."""
        self.stop = asyncio.Event()
        return asyncio.get_running_loop().create_task(self.supervisor(self.stop).run())

    def supervisor(
        self,
        stop: asyncio.Event,
        *,
        function: Function | None = None,
        store: StateStore | None = None,
        book: BookReader | None = None,
    ) -> Supervisor:
        """A process's own; with the function, the store and the book of that process, where there are several."""
        skips = any(":skip" in body for each in self.scenario.bodies for body in each)
        filters = ['{"partitionKey": [{"anything-but": ["s"]}]}'] if skips else []
        chosen = stream_settings(self.arn, **({"report": True} | self.scenario.changes))

        def make_runner(trouble: Trouble) -> StreamRunner:
            return StreamRunner(
                Surroundings(
                    settings=chosen,
                    api=self.stream(),
                    function=function or self.function,
                    record_filter=compile_filters(filters, source="kinesis") if filters else None,
                    destination=None if self.scenario.destination is None else self.destination,
                    store=store or self.store,
                    telemetry=self.collector,
                    trouble=trouble,
                    stop=stop,
                    book=book,
                    wall=self.engine.now,
                    calls=asyncio.Semaphore(self.scenario.at_once),
                )
            )

        return Supervisor(
            "events",
            function=function or self.function,
            make_runner=make_runner,
            telemetry=self.collector,
            stop=stop,
            is_stream=True,
        )

    def stream(self) -> EngineStream:
        """The stream, as a runner asks for it."""
        api = EngineStream(self.engine, self.arn)
        api.latency = self.scenario.latency
        return api

    async def run(self) -> None:
        main = self.walk.main = self.start()
        self.walk.stop = self.stop.set
        if self.scenario.halts_at is not None:
            asyncio.get_running_loop().call_later(self.scenario.halts_at, main.cancel)
        feeding = asyncio.create_task(self.feed())
        try:
            async with asyncio.timeout(LONGEST):
                await self._work_off(main, feeding)
        finally:
            feeding.cancel()
        self.judge()
        assert (self.function.busy, self.invoker.running) == (0, 0)
        assert self.function.room == self.scenario.limit, "someone still waits for a place"

    def judge(self) -> None:
        """See that nothing was passed over, and each key's records came in order."""
        assert not self.wrong, self.wrong
        for key in {body.partition(":")[0] for _, _, body in self.put}:
            mine = [body for _, _, body in self.put if body.startswith(f"{key}:") and body in self.succeeded]
            assert list(dict.fromkeys(each for each in self.succeeded if each in mine)) == mine, "not in order"

    async def _work_off(self, main: asyncio.Task[None], feeding: asyncio.Task[None]) -> None:
        """Start it anew whenever it has ended, until everything is behind a checkpoint; then drain."""
        stops_at = self.scenario.stops_at
        while True:
            if stops_at is not None and asyncio.get_running_loop().time() >= stops_at:
                stops_at = None
                self.stop.set()
            if self.stop.is_set():
                async with asyncio.timeout(60):
                    await asyncio.wait([main])
            if main.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await main
                for _ in range(3):
                    await asyncio.sleep(0)
                assert not self.invoker.running, "a handler outlives its mapping"
                main = self.start()
            if feeding.done() and all(self.is_behind(*each) for each in self.put):
                break
            await asyncio.sleep(0.5)
        self.stop.set()
        await asyncio.wait([main])

    def is_behind(self, shard: str, number: int, body: str) -> bool:
        """Whether a record is behind a checkpoint."""
        position = self.positions.get(shard)
        if body in self.forgiven or (position is not None and position.kind == "SHARD_END"):
            return True
        return position is not None and position.kind == "AFTER" and int(position.sequence_number) >= number

    def reshape(self) -> None:
        """Split what is to be split."""
        if self.scenario.splits:
            self.engine.split("events", self.engine.list_shards("events")[0].id)

    async def feed(self) -> None:
        """Put the records."""
        other = bool(self.scenario.other) and await self.function.take_place(1)
        for turn, bodies in enumerate(self.scenario.bodies):
            if turn == 1:
                self.reshape()
            if turn == 1 and self.scenario.replaced:
                self.forgiven.update(body for _, _, body in self.put)
                self.engine.delete("events")
                await asyncio.sleep(1)
                self.engine.create_stream("events", shards=self.scenario.shards)
            for body in bodies:
                shard, number = self.engine.put("events", body.partition(":")[0], body.encode())
                self.put.append((shard, int(number), body))
            await asyncio.sleep(self.scenario.other)
            if other:
                self.function.give_place_back()
                other = False
            await asyncio.sleep(5)


SCENARIOS: dict[str, StreamScenario] = {
    "plain": StreamScenario(changes={"batch_size": 2}),
    "retried": StreamScenario(fails={"k:b": 2}, far=1, changes={"batch_size": 2, "backoff": (1, 2)}),
    "given up": StreamScenario(
        bodies=(("k:a", "k:bad", "l:c"), ("k:d",)), destination=2, changes={"retries": 1, "bisect": True}
    ),
    "lanes": StreamScenario(
        bodies=(("k:a", "l:b", "m:c", "k:d"), ("l:e",)), changes={"parallelization_factor": 2, "batch_size": 1}
    ),
    "throttled": StreamScenario(limit=1, other=4.0, shards=2, changes={"batch_size": 1}),
    "windows": StreamScenario(fails={"k:b": 1}, changes={"tumbling_window": 2}),
    "split": StreamScenario(shards=1, splits=True, changes={"discovery_interval": 10.0}),
    "filtered": StreamScenario(bodies=(("k:a", "s:skip", "k:c"), ("s:skip 2",)), changes={"window": 1}),
    "stored late": StreamScenario(store=range(1, 6)),
    "stored late in a shard": StreamScenario(store=range(2, 5)),
    "shards that wait for each other": StreamScenario(
        shards=3, at_once=1, fails={"l:c": 1}, changes={"discovery_interval": 1.0, "backoff": (1, 2)}
    ),
    "a listing that waits for reads": StreamScenario(
        shards=2, at_once=1, latency=0.3, changes={"discovery_interval": 1.0, "idle_interval": 0.01}
    ),
    "lanes that are stored at once": StreamScenario(
        bodies=(("k:a", "l:b", "m:c", "k:d"),),
        fails={"k:a": 1, "l:b": 1, "m:c": 1},
        changes={"parallelization_factor": 3, "batch_size": 1, "backoff": (1, 2)},
    ),
    "not described": StreamScenario(calls={"describe": ("LimitExceededException", 2)}),
    "doubted": StreamScenario(calls={"read": ("ResourceNotFoundException", 2)}),
    "windows that are read late": StreamScenario(
        calls={"read": ("ProvisionedThroughputExceededException", 6)}, changes={"tumbling_window": 2}
    ),
    "windows that end early": StreamScenario(
        bodies=(("k:a", "k:huge", "k:b"), ("k:huge 2", "k:c")),
        fails={"k:b": 1},
        changes={"tumbling_window": 60, "backoff": (1, 2)},
    ),
    "windows that end early by what is given up": StreamScenario(
        bodies=(("k:a", "k:huge", "k:bad"), ("k:b",)),
        destination=1,
        changes={"tumbling_window": 60, "age": 1, "backoff": (2, 4)},
    ),
    "far behind": StreamScenario(
        bodies=(("k:a", *(f"s:skip {n}" for n in range(80)), "k:b"),),
        saving=1.0,
        changes={"read_limit": 1, "least_interval": 0.001, "full_interval": 0.001},
    ),
    "vanished": StreamScenario(
        bodies=(("k:a", "k:b"), ("k:c",), ("k:d",), ("k:e",)),
        splits=True,
        retention=12.0,
        changes={"discovery_interval": 1.0},
    ),
    "far ahead": StreamScenario(
        bodies=([f"k:{n}:{'x' * 400_000}" for n in range(40)],), duration=2.0, changes={"batch_size": 5}
    ),
    "replaced": StreamScenario(replaced=True, changes={"discovery_interval": 3.0}),
    "stopped": StreamScenario(stops_at=0.15, duration=3.0, changes={"batch_size": 1, "parallelization_factor": 3}),
    "stopped while given up": StreamScenario(bodies=(("k:bad",),), destination=9, stops_at=2.0, changes={"retries": 0}),
    "halted": StreamScenario(halts_at=0.3, duration=3.0, changes={"batch_size": 1, "parallelization_factor": 3}),
    "many at once": StreamScenario(bodies=([f"k:{n}" for n in range(80)],), duration=0.0, changes={"batch_size": 1}),
}
