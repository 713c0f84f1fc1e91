"""The life of one mapping: its states, its healing, its end in every state."""

from __future__ import annotations

import asyncio
import math

import pytest

from esmd.invoke.protocol import StartFailed
from esmd.observe.daemon_events import InternalError
from esmd.observe.mapping_events import MappingDisabled, MappingRecovered, MappingUnavailable
from esmd.supervisor import Supervisor

from support.functions import function_of
from support.mapping_lab import BROKEN, Collector, ScriptedInvoker, mapping

pytestmark = pytest.mark.looptime


class Invoker(ScriptedInvoker):
    """Fails to start as long as `fails` says so; starting takes `takes` seconds."""

    def __init__(self) -> None:
        super().__init__(lambda records: None)
        self.fails: StartFailed | None = None
        self.takes = 0.0
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1
        await asyncio.sleep(self.takes)
        if self.fails is not None:
            raise self.fails


class Runner:
    """A runner that polls after `polls_in` seconds, breaks after `breaks_in`, and drains for `drains_for`."""

    def __init__(self, trouble, stop, *, polls_in=1.0, breaks_in=None, drains_for=1.0) -> None:
        self._trouble = trouble
        self._stop = stop
        self._polls_in = polls_in
        self._breaks_in = breaks_in
        self._drains_for = drains_for
        self.tried = asyncio.Event()
        self.quiet_since = 7.0
        self.in_flight = 0
        self.cancelled = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._polls_in, self._polled)
        try:
            if self._breaks_in is not None:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._break(self._breaks_in))
            await self._stop.wait()
            await asyncio.sleep(self._drains_for)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            timer.cancel()

    async def _break(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise LookupError("a defect")

    def _polled(self) -> None:
        self._trouble.passed(asyncio.get_running_loop().time())
        self.tried.set()


class Stage:
    """A supervisor and what it made. `plans` are the settings of the runners to come; then all is well."""

    def __init__(self) -> None:
        self.invoker = Invoker()
        self.collector = Collector()
        self.stop = asyncio.Event()
        self.plans: list[dict[str, float]] = []
        self.runners: list[Runner] = []
        self.supervisor = Supervisor(
            "orders",
            function=function_of(self.invoker),
            make_runner=self._make,  # type: ignore[arg-type]
            telemetry=self.collector,
            stop=self.stop,
        )

    def _make(self, trouble):
        runner = Runner(trouble, self.stop, **(self.plans.pop(0) if self.plans else {}))
        self.runners.append(runner)
        return runner

    def start(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.supervisor.run())
        return self.task

    def heard(self, kind):
        return [event for event in self.collector.said if isinstance(event, kind)]


async def test_a_mapping_goes_from_enabling_to_enabled_to_disabled():
    stage = Stage()
    supervisor = stage.supervisor
    assert (supervisor.state, supervisor.quiet_since) == ("enabling", math.inf)
    stage.start()
    await asyncio.sleep(0.5)
    assert (supervisor.state, supervisor.quiet_since) == ("enabling", math.inf)
    await asyncio.sleep(1)
    assert (supervisor.state, supervisor.quiet_since, supervisor.reason) == ("enabled", 7.0, None)
    assert supervisor.runner is stage.runners[0]
    stage.stop.set()
    await asyncio.sleep(0.5)
    assert supervisor.state == "disabling"
    await stage.task
    assert supervisor.state == "disabled"
    assert stage.collector.said == [MappingDisabled(mapping="orders", reason="stopping")]


async def test_a_function_that_fails_to_start_keeps_the_mapping_from_receiving_until_it_heals():
    stage = Stage()
    supervisor = stage.supervisor
    stage.invoker.fails = StartFailed("Runtime.ImportModuleError", "there is no module 'orders'")
    stage.start()
    await asyncio.sleep(10)
    assert (supervisor.state, supervisor.function_failed, supervisor.runner) == ("unavailable", True, None)
    assert supervisor.reason == "Runtime.ImportModuleError: there is no module 'orders'"
    assert supervisor.tried.is_set()
    assert supervisor.quiet_since < 1
    assert stage.runners == []
    assert 3 <= stage.invoker.starts <= 6
    stage.invoker.fails = None
    await asyncio.sleep(40)
    assert (supervisor.state, supervisor.function_failed, supervisor.reason) == ("enabled", False, None)
    [recovered] = stage.heard(MappingRecovered)
    assert recovered.failures >= 3
    stage.stop.set()
    await stage.task


async def test_a_runner_with_a_defect_is_said_and_started_again():
    stage = Stage()
    stage.plans = [{"breaks_in": 5.0}, {"breaks_in": 5.0}]
    stage.start()
    await asyncio.sleep(5.1)
    [defect] = stage.heard(InternalError)
    assert (defect.where, defect.error_type, defect.error_message) == ("mapping orders", "LookupError", "a defect")
    assert any("test_supervisor.py" in line for line in defect.stack)
    assert (stage.supervisor.state, stage.supervisor.runner) == ("unavailable", None)
    assert stage.supervisor.reason == "LookupError: internal error: a defect"
    assert stage.supervisor.quiet_since < 1
    await asyncio.sleep(30)
    assert len(stage.runners) == 3
    assert stage.supervisor.state == "enabled"
    assert len(stage.heard(InternalError)) == 2
    stage.stop.set()
    await stage.task


async def test_a_runner_that_breaks_before_it_polled_has_tried_all_the_same():
    stage = Stage()
    stage.plans = [{"breaks_in": 0.1}]
    stage.start()
    async with asyncio.timeout(1):
        await stage.supervisor.tried.wait()
    assert stage.supervisor.state == "unavailable"
    assert len(stage.heard(MappingUnavailable)) == 1
    stage.stop.set()
    await stage.task


async def test_defects_in_a_row_are_given_ever_more_time():
    stage = Stage()
    stage.plans = [{"breaks_in": 0.0, "polls_in": 1000.0}] * 100
    stage.start()
    await asyncio.sleep(300)
    assert 8 <= len(stage.runners) <= 22
    stage.stop.set()
    await stage.task


# --- stop at every state


@pytest.mark.parametrize(
    ("at", "settings", "ends_within"),
    [
        (0.0, {}, 1.0),
        (0.5, {"takes": 2.0}, 2.6),  # while the function loads: that is not interrupted
        (1.0, {"fails": StartFailed("X", "y")}, 0),  # while it waits to try again
        (20.0, {"fails": StartFailed("X", "y")}, 0),
        (0.5, {}, 1.0),  # while the runner polls for the first time
        (50.0, {}, 1.0),
    ],
)
async def test_stop_ends_it_in_any_state(at, settings, ends_within):
    stage = Stage()
    for name, value in settings.items():
        setattr(stage.invoker, name, value)
    stage.start()
    await asyncio.sleep(at)
    loop = asyncio.get_running_loop()
    stage.stop.set()
    asked = loop.time()
    await stage.task
    assert loop.time() - asked <= ends_within + 0.01
    assert stage.supervisor.state == "disabled"
    assert stage.heard(MappingDisabled) == [MappingDisabled(mapping="orders", reason="stopping")]


async def test_a_stop_before_the_start_starts_nothing():
    stage = Stage()
    stage.stop.set()
    await stage.start()
    assert (stage.invoker.starts, stage.runners) == (0, [])
    assert stage.supervisor.state == "disabled"


async def test_stop_while_a_broken_runner_waits_to_be_started_again():
    stage = Stage()
    stage.plans = [{"breaks_in": 0.0, "polls_in": 1000.0}] * 100
    stage.start()
    await asyncio.sleep(40)
    started = len(stage.runners)
    stage.stop.set()
    await asyncio.sleep(0.01)
    assert stage.task.done()
    assert len(stage.runners) == started


async def test_a_halt_reaches_the_runner_and_is_not_swallowed():
    stage = Stage()
    stage.start()
    await asyncio.sleep(5)
    stage.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stage.task
    assert stage.runners[0].cancelled
    assert stage.supervisor.state == "disabled"


# --- with the real runner


async def test_the_real_runner_is_supervised_and_its_source_trouble_is_not_the_functions():
    async with mapping(started=False) as lab:
        collector = Collector()
        supervisor = Supervisor(
            "orders", function=lab.function, make_runner=lambda _: lab.runner, telemetry=collector, stop=lab.stop
        )
        lab.api.fail["look_up"] = [BROKEN] * 3
        lab.send("a")
        lab.task = asyncio.create_task(supervisor.run())
        await supervisor.tried.wait()
        assert not supervisor.function_failed
        await asyncio.sleep(30)
        assert lab.invoker.bodies == [["a"]]
        assert supervisor.state == "enabled"
        await lab.drain()
        assert supervisor.state == "disabled"
