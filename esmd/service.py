"""Tells a service manager such as systemd how the daemon is, as sd_notify(3) has it.

| what happens                              | what is sent                                                        |
|-------------------------------------------|---------------------------------------------------------------------|
| `daemon.starting`                         | `STATUS`                                                            |
| `daemon.ready`                            | `READY=1`, `STATUS`                                                 |
| a mapping becomes unavailable, or not     | `STATUS`, once the daemon is ready                                  |
| a reload begins                           | `RELOADING=1`, `MONOTONIC_USEC`, `STATUS`                           |
| it is over, whatever came of it           | `READY=1`, `STATUS`                                                 |
| `daemon.draining`                         | `STOPPING=1`, `STATUS`, `EXTEND_TIMEOUT_USEC` for the grace period  |
| `daemon.stopped`                          | `STATUS`                                                            |
| half of `WATCHDOG_USEC` has passed        | `WATCHDOG=1`, from the loop: one that hangs says nothing             |

Without `NOTIFY_SOCKET` nothing is sent. The socket is a Unix datagram socket: a path, or an abstract name after `@`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from esmd.observe import daemon_events as say
from esmd.observe.mapping_events import MappingDisabled, MappingRecovered, MappingUnavailable
from esmd.observe.service_events import ServiceUnheard
from esmd.tasks import Lasting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from esmd.observe.events import Event
    from esmd.observe.telemetry import Telemetry

T = TypeVar("T")

_AFTER_GRACE = 20.0
"""Seconds beyond the grace period that the end of a daemon may take: killed handlers have to let go."""

_HEARD = (
    say.DaemonStarting,
    say.DaemonReady,
    say.DaemonDraining,
    say.DaemonStopped,
    MappingUnavailable,
    MappingRecovered,
    MappingDisabled,
)
"""The events of the module's table."""


class ServiceManager:
    """Speaks to the service manager of this process, if it has one.

    Args:
        environ: holds `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, where there is a manager.
        pid: of this process; a watchdog that is meant for another one is not fed.
    """

    def __init__(self, environ: Mapping[str, str], *, pid: int | None = None) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog = _watchdog_seconds(environ, os.getpid() if pid is None else pid) if self._address else None
        self._socket: socket.socket | None = None
        self._telemetry: Telemetry | None = None
        self._unheard = False
        self._ready: say.DaemonReady | None = None
        self._unavailable: set[str] = set()
        # A daemon of several processes tells of its mappings in the log only, and of their number when it is ready.
        self._named = False

    @property
    def present(self) -> bool:
        """Whether there is a manager to be told."""
        return bool(self._address)

    @property
    def watchdog_period(self) -> float | None:
        """Seconds between two signs of life; None where nobody waits for them."""
        return self._watchdog and self._watchdog / 2

    @contextlib.asynccontextmanager
    async def attended(self, telemetry: Telemetry) -> AsyncIterator[None]:
        """Give signs of life while inside; `telemetry` hears it if nobody takes them."""
        self._telemetry = telemetry
        feeding = None if self.watchdog_period is None else Lasting(partial(self._feed, self.watchdog_period))
        try:
            yield
        finally:
            try:
                if feeding is not None:
                    feeding.cancel()
                    await asyncio.wait([feeding.ended])
            finally:
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None

    def takes(self, kind: type[Event]) -> bool:
        """See `Sink`."""
        return self.present and issubclass(kind, _HEARD)

    def sink(self, event: Event) -> None:
        """Listen to the daemon's events, by the module's table."""
        if not self._address:
            return
        match event:
            case say.DaemonStarting():
                self._send(STATUS="starting")
            case say.DaemonReady():
                self._ready = event
                self._send(READY="1", STATUS=self._state())
            case MappingUnavailable() | MappingRecovered() | MappingDisabled():
                self._mapping_changed(event)
            case say.DaemonDraining():
                self._ready = None
                extend = (
                    {} if math.isinf(event.grace_s) else {"EXTEND_TIMEOUT_USEC": _usec(event.grace_s + _AFTER_GRACE)}
                )
                self._send(STOPPING="1", STATUS=f"draining, {event.in_flight} in flight ({event.reason})", **extend)
            case say.DaemonStopped():
                self._send(STATUS=f"stopped with exit code {event.exit_code}")
            case _:
                pass

    def telling(self, reload: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """`reload`, with the manager told when it begins and when it is over, whatever comes of it."""

        async def told() -> T:
            now = time.clock_gettime(time.CLOCK_MONOTONIC)
            self._send(RELOADING="1", MONOTONIC_USEC=_usec(now), STATUS="loading the configuration anew")
            try:
                return await reload()
            finally:
                self._send(READY="1", STATUS=self._state())

        return told

    def _mapping_changed(self, event: MappingUnavailable | MappingRecovered | MappingDisabled) -> None:
        before = len(self._unavailable)
        if isinstance(event, MappingUnavailable):
            self._named = True
            self._unavailable.add(event.mapping)
        else:
            self._unavailable.discard(event.mapping)
        if self._ready is not None and len(self._unavailable) != before:
            self._send(STATUS=self._state())

    def _state(self) -> str:
        if self._ready is None:
            return "running"
        unavailable = len(self._unavailable) if self._named else self._ready.unavailable
        names = f" ({', '.join(sorted(self._unavailable))})" if self._unavailable else ""
        return f"{self._ready.mappings - unavailable} mappings run, {unavailable} unavailable{names[:200]}"

    async def _feed(self, period: float) -> None:
        while True:
            self._send(WATCHDOG="1")
            await asyncio.sleep(period)

    def _send(self, **assignments: str) -> None:
        """Send, or say once that nobody takes it; never waits."""
        if not self._address:
            return
        # A line end in a value would begin another assignment.
        lines = [f"{name}={value.encode('unicode_escape').decode()}" for name, value in assignments.items()]
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.sendto("\n".join(lines).encode(), _address(self._address))
        except OSError as error:
            if not self._unheard and self._telemetry is not None:
                self._unheard = True
                self._telemetry.emit(ServiceUnheard(socket=self._address, error_message=error.strerror or str(error)))


def _address(text: str) -> str:
    """The address of a socket by its name in the environment."""
    if text.startswith("@"):
        return f"\0{text[1:]}"
    if text.startswith("/"):
        return text
    raise OSError(None, "neither a path nor an abstract name")


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """How long the manager waits for a sign of life of this process; None for ever."""
    for_whom, text = environ.get("WATCHDOG_PID"), environ.get("WATCHDOG_USEC", "")
    if not text.isascii() or not text.isdigit() or int(text) == 0 or for_whom not in (None, "", str(pid)):
        return None
    return int(text) / 1_000_000


def _usec(seconds: float) -> str:
    return str(round(seconds * 1_000_000))
