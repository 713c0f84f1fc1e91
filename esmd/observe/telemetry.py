"""Where events go: components hold a `Telemetry` and call `emit`; sinks decide what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.observe.events import Event


class Telemetry(Protocol):
    """Takes events. Never raises, never blocks."""

    def emit(self, event: Event, /) -> None:
        """Take one event."""
        ...


class Broadcast:
    """A telemetry that hands every event to each of its sinks, in order."""

    def __init__(self, *sinks: Callable[[Event], None]) -> None:
        self._sinks = sinks

    def emit(self, event: Event, /) -> None:
        """Hand `event` to every sink."""
        for sink in self._sinks:
            sink(event)
