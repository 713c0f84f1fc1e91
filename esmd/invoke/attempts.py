"""Attempts to load a function: how far apart they are after failures, and what is said of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.mappings.backoff import delay
from esmd.observe.events import FunctionInit, FunctionInitFailed

if TYPE_CHECKING:
    from esmd.mappings.outcomes import FunctionError
    from esmd.observe.telemetry import Telemetry

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 5.0
"""How long nothing is started after the first failure in a row, doubled by each further one, and at most."""

_MOST_REASONS = 32
"""Reasons that are remembered: an error that quotes an address has a new one every time."""


class Attempts:
    """Counts failures in a row.

    A reason is said once until the function works again, or its code has changed.

    Attributes:
        failures: in a row, up to now.
    """

    def __init__(self, function: str, telemetry: Telemetry) -> None:
        self.failures = 0
        self._function = function
        self._telemetry = telemetry
        self._not_before = 0.0
        self._said: set[tuple[str, str]] = set()

    @property
    def pause(self) -> float:
        """Seconds until the next attempt may begin; 0 if it may now."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time()) if self.failures else 0.0

    def succeeded(self, *, pid: int | None, seconds: float) -> None:
        """The handler was loaded, in `seconds`."""
        failures, self.failures = self.failures, 0
        self._said.clear()
        self._telemetry.emit(
            FunctionInit(
                function=self._function,
                pid=pid,
                duration_ms=round(seconds * 1000, 3),
                after_failures=failures or None,
            )
        )

    def failed(self, error: FunctionError, *, request_id: str = "") -> None:
        """The handler could not be loaded.

        Args:
            error: why.
            request_id: of the invocation that the error's text names: it is no part of the reason.
        """
        retry_in = self.hold(self.failures + 1)
        reason = error.error_type, error.message.removeprefix(f"RequestId: {request_id} Error: ")
        if reason in self._said:
            return
        if len(self._said) >= _MOST_REASONS:
            self._said.clear()
        self._said.add(reason)
        self._telemetry.emit(
            FunctionInitFailed(
                function=self._function,
                error_type=reason[0],
                error_message=reason[1],
                retry_in_s=round(retry_in, 3),
            )
        )

    def hold(self, failures: int) -> float:
        """Let the next attempt wait as after this many failures in a row; returns for how many seconds."""
        self.failures = failures
        seconds = delay(failures, initial=FIRST_SECONDS, maximum=LONGEST_SECONDS)
        self._not_before = asyncio.get_running_loop().time() + seconds
        return seconds

    def renew(self) -> None:
        """The code has changed: try at once, and say what is wrong with it."""
        self._not_before = 0.0
        self._said.clear()
