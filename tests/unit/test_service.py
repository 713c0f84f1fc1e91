"""What a service manager is told: over a real datagram socket, under virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from typing import TYPE_CHECKING, Self

import pytest

from esmd.observe import daemon_events as say
from esmd.observe.mapping_events import MappingDisabled, MappingRecovered, MappingUnavailable
from esmd.observe.service_events import ServiceUnheard
from esmd.service import ServiceManager

from support.mapping_lab import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.looptime

READY = say.DaemonReady(mappings=3, unavailable=0, disabled=0)


class Manager:
    """The other end of the socket."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def heard(self) -> list[dict[str, str]]:
        """The messages since the last time, each as its assignments."""
        found = []
        while True:
            try:
                text = self._socket.recv(65536).decode()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in text.split("\n")))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(str(tmp_path / "notify")) as manager:
        yield manager


def service(manager: Manager, **environ: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": manager.name, **environ})


def unavailable(mapping: str) -> MappingUnavailable:
    return MappingUnavailable(mapping=mapping, error_type="E", error_message="m", failures=1, retry_in_s=1.0)


async def test_the_life_of_a_daemon_is_told_step_by_step(manager):
    told = service(manager)
    async with told.attended(Collector()):
        told.sink(say.DaemonStarting(version="1", pid=1, files=(), endpoint="AWS", region=None))
        assert manager.heard() == [{"STATUS": "starting"}]
        told.sink(READY)
        assert manager.heard() == [{"READY": "1", "STATUS": "3 mappings run, 0 unavailable"}]
        told.sink(say.DaemonDraining(reason="SIGTERM", in_flight=2, pollers=1, grace_s=30.0))
        [draining] = manager.heard()
        assert draining == {
            "STOPPING": "1",
            "STATUS": "draining, 2 in flight (SIGTERM)",
            "EXTEND_TIMEOUT_USEC": "50000000",
        }
        told.sink(say.DaemonStopped(exit_code=75, uptime_s=1.0))
        assert manager.heard() == [{"STATUS": "stopped with exit code 75"}]


async def test_the_status_names_what_cannot_run_now(manager):
    told = service(manager)
    async with told.attended(Collector()):
        told.sink(unavailable("a"))
        assert manager.heard() == [], "not before it is ready"
        told.sink(say.DaemonReady(mappings=3, unavailable=1, disabled=0))
        told.sink(unavailable("b"))
        told.sink(unavailable("b"))
        told.sink(MappingRecovered(mapping="a", failures=1, unavailable_s=1.0))
        told.sink(MappingDisabled(mapping="b", reason="stopping"))
        assert [each["STATUS"] for each in manager.heard()] == [
            "2 mappings run, 1 unavailable (a)",
            "1 mappings run, 2 unavailable (a, b)",
            "2 mappings run, 1 unavailable (b)",
            "3 mappings run, 0 unavailable",
        ]


async def test_several_processes_say_a_number_only(manager):
    told = service(manager)
    async with told.attended(Collector()):
        told.sink(say.DaemonReady(mappings=3, unavailable=2, disabled=0))
        assert [each["STATUS"] for each in manager.heard()] == ["1 mappings run, 2 unavailable"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_reload_begins_with_the_clock_and_ends_with_ready_whatever_comes_of_it(manager, fails):
    during: list[dict[str, str]] = []

    async def reload() -> str:
        during.extend(manager.heard())
        if fails:
            raise ValueError("a bad file")
        return "reloaded"

    told = service(manager)
    async with told.attended(Collector()):
        with pytest.raises(ValueError, match="a bad file") if fails else contextlib.nullcontext():
            assert await told.telling(reload)() == "reloaded"
        ended = manager.heard()
    [began] = during
    assert began["RELOADING"] == "1"
    assert int(began["MONOTONIC_USEC"]) > 0
    assert ended == [{"READY": "1", "STATUS": "running"}]


async def test_a_sign_of_life_comes_at_half_of_the_watchdogs_period(manager):
    told = service(manager, WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
    assert told.watchdog_period == 5.0
    async with told.attended(Collector()):
        await asyncio.sleep(12)
        assert manager.heard() == [{"WATCHDOG": "1"}] * 3
    await asyncio.sleep(12)
    assert manager.heard() == [], "nobody feeds it after the end"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "²"},
        {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
    ],
)
async def test_nobody_is_fed_who_does_not_wait_for_this_process(manager, environ):
    told = service(manager, **environ)
    assert told.watchdog_period is None
    async with told.attended(Collector()):
        await asyncio.sleep(60)
    assert manager.heard() == []


async def answer() -> int:
    return 7


async def test_without_a_manager_nothing_is_sent_and_nobody_is_fed():
    told = ServiceManager({"WATCHDOG_USEC": "10000000"})
    said = Collector()
    assert not told.present
    assert told.watchdog_period is None
    async with told.attended(said):
        told.sink(READY)
        assert await told.telling(answer)() == 7
    assert said.said == []


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names exist on Linux only")
async def test_an_abstract_name_begins_with_an_at():
    with Manager(f"@esmd-test-{secrets.token_hex(8)}") as manager:
        told = service(manager)
        async with told.attended(Collector()):
            told.sink(READY)
        assert [each["READY"] for each in manager.heard()] == ["1"]


@pytest.mark.parametrize("name", ["/no/such/socket", "vsock:2:1234"])
async def test_a_manager_that_cannot_be_reached_is_said_once_and_holds_nothing_up(name):
    told = ServiceManager({"NOTIFY_SOCKET": name})
    said = Collector()
    async with told.attended(said):
        told.sink(READY)
        told.sink(say.DaemonDraining(reason="SIGTERM", in_flight=0, pollers=0, grace_s=float("inf")))
    [event] = said.said
    assert isinstance(event, ServiceUnheard)
    assert event.socket == name


async def test_a_line_end_in_a_text_begins_no_other_assignment(manager):
    told = service(manager)
    async with told.attended(Collector()):
        told.sink(READY)
        told.sink(unavailable("a\nWATCHDOG=trigger"))
        assert [set(each) for each in manager.heard()] == [{"READY", "STATUS"}, {"STATUS"}]
