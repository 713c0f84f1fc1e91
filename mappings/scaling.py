"""How many batches of an SQS mapping may be under way, and how many receives at once [specification A.3, A.4].

Concurrency (batches from their receive until their handler has answered):

| what happened                         | concurrency                                                        |
|---------------------------------------|--------------------------------------------------------------------|
| start                                 | 5, or the ceiling if that is lower                                  |
| messages wait (a poll came back full) | grows by 300 a minute, up to the ceiling                            |
| an empty poll                         | falls back to the start value                                      |
| a batch failed as a whole             | a tenth less (at least one less), never below 1                     |
| a batch succeeded after failures      | one more, up to the start value                                     |
| throttled                             | half, never below 1; nothing new is received until a start succeeds |

The ceiling is `MaximumConcurrency`, else 1,250 (AWS's), and never above what the function itself may run at once.
With `ProvisionedPollerConfig` it is ten per poller, from `MinimumPollers` (the start value) to `MaximumPollers`.

Receives at once: one more after a full poll, one less after three polls in a row that were not half full; at least
one, at most what concurrency allows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

START_CONCURRENCY = 5
GROWTH_PER_SECOND = 300 / 60
CEILING = 1250
INVOCATIONS_PER_POLLER = 10
_THIN_POLLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingLimits:
    """The fixed bounds of one mapping's scaling; `start <= ceiling`."""

    start: int
    ceiling: int
    min_receives: int = 1

    @classmethod
    def of(
        cls,
        *,
        maximum_concurrency: int | None,
        provisioned_pollers: tuple[int, int] | None,
        function_limit: int,
    ) -> ScalingLimits:
        """Bounds by the table above.

        Args:
            maximum_concurrency: `ScalingConfig.MaximumConcurrency`, None if unset.
            provisioned_pollers: `MinimumPollers` and `MaximumPollers`, None without provisioned mode.
            function_limit: how often the function may run at once.
        """
        if provisioned_pollers is not None:
            fewest, most = provisioned_pollers
            ceiling = min(most * INVOCATIONS_PER_POLLER, max(1, function_limit))
            start = min(fewest * INVOCATIONS_PER_POLLER, ceiling)
            return cls(start=start, ceiling=ceiling, min_receives=min(fewest, ceiling))
        ceiling = min(maximum_concurrency or CEILING, max(1, function_limit))
        return cls(start=min(START_CONCURRENCY, ceiling), ceiling=ceiling)


@dataclass(slots=True)
class Scaling:
    """The scaling state of one mapping. `now` is a monotonic clock in seconds."""

    limits: ScalingLimits
    concurrency: int = field(init=False)
    """Batches that may be under way now, at least 1."""
    _exact: float = field(init=False)
    _receives: int = field(init=False)
    _thin: int = field(init=False, default=0)
    _backlog_since: float | None = field(init=False, default=None)
    _throttled: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._set(self.limits.start)
        self._receives = self.limits.min_receives

    @property
    def receives(self) -> int:
        """Receives that may be under way now; 0 while throttled."""
        return 0 if self._throttled else min(self._receives, self.concurrency)

    def polled(self, *, asked: int, got: int, now: float) -> None:
        """A receive that asked for `asked` messages came back with `got`."""
        if got >= asked:
            self._thin = 0
            self._receives = min(self._receives + 1, self.limits.ceiling)
            self._grow(now)
            return
        self._backlog_since = None
        if got == 0:
            self._set(min(self._exact, self.limits.start))
        if 2 * got < asked:
            self._thin += 1
            if self._thin >= _THIN_POLLS:
                self._thin = 0
                self._receives = max(self._receives - 1, self.limits.min_receives)
        else:
            self._thin = 0

    def succeeded(self) -> None:
        """A batch succeeded as a whole."""
        self._throttled = False
        if self._exact < self.limits.start:
            self._set(min(self._exact + 1, self.limits.start))

    def ran(self) -> None:
        """An invocation was started and ended without a whole failure (some records may have been reported)."""
        self._throttled = False

    def failed(self) -> None:
        """A batch failed as a whole."""
        self._throttled = False
        self._backlog_since = None
        self._set(max(1, min(self._exact * 0.9, self._exact - 1)))

    def throttled(self) -> None:
        """An invocation was refused, or its function could not be reached."""
        if not self._throttled:
            self._throttled = True
            self._backlog_since = None
            self._set(max(1, self._exact / 2))

    def gave_up(self) -> None:
        """A throttled batch was left to its visibility timeout: probe again with the next receive."""
        self._throttled = False

    def _grow(self, now: float) -> None:
        if self._backlog_since is not None and self._exact >= self.limits.start:
            self._set(min(self._exact + (now - self._backlog_since) * GROWTH_PER_SECOND, self.limits.ceiling))
        self._backlog_since = now

    def _set(self, concurrency: float) -> None:
        self._exact = concurrency
        self.concurrency = max(1, int(concurrency))
