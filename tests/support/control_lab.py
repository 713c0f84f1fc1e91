"""A live set of mappings over supervisors that do as they are told, for virtual time; it watches what must never happen."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esmd.config.loader import Loaded
from esmd.config.schema import Config, PythonFunction, SqsMapping
from esmd.control.mapping_set import MappingSet
from esmd.control.results import LastResults
from esmd.control.slots import Slots
from esmd.observe.telemetry import Broadcast
from esmd.shutdown import Shutdown
from esmd.state.memory import MemoryStateStore

from support.mapping_lab import Collector

if TYPE_CHECKING:
    from collections.abc import Collection

    from esmd.config.report import Diagnostic
    from esmd.config.schema import AnyMapping


def function(**settings: Any) -> PythonFunction:
    return PythonFunction.model_validate({"handler": "m.f", "directory": Path("/code"), **settings})


def mapping(name: str, function_name: str = "f", *, queue: str | None = None, **settings: Any) -> SqsMapping:
    arn = f"arn:aws:sqs:us-east-1:000000000000:{queue or name}"
    return SqsMapping(name=name, event_source_arn=arn, function_name=function_name, **settings)


def config(*mappings: SqsMapping, functions: dict[str, PythonFunction] | None = None, **sections: Any) -> Config:
    return Config(
        functions=functions if functions is not None else {"f": function(), "g": function()},
        mappings={each.name: each for each in mappings},
        file_of={each.name: Path("/etc/esmd.yaml") for each in mappings},
        files=(Path("/etc/esmd.yaml"),),
        **sections,
    )


@dataclass
class FakeFunction:
    """A function that knows who runs it."""

    name: str
    settings: Any
    users: set[str] = field(default_factory=set)
    closed: bool = False

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.name}"

    async def close(self) -> None:
        assert not self.users, f"{self.name} is closed while {self.users} run"
        self.closed = True


class FakeSupervisor:
    """Tries for a second, drains for as long as the lab says."""

    def __init__(
        self, lab: ControlLab, mapping: AnyMapping, used: FakeFunction | None, stop: asyncio.Event, refusal: str | None
    ) -> None:
        self.name = mapping.name
        self.mapping = mapping
        self.reason = refusal
        self.state = "enabled" if refusal is None else "unavailable"
        self.function_failed = refusal is not None
        self.is_stream = False
        self.quiet_since = lab.quiet_since
        self.stops_because = "stopping"
        self.runner = None
        self.tried = asyncio.Event()
        self._lab = lab
        self._function = used
        self._stop = stop

    async def run(self) -> None:
        lab = self._lab
        assert self.name not in lab.running, f"{self.name} runs twice"
        lab.running[self.name] = self
        lab.runs.append(self.name)
        if self._function is not None:
            assert not self._function.closed
            self._function.users.add(self.name)
        trying = asyncio.get_running_loop().call_later(lab.tries_for, self.tried.set)
        try:
            await self._stop.wait()
            await asyncio.sleep(lab.drains_for)
        finally:
            trying.cancel()
            del lab.running[self.name]
            if self._function is not None:
                self._function.users.discard(self.name)
            lab.ended.append((self.name, self.stops_because))


class FakeWorkshop:
    """Makes them."""

    def __init__(self, lab: ControlLab, config: Config) -> None:
        self._lab = lab
        self._config = config
        self.make: type[FakeFunction] = FakeFunction
        self.functions: dict[str, FakeFunction] = {}
        self.every: list[FakeFunction] = []

    def function(self, name: str) -> FakeFunction:
        return self._function(name)

    def arn_of(self, name: str) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"

    def supervisor(self, mapping: AnyMapping, stop: asyncio.Event, *, refusal: str | None) -> FakeSupervisor:
        used = None if refusal is not None else self._function(mapping.function_name)
        return FakeSupervisor(self._lab, mapping, used, stop, refusal)

    def take(self, config: Config, stale: Collection[str]) -> list[FakeFunction]:
        self._config = config
        return [self.functions.pop(name) for name in stale if name in self.functions]

    def _function(self, name: str) -> FakeFunction:
        if name not in self.functions:
            self.functions[name] = self.make(name, self._config.functions[name])
            self.every.append(self.functions[name])
        return self.functions[name]


class ControlLab:
    """A set, begun. `next` is what the files say when they are read next: a configuration, or what is wrong with it."""

    def __init__(self, config: Config, *, store: Any = None, only: frozenset[str] = frozenset()) -> None:
        self.tries_for = 1.0
        self.drains_for = 5.0
        self.permits_in = 0.0
        self.quiet_since = math.inf
        self.running: dict[str, FakeSupervisor] = {}
        self.runs: list[str] = []
        self.ended: list[tuple[str, str]] = []
        self.next: Config | list[Diagnostic] = config
        self.forbidden: Exception | None = None
        self.collector = Collector()
        self.results = LastResults()
        self.telemetry = Broadcast(self.collector.emit, self.results)
        self.shutdown = Shutdown()
        self.store = store if store is not None else MemoryStateStore()
        self.slots = Slots(telemetry=self.telemetry, shutdown=self.shutdown)
        self.workshop = FakeWorkshop(self, config)
        self.now = 1000.0
        self.set = MappingSet(
            config,
            only=only,
            workshop=self.workshop,  # type: ignore[arg-type]
            slots=self.slots,
            registry=self.store,
            results=self.results,
            telemetry=self.telemetry,
            read=self._read,
            permit=self._permit,
            wall=lambda: self.now,
        )

    async def begin(self) -> ControlLab:
        await self.set.begin()
        self.slots.start()
        await self.slots.settled()
        return self

    async def end(self) -> None:
        """Stop as the daemon does."""
        self.slots.stop()
        await asyncio.gather(*self.slots.tasks)
        await self.set.close()
        assert not self.slots.broken
        assert self.running == {}

    def states(self) -> dict[str, str]:
        return {entry.name: entry.state for entry in self.set.entries()}

    def said(self, name: str) -> list[Any]:
        return [event for event in self.collector.said if event.name == name]

    async def _read(self) -> Loaded:
        await asyncio.sleep(0.01)
        if isinstance(self.next, Config):
            return Loaded(self.next, ())
        return Loaded(None, tuple(self.next))

    async def _permit(self, config: Config) -> None:
        await asyncio.sleep(self.permits_in)
        if self.forbidden is not None:
            raise self.forbidden
