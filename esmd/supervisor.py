"""The life of one mapping: started when its function loads, kept running, healed by itself.

| state         | from                                | means                                                          |
|---------------|-------------------------------------|----------------------------------------------------------------|
| `enabling`    | start                               | the function is being loaded, the queue looked up              |
| `enabled`     | `enabling`, `unavailable`           | polling                                                        |
| `unavailable` | `enabling`, `enabled`               | something is missing; says what, waits, tries again            |
| `disabling`   | any, on stop                        | draining                                                       |
| `disabled`    | `disabling`                         | nothing runs                                                   |

A mapping in trouble never touches another one.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from esmd.invoke.protocol import StartFailed
from esmd.observe.daemon_events import InternalError
from esmd.observe.mapping_events import MappingDisabled
from esmd.observe.stacks import stack_of
from esmd.tasks import Lasting
from esmd.trouble import Trouble
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.observe.mapping_events import DisabledBecause
    from esmd.observe.telemetry import Telemetry


class Loads(Protocol):
    """A function, as far as a mapping has to have it loaded."""

    async def start(self) -> None:
        """Make sure it can run.

        Raises:
            StartFailed: it cannot; the text says why.
        """
        ...


class Runner(Protocol):
    """A mapping at work, of any source. Heals by itself, and ends only when it is told to."""

    tried: asyncio.Event
    """Set when the source has been polled, or the mapping has said why not."""

    @property
    def in_flight(self) -> int:
        """Batches under way."""
        ...

    @property
    def pollers(self) -> int:
        """Receives under way, or shards being read."""
        ...

    @property
    def concurrency(self) -> int:
        """Batches that may be under way now."""
        ...

    @property
    def quiet_since(self) -> float:
        """Loop time since which nothing happened and nothing is awaited; infinity while something is."""
        ...

    async def run(self) -> None:
        """Run until stop, then drain; cancelling it halts."""
        ...


State = Literal["enabling", "enabled", "unavailable", "disabling", "disabled"]


class Supervisor:
    """Keeps one mapping running until `stop`.

    Args:
        name: of the mapping.
        function: what it invokes.
        make_runner: makes a fresh runner that reports to the given trouble.
        telemetry: where events go.
        stop: set when the mapping is to drain.
        is_stream: whether it consumes a stream: what its statistics say.
    """

    def __init__(
        self,
        name: str,
        *,
        function: Loads,
        make_runner: Callable[[Trouble], Runner],
        telemetry: Telemetry,
        stop: asyncio.Event,
        is_stream: bool = False,
    ) -> None:
        self.name = name
        self.is_stream = is_stream
        self._function = function
        self._make_runner = make_runner
        self._telemetry = telemetry
        self._stop = stop
        self._trouble = Trouble(name, telemetry)
        self._born = asyncio.get_running_loop().time()
        self._ended = False
        self.function_failed = False
        """Whether it is the function, not the source, that keeps the mapping from running."""
        self.runner: Runner | None = None
        """The runner at work; None while the function cannot be loaded, and after a defect."""
        self.stops_because: DisabledBecause = "stopping"
        """What `mapping.disabled` says at the end."""
        self.tried = asyncio.Event()
        """Set once the mapping runs or has said why it cannot."""

    @property
    def state(self) -> State:
        """See the module's table."""
        if self._ended:
            return "disabled"
        if self._stop.is_set():
            return "disabling"
        if self._trouble.unavailable:
            return "unavailable"
        return "enabled" if self.tried.is_set() else "enabling"

    @property
    def reason(self) -> str | None:
        """Why it is unavailable."""
        return self._trouble.reason

    @property
    def quiet_since(self) -> float:
        """Loop time since which nothing happened and nothing is awaited; infinity while something is."""
        if self.runner is None:
            return self._born if self.tried.is_set() else math.inf
        return self.runner.quiet_since if self.tried.is_set() else math.inf

    async def run(self) -> None:
        """Run until stop; cancelling it halts."""
        try:
            while not self._stop.is_set():
                if not await self._function_starts():
                    await self._pause()
                    continue
                if await self._polls():
                    break
                await self._pause()
        finally:
            self._ended = True
            self._telemetry.emit(MappingDisabled(mapping=self.name, reason=self.stops_because))

    async def _function_starts(self) -> bool:
        """Load the function before anything is received: a receive that cannot be handled costs a receive count."""
        try:
            await self._function.start()
        except StartFailed as error:
            self.function_failed = True
            self._failed(error.error_type, error.message)
            self.tried.set()
            return False
        self.function_failed = False
        return True

    async def _polls(self) -> bool:
        """Run the runner; False if a defect ended it."""
        self.runner = self._make_runner(self._trouble)
        watching = Lasting(partial(self._watch, self.runner))
        try:
            await self.runner.run()
        except Exception as error:  # noqa: BLE001 - a defect in one mapping must not take the others down
            self._defect(error)
            return False
        finally:
            watching.cancel()
        return True

    async def _watch(self, runner: Runner) -> None:
        await runner.tried.wait()
        self.tried.set()

    def _defect(self, error: Exception) -> None:
        innermost: BaseException = error
        while isinstance(innermost, BaseExceptionGroup):
            innermost = innermost.exceptions[0]
        self._telemetry.emit(
            InternalError(
                where=f"mapping {self.name}",
                error_type=type(innermost).__name__,
                error_message=str(innermost),
                stack=stack_of(innermost),
            )
        )
        self._failed(type(innermost).__name__, f"internal error: {innermost}")
        self.runner = None
        self.tried.set()

    def _failed(self, error_type: str, message: str) -> None:
        self._trouble.failed(error_type, message, asyncio.get_running_loop().time(), passing=False)

    async def _pause(self) -> None:
        """Wait until the next try, or stop."""
        await stopped_before(self._stop, self._trouble.retry_at)
