"""The daemon from start to exit code, over mappings that do as they are told, under virtual time."""

from __future__ import annotations

import asyncio
import math
import signal
from dataclasses import dataclass, field
from typing import Any

import pytest

from esmd.cli.exits import Exit
from esmd.control.slot import Plan, Slot
from esmd.control.slots import Slots
from esmd.daemon import About, Daemon, DaemonOptions
from esmd.function import FunctionCounts
from esmd.observe import daemon_events as say
from esmd.observe.events import FunctionStats
from esmd.observe.mapping_events import MappingDisabled, MappingStats, RecordsReceived
from esmd.observe.statistics import Statistics
from esmd.observe.telemetry import Broadcast
from esmd.shutdown import Shutdown

from support.mapping_lab import Collector

pytestmark = pytest.mark.looptime


@dataclass
class Runner:
    """What the daemon asks of a mapping at work."""

    in_flight: int = 0
    pollers: int = 1
    concurrency: int = 5


@dataclass
class Mapping:
    """A supervisor: `tries_for` seconds to its first try, `drains_for` from stop to end."""

    name: str
    tries_for: float = 1.0
    drains_for: float = 1.0
    cancels_for: float = 0.0
    breaks_at: float | None = None
    state: str = "enabled"
    reason: str | None = None
    function_failed: bool = False
    quiet_since: float = math.inf
    runner: Runner | None = field(default_factory=Runner)
    cancelled: int = 0
    is_stream: bool = False

    def __post_init__(self) -> None:
        self.tried = asyncio.Event()
        self.stop = asyncio.Event()
        self.stops_because = "stopping"

    def made(self, stop: asyncio.Event) -> Mapping:
        self.stop = stop
        return self

    async def run(self) -> None:
        try:
            await asyncio.wait({asyncio.create_task(self._run())})
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(self.cancels_for)
            raise
        if self.breaks_at is not None:
            raise RuntimeError("broken")

    async def _run(self) -> None:
        if self.breaks_at is not None:
            await asyncio.sleep(self.breaks_at)
            return
        trying = asyncio.create_task(self._try())
        await self.stop.wait()
        await asyncio.sleep(self.drains_for)
        trying.cancel()

    async def _try(self) -> None:
        await asyncio.sleep(self.tries_for)
        self.tried.set()


class Function:
    """What the daemon asks of a function."""

    name = "process"
    limit = 64

    def __init__(self) -> None:
        self.closed = 0
        self.counts = FunctionCounts()

    def take_counts(self) -> FunctionCounts:
        counts, self.counts = self.counts, FunctionCounts()
        return counts

    async def close(self) -> None:
        self.closed += 1


class Stage:
    """A daemon on its way, and what it said."""

    def __init__(self) -> None:
        self.shutdown = Shutdown()
        self.collector = Collector()
        self.statistics = Statistics()
        self.function = Function()
        self.mappings: list[Mapping] = []
        self.disabled: list[str] = []
        self.loop = asyncio.get_running_loop()
        self.closed = 0

    def mapping(self, name: str = "orders", **settings: Any) -> Mapping:
        made = Mapping(name, **settings)
        self.mappings.append(made)
        return made

    def start(self, **options: Any) -> asyncio.Task[Exit]:
        chosen = {"grace": 30.0, "exit_when_idle": None, "fail_fast": False, "stats_period": 60.0} | options
        self.telemetry = Broadcast(self.collector.emit, self.statistics)
        slots = Slots(telemetry=self.telemetry, shutdown=self.shutdown)
        for mapping in self.mappings:
            slots.add(Slot(mapping.name, plan=Plan(make=mapping.made), held=None, telemetry=self.telemetry))
        for name in self.disabled:
            plan = Plan(make=lambda _: None)
            slots.add(Slot(name, plan=plan, held="configuration", telemetry=self.telemetry))
        daemon = Daemon(
            slots=slots,
            close=self.close,
            functions={"process": self.function},  # type: ignore[dict-item]
            about=About(files=("esmd.yaml",), endpoint="http://127.0.0.1:4566", region="us-east-1"),
            options=DaemonOptions(**chosen),
            telemetry=self.telemetry,
            statistics=self.statistics,
            shutdown=self.shutdown,
        )
        return asyncio.create_task(daemon.run())

    async def close(self) -> None:
        self.closed += 1

    def later(self, seconds: float, number: signal.Signals) -> None:
        self.loop.call_later(seconds, self.shutdown.received, number)

    def heard(self, kind: type) -> list[Any]:
        return [event for event in self.collector.said if isinstance(event, kind)]

    @property
    def story(self) -> list[str]:
        return [event.name for event in self.collector.said if event.name.startswith("daemon.")]


@pytest.fixture
async def stage() -> Stage:
    return Stage()


# --- the plain life


async def test_it_starts_says_it_is_ready_drains_and_stops_with_0(stage):
    stage.mapping()
    stage.later(10, signal.SIGTERM)
    assert await stage.start() == Exit.OK
    assert stage.story == ["daemon.starting", "daemon.ready", "daemon.draining", "daemon.stopped"]
    [starting] = stage.heard(say.DaemonStarting)
    assert (starting.files, starting.endpoint, starting.region) == (
        ("esmd.yaml",),
        "http://127.0.0.1:4566",
        "us-east-1",
    )
    [draining] = stage.heard(say.DaemonDraining)
    assert (draining.reason, draining.pollers, draining.grace_s) == ("SIGTERM", 1, 30.0)
    [stopped] = stage.heard(say.DaemonStopped)
    assert (stopped.exit_code, stopped.uptime_s) == (0, pytest.approx(11))
    assert stage.function.closed == 1
    assert stage.mappings[0].cancelled == 0


async def test_ready_waits_for_the_slowest_mapping_and_counts_who_cannot_run(stage):
    stage.mapping("quick")
    stage.mapping("slow", tries_for=20.0)
    stage.mapping("broken", state="unavailable", reason="NoQueue: gone")
    stage.disabled = ["off"]
    running = stage.start()
    await asyncio.sleep(19)
    assert stage.story == ["daemon.starting"]
    await asyncio.sleep(2)
    [ready] = stage.heard(say.DaemonReady)
    assert (ready.mappings, ready.unavailable, ready.disabled) == (3, 1, 1)
    stage.shutdown.request("done")
    assert await running == Exit.OK


async def test_disabled_mappings_are_said(stage):
    stage.disabled = ["off"]
    stage.later(1, signal.SIGINT)
    await stage.start()
    assert stage.heard(MappingDisabled) == [MappingDisabled(mapping="off", reason="configuration")]


async def test_without_any_enabled_mapping_it_is_ready_and_waits_for_its_stop(stage):
    stage.later(100, signal.SIGTERM)
    assert await stage.start() == Exit.OK
    assert stage.story[1] == "daemon.ready"
    assert stage.heard(say.DaemonStopped)[0].uptime_s == pytest.approx(100)


async def test_a_stop_before_ready_drains_without_saying_ready(stage):
    stage.mapping(tries_for=1000)
    stage.later(1, signal.SIGTERM)
    assert await stage.start() == Exit.OK
    assert stage.story == ["daemon.starting", "daemon.draining", "daemon.stopped"]


async def test_a_stop_asked_for_before_the_start_is_obeyed(stage):
    stage.mapping()
    stage.shutdown.received(signal.SIGTERM)
    assert await stage.start() == Exit.OK
    assert stage.heard(say.DaemonStopped)[0].uptime_s == pytest.approx(1)


# --- fail-fast


@pytest.mark.parametrize(
    ("mappings", "code"),
    [
        ([{}], None),
        ([{"state": "unavailable"}], Exit.UNAVAILABLE),
        ([{"state": "unavailable", "function_failed": True}], Exit.FAILED),
        ([{"state": "unavailable", "function_failed": True}, {"state": "unavailable"}], Exit.UNAVAILABLE),
        ([{}, {"state": "unavailable", "function_failed": True}], Exit.FAILED),
    ],
)
async def test_fail_fast_ends_with_the_reason_why_a_mapping_cannot_run(stage, mappings, code):
    for number, settings in enumerate(mappings):
        stage.mapping(str(number), **settings)
    stage.later(100, signal.SIGTERM)
    assert await stage.start(fail_fast=True) == (Exit.OK if code is None else code)
    assert stage.heard(say.DaemonDraining)[0].reason == ("SIGTERM" if code is None else "fail-fast")


async def test_without_fail_fast_a_mapping_that_cannot_run_is_no_reason_to_end(stage):
    stage.mapping(state="unavailable", reason="NoQueue: gone")
    stage.later(100, signal.SIGTERM)
    assert await stage.start() == Exit.OK
    assert stage.heard(say.DaemonStopped)[0].uptime_s > 100


# --- idleness


async def test_it_ends_once_every_mapping_was_quiet_for_the_period(stage):
    stage.mapping("early", quiet_since=3.0)
    late = stage.mapping("late")
    stage.loop.call_later(40, setattr, late, "quiet_since", 40.0)
    started = stage.loop.time()
    assert await stage.start(exit_when_idle=5.0) == Exit.OK
    assert stage.heard(say.DaemonDraining)[0].reason == "idle"
    # 40 + 5, seen within another period, and a second of draining
    assert 46 <= stage.loop.time() - started <= 51.1


async def test_a_message_that_will_come_back_keeps_it_waiting(stage):
    mapping = stage.mapping(quiet_since=0.0)
    mapping.quiet_since = stage.loop.time() + 300  # when the failed message is visible again
    await stage.start(exit_when_idle=5.0)
    assert stage.heard(say.DaemonStopped)[0].uptime_s >= 305


async def test_idle_with_a_mapping_that_cannot_run_is_no_success(stage):
    stage.mapping(state="unavailable", reason="NoQueue: gone", quiet_since=0.0)
    assert await stage.start(exit_when_idle=5.0) == Exit.FAILED


async def test_without_mappings_it_is_idle_from_the_start(stage):
    assert await stage.start(exit_when_idle=5.0) == Exit.OK
    assert stage.heard(say.DaemonStopped)[0].uptime_s == pytest.approx(5, abs=0.2)


async def test_a_period_of_nothing_does_not_spin(stage):
    looks = 0

    class Busy(Mapping):
        @property
        def quiet_since(self):
            nonlocal looks
            looks += 1
            return math.inf

        @quiet_since.setter
        def quiet_since(self, _):
            pass

    stage.mappings.append(Busy("busy"))
    stage.later(10, signal.SIGTERM)
    await stage.start(exit_when_idle=0.0)
    assert looks <= 120


# --- cut short


async def test_the_end_of_the_grace_period_cuts_the_drain_short_with_75(stage):
    stage.mapping(drains_for=1000, runner=Runner(in_flight=3))
    stage.later(10, signal.SIGTERM)
    assert await stage.start(grace=20) == Exit.CUT_SHORT
    [cut] = stage.heard(say.DaemonCutShort)
    assert (cut.reason, cut.in_flight) == ("grace period over", 3)
    assert stage.heard(say.DaemonStopped)[0].uptime_s == pytest.approx(30)
    assert stage.mappings[0].cancelled >= 1
    assert stage.function.closed == 1


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGINT, signal.SIGINT, Exit.INTERRUPTED),
        (signal.SIGTERM, signal.SIGINT, Exit.INTERRUPTED),
        (signal.SIGTERM, signal.SIGTERM, Exit.CUT_SHORT),
        (signal.SIGINT, signal.SIGTERM, Exit.CUT_SHORT),
    ],
)
async def test_a_second_signal_ends_the_drain_at_once(stage, first, second, code):
    stage.mapping(drains_for=1000)
    stage.later(10, first)
    stage.later(12, second)
    assert await stage.start(grace=500) == code
    assert stage.heard(say.DaemonCutShort)[0].reason == "second signal"
    assert stage.heard(say.DaemonStopped)[0].uptime_s == pytest.approx(12)


async def test_a_drain_that_ends_in_time_is_not_cut_short(stage):
    stage.mapping(drains_for=19)
    stage.later(1, signal.SIGTERM)
    assert await stage.start(grace=20) == Exit.OK
    assert stage.heard(say.DaemonCutShort) == []


async def test_a_second_signal_before_ready_ends_it_too(stage):
    stage.mapping(tries_for=1000, drains_for=1000)
    stage.later(1, signal.SIGINT)
    stage.later(2, signal.SIGINT)
    assert await stage.start() == Exit.INTERRUPTED


async def test_halted_mappings_are_given_time_to_let_go(stage):
    stage.mapping(drains_for=1000, cancels_for=3.0)
    stage.later(1, signal.SIGTERM)
    assert await stage.start(grace=1) == Exit.CUT_SHORT
    assert stage.heard(say.DaemonStopped)[0].uptime_s == pytest.approx(5)


# --- defects


async def test_a_supervisor_that_breaks_is_said_and_takes_the_daemon_down_in_order(stage):
    other = stage.mapping("other", quiet_since=0.0)
    stage.mapping("bad", breaks_at=10.0, tries_for=1.0)
    assert await stage.start() == Exit.FAILED
    [defect] = stage.heard(say.InternalError)
    assert (defect.where, defect.error_type, defect.error_message) == ("mapping bad", "RuntimeError", "broken")
    assert any("test_daemon.py" in line for line in defect.stack)
    assert stage.heard(say.DaemonDraining)[0].reason == "internal error"
    assert other.cancelled == 0
    assert stage.function.closed == 1


async def test_a_daemon_that_is_cancelled_takes_its_mappings_and_functions_with_it(stage):
    mapping = stage.mapping()
    running = stage.start()
    await asyncio.sleep(5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert mapping.cancelled == 1
    assert stage.function.closed == 1


# --- statistics


async def test_statistics_are_said_of_mappings_that_moved_and_at_the_end_once_more(stage):
    stage.mapping("busy", runner=Runner(in_flight=2, pollers=3, concurrency=7))
    stage.mapping("quiet", runner=Runner(in_flight=0))
    stage.mapping("without", runner=None)
    running = stage.start(stats_period=60.0)
    for minute in range(2):
        await asyncio.sleep(30)
        stage.telemetry.emit(RecordsReceived(mapping="busy", records=10 + minute))
        await asyncio.sleep(31)
    first, second = stage.heard(MappingStats)
    assert (first.mapping, first.received, first.period_s) == ("busy", 10, pytest.approx(60))
    assert (first.in_flight, first.pollers, first.concurrency, first.available) == (2, 3, 7, True)
    assert second.received == 11
    stage.telemetry.emit(RecordsReceived(mapping="quiet", records=1))
    stage.shutdown.request("done")
    await running
    last = {event.mapping: event for event in stage.heard(MappingStats)[2:]}
    assert last["quiet"].received == 1
    assert (last["quiet"].pollers, last["quiet"].concurrency) == (0, 0)
    assert "without" not in last


async def test_statistics_say_when_a_mapping_is_not_available(stage):
    stage.mapping("busy", runner=Runner(in_flight=1), reason="NoQueue: gone")
    stage.later(100, signal.SIGTERM)
    await stage.start()
    assert [event.available for event in stage.heard(MappingStats)] == [False, False]


async def test_a_function_says_what_it_did_in_a_period_and_nothing_if_it_did_nothing(stage):
    stage.mapping()
    running = stage.start(stats_period=10)
    await asyncio.sleep(15)
    stage.function.counts = FunctionCounts(
        invocations=4, errors=1, throttles=2, duration_sum=10.0, duration_max=6.0, concurrency_max=3
    )
    await asyncio.sleep(10)
    stage.function.counts = FunctionCounts(throttles=1)
    stage.later(0, signal.SIGTERM)
    await running
    common = {"function": "process", "limit": 64}
    first, last = stage.heard(FunctionStats)
    assert first == FunctionStats(
        period_s=pytest.approx(10),
        invocations=4,
        errors=1,
        throttles=2,
        duration_avg_ms=2.5,
        duration_max_ms=6.0,
        concurrency_max=3,
        **common,
    )
    assert (last.invocations, last.throttles, last.duration_avg_ms, last.duration_max_ms) == (0, 1, None, None)
