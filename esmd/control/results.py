"""What the last batch of each mapping came to: AWS's `LastProcessingResult` [specification D.3].

| last event of the mapping                       | result                           |
|--------------------------------------------------|----------------------------------|
| none yet                                         | `No records processed`           |
| a batch succeeded, or some of its records failed | `OK`                             |
| a batch failed                                   | `PROBLEM: Function call failed`  |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.observe.mapping_events import BatchEvent, BatchFailed, BatchPartial, BatchSucceeded

if TYPE_CHECKING:
    from esmd.observe.events import Event

NOTHING_YET = "No records processed"

_RESULTS: dict[type[Event], str] = {
    BatchSucceeded: "OK",
    BatchPartial: "OK",
    BatchFailed: "PROBLEM: Function call failed",
}


class LastResults:
    """A sink of events: one look at the kind of each, a note for each batch."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def takes(self, kind: type[Event]) -> bool:
        """See `Sink`."""
        return kind in _RESULTS

    def sink(self, event: Event) -> None:
        """Take one event; those of other kinds pass."""
        result = _RESULTS.get(type(event))
        if result is not None and isinstance(event, BatchEvent):
            self._last[event.mapping] = result

    def of(self, mapping: str) -> str:
        """The result of a mapping, by its name."""
        return self._last.get(mapping, NOTHING_YET)

    def forget(self, mapping: str) -> None:
        """A mapping is gone, or another one has its name now."""
        self._last.pop(mapping, None)
