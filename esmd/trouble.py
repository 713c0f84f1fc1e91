"""A mapping's trouble: how long it waits before it tries again, and how often it says so.

| attempt                         | waits until the next     | says                                        |
|---------------------------------|--------------------------|---------------------------------------------|
| a first failure that may pass   | up to half a second      | `poll.failed` (debug)                       |
| the second in a row, or a first that will not pass by itself | doubling, up to `maximum` | `mapping.unavailable` |
| the same reason again           | doubling, up to `maximum` | again at the 4th, 8th, 16th, ... failure    |
| another reason                  | doubling, up to `maximum` | `mapping.unavailable`                       |
| success                         | -                        | `mapping.recovered`, if unavailable was said |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.mappings.backoff import delay
from esmd.observe.mapping_events import MappingRecovered, MappingUnavailable, PollFailed

if TYPE_CHECKING:
    from esmd.observe.telemetry import Telemetry

INITIAL = 0.5
MAXIMUM = 30.0


class Trouble:
    """Counts failures in a row for one mapping. `now` is the loop's time."""

    def __init__(self, mapping: str, telemetry: Telemetry) -> None:
        self._mapping = mapping
        self._telemetry = telemetry
        self._failures = 0
        self._since = 0.0
        self._said: tuple[str, str] | None = None
        self.retry_at = 0.0
        """Nothing is to be tried before this time."""

    @property
    def exists(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    @property
    def unavailable(self) -> bool:
        """Whether the mapping has said that it cannot run."""
        return self._said is not None

    @property
    def reason(self) -> str | None:
        """Why it cannot run, for a person."""
        return None if self._said is None else f"{self._said[0]}: {self._said[1]}"

    def failed(self, error_type: str, message: str, now: float, *, passing: bool) -> None:
        """An attempt failed. `passing` says that such errors usually go away by themselves."""
        self._failures += 1
        if self._failures == 1:
            self._since = now
        wait = delay(self._failures, initial=INITIAL, maximum=MAXIMUM)
        self.retry_at = now + wait
        reason = (error_type, message)
        if passing and self._failures == 1:
            self._telemetry.emit(
                PollFailed(mapping=self._mapping, error_type=error_type, error_message=message, retry_in_s=wait)
            )
        elif reason != self._said or self._failures & (self._failures - 1) == 0:
            self._said = reason
            self._telemetry.emit(
                MappingUnavailable(
                    mapping=self._mapping,
                    error_type=error_type,
                    error_message=message,
                    failures=self._failures,
                    retry_in_s=wait,
                )
            )

    def passed(self, now: float) -> None:
        """An attempt succeeded."""
        if self._said is not None:
            self._telemetry.emit(
                MappingRecovered(
                    mapping=self._mapping, failures=self._failures, unavailable_s=max(0.0, now - self._since)
                )
            )
        self._failures = 0
        self._said = None
        self.retry_at = 0.0
