"""Where events go: components hold a `Telemetry` and call `emit`; sinks decide what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.observe.events import Event


class Telemetry(Protocol):
    """Takes events. Never raises, never blocks."""

    def emit(self, event: Event, /) -> None:
        """Take one event."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Takes some kinds of events."""

    def takes(self, kind: type[Event], /) -> bool:
        """Whether it does anything with events of this kind; always the same, so it is asked but once."""
        ...

    def sink(self, event: Event, /) -> None:
        """Take one event; it may be of a kind that it does nothing with."""
        ...


class Broadcast:
    """A telemetry that hands every event to each of its sinks, in order; a `Sink` only gets what it takes.

    Every batch has its events, and most sinks want few kinds of them: who takes a kind is found out once.
    """

    def __init__(self, *sinks: Sink | Callable[[Event], None]) -> None:
        self._sinks = sinks
        self._takers: dict[type[Event], tuple[Callable[[Event], None], ...]] = {}

    def emit(self, event: Event, /) -> None:
        """Hand `event` to every sink that takes it."""
        kind = type(event)
        takers = self._takers.get(kind)
        if takers is None:
            takers = self._takers[kind] = self._ask(kind)
        for take in takers:
            take(event)

    def _ask(self, kind: type[Event]) -> tuple[Callable[[Event], None], ...]:
        takers: list[Callable[[Event], None]] = []
        for each in self._sinks:
            if not isinstance(each, Sink):
                takers.append(each)
            elif each.takes(kind):
                takers.append(each.sink)
        return tuple(takers)
