"""Runs a function in processes: a pool of execution environments, grown on demand, reused warm, retired when idle.

| what happens                     | environments                                                                        |
|----------------------------------|-------------------------------------------------------------------------------------|
| `start`                          | the provisioned ones are launched, or one if none is                                |
| an invocation, one is idle       | it runs there: a provisioned one first, then the one that was used last              |
| an invocation, none is idle      | one is launched; it runs in whichever is free first                                 |
| an invocation ends               | its environment takes the next that waits, else it is idle                          |
| one is idle for `idle_timeout`   | it leaves, unless it is provisioned                                                 |
| one ends by itself, or is killed | it is forgotten; a provisioned one is launched again                                |
| one cannot be loaded             | the invocations get the failure that no other launch under way could still serve    |
| the same, until one is loaded    | one launch at a time, further and further apart; all that wait get the failure      |
| `reload`                         | idle and loading ones leave, busy ones do when they are done; new ones are launched |
| `close`                          | idle ones leave, all others are killed, and who waits gets `Unreachable`            |

There are never more processes than the function's concurrency, those that are about to leave included. An invocation's
timeout starts when its environment is ready, as on Lambda. Every place belongs to an invocation: one that finds an
environment loading for `start`, or as a provisioned one, waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from esmd.invoke.attempts import Attempts
from esmd.invoke.failures import closing, exited, readdressed, request_too_large
from esmd.invoke.leaving import see_off
from esmd.invoke.members import Member, Members
from esmd.invoke.protocol import ProcessSpec, StartFailed
from esmd.mappings.outcomes import FunctionError, Throttled
from esmd.observe.events import EnvironmentStarted, FunctionReloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from esmd.invoke.environment import Environment, InitializationType, Launch
    from esmd.invoke.process import LeaveCause
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry

INIT_SECONDS = 10.0
"""How long Lambda lets a function load [AWS: Lambda runtime environment, init phase]."""

LEAVE_SECONDS = 0.5
"""How long an environment may take to leave, first when asked, then again after SIGTERM."""

T = TypeVar("T")
S = TypeVar("S", bound=ProcessSpec)

_Answer: TypeAlias = "Member | FunctionError | None"
"""What an invocation waits for: an environment, or why there is none; None when the pool is closed."""


class EnvironmentPool(Generic[S]):
    """An `Invoker` whose handler lives in processes of its own: a hard timeout, and a crash harms nobody else.

    Args:
        spec: of the function.
        launch: starts the process of an environment.
        telemetry: takes what happens.
        init_seconds: how long an environment may take to load.
        leave_seconds: how long one may take to leave, first when asked, then again after SIGTERM.
    """

    def __init__(
        self,
        spec: S,
        *,
        launch: Launch[S],
        telemetry: Telemetry,
        init_seconds: float = INIT_SECONDS,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        self._spec = spec
        self._launcher = launch
        self._telemetry = telemetry
        self._init_seconds = init_seconds
        self._leave_seconds = leave_seconds
        self._attempts = Attempts(spec.name, telemetry)
        self._running = 0
        self._members = Members(spec.idle_timeout)
        self._waiters: dict[asyncio.Future[_Answer], str] = {}
        self._starts: list[asyncio.Future[FunctionError | None]] = []
        self._provisioned = 0
        self._wants_one = False
        self._retry: asyncio.TimerHandle | None = None
        self._retirement: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def limit(self) -> int:
        """Most invocations at once, and most processes."""
        return self._spec.concurrency

    @property
    def running(self) -> int:
        """Places taken now: invocations, also those that wait for their environment."""
        return self._running

    @property
    def environments(self) -> int:
        """How many there are, those that load or are about to leave included."""
        return len(self._members)

    def on_freed(self, listener: Callable[[], None]) -> None:
        """Do nothing: every place belongs to an invocation, and is free again when that returns."""

    async def start(self) -> None:
        """Load the handler in a first environment, or find one; the other provisioned ones load meanwhile.

        Raises:
            StartFailed: it cannot run; the text says why and what was searched.
        """
        if not self.limit:
            return
        if self._closing:
            raise StartFailed("Runtime.ExitError", closing(self._spec).message)
        self._provisioned = min(self._spec.provisioned_concurrency, self.limit)
        if self._members.any_loaded:
            self._grow()
            return
        ready: asyncio.Future[FunctionError | None] = asyncio.get_running_loop().create_future()
        self._starts.append(ready)
        self._grow()
        try:
            failure = await ready
        except asyncio.CancelledError:
            if ready in self._starts:
                self._starts.remove(ready)
            await self._shrink()
            raise
        if failure is not None:
            raise StartFailed(failure.error_type, failure.message)

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Run the handler once; see `Invoker.invoke`."""
        if self._closing:
            return closing(self._spec)
        if self._running >= self.limit:
            return Throttled()
        if (rejected := request_too_large(event)) is not None:
            return rejected
        self._running += 1
        try:
            outcome = await self._invoke(event, request_id)
        finally:
            self._running -= 1
        return self._blame(outcome)

    def reload(self, files: Sequence[str]) -> None:
        """The handler's code has changed: what is loaded leaves as soon as it has nothing to do.

        A new environment is loaded at once if there was one, so that a mistake shows when it is made.

        Args:
            files: what has changed, for the event.
        """
        if self._closing:
            return
        former = [member for member in self._members if member.state != "leaving"]
        self._members.generation += 1
        self._attempts.renew()
        self._wants_one = bool(former) or bool(self._attempts.failures)
        self._telemetry.emit(FunctionReloaded(function=self._spec.name, files=tuple(files), environments=len(former)))
        self._part([member for member in former if member.state in {"idle", "loading"}], "reloaded")
        self._grow()

    async def close(self) -> None:
        """End every process: idle ones are asked, then told (SIGTERM), then killed; the others are killed.

        Returns when all are gone. May be called twice, also at once.
        """
        self._closing = True
        for timer in (self._retry, self._retirement):
            if timer is not None:
                timer.cancel()
        self._settle_starts(FunctionError("init", "Runtime.ExitError", closing(self._spec).message))
        for waiter in self._waiters:
            _settle(waiter, None)
        for member in self._members:
            if member.state not in {"idle", "leaving"}:
                member.environment.kill("shutdown")
        self._part([member for member in self._members if member.state == "idle"], "shutdown")
        try:
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await asyncio.gather(*(member.environment.gone() for member in self._members))

    # --- an invocation

    async def _invoke(self, event: bytes, request_id: str) -> Outcome:
        while True:
            member = self._members.take() or await self._wait(request_id)
            if member is None:
                return closing(self._spec)
            if isinstance(member, FunctionError):
                return member
            is_fresh = member.state == "fresh"
            member.state = "busy"
            member.used = True
            outcome = await member.environment.run(event, request_id=request_id)
            if outcome is not None:
                self._put(member)
                return outcome
            if is_fresh:  # it ended between loading and its first event
                await member.environment.gone()
                self._attempts.hold(member.failures + 1)
                return exited(request_id, member.environment.status)

    async def _wait(self, request_id: str) -> _Answer:
        """The next environment that is ready, in turn."""
        waiter: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = request_id
        self._grow()
        try:
            return await waiter
        except asyncio.CancelledError:
            self._waiters.pop(waiter, None)
            if not waiter.cancelled() and isinstance(member := waiter.result(), Member):
                self._put(member)  # it was handed over in this very moment
            await self._shrink()
            raise

    def _blame(self, outcome: Outcome) -> Outcome:
        """The outcome, unless we ended the process by closing: that is not the handler's failure."""
        ended = isinstance(outcome, FunctionError) and outcome.kind in {"exit", "init"}
        return closing(self._spec) if self._closing and ended else outcome

    # --- environments come

    def _grow(self) -> None:
        """Launch what is missing, as far as there may be more processes, and as failures allow."""
        self._retry = None
        while not self._closing and len(self._members) < self.limit:
            loading = len(self._members.loading)
            lacks_provisioned = self._provisioned > self._members.provisioned
            if not lacks_provisioned and loading >= self._wanted:
                return
            if self._attempts.failures:
                if loading:
                    return  # whether this one works is seen first
                if (pause := self._attempts.pause) > 0:
                    self._retry = asyncio.get_running_loop().call_later(pause, self._grow)
                    return
            # An environment serves many: it is no part of the context of whoever waits for it now.
            contextvars.Context().run(self._launch, provisioned=lacks_provisioned)

    @property
    def _wanted(self) -> int:
        """How many environments are waited for."""
        return len(self._waiters) or int(bool(self._starts) or self._wants_one)

    def _launch(self, *, provisioned: bool) -> None:
        """Start a process and let it load."""
        spec = self._spec
        kind: InitializationType = "provisioned-concurrency" if provisioned else "on-demand"
        try:
            environment = self._launcher(spec, telemetry=self._telemetry, initialization_type=kind, on_end=self._forget)
        except (OSError, ValueError) as error:  # a NUL in a variable is a ValueError
            message = f"Cannot start a process in {spec.working_directory}: {error}"
            self._failed(FunctionError("init", "Runtime.InvalidEntrypoint", message), request_id="")
            return
        member = self._members.add(environment, provisioned=provisioned, failures=self._attempts.failures)
        self._telemetry.emit(
            EnvironmentStarted(
                function=spec.name, pid=environment.pid, initialization_type=kind, environments=len(self._members)
            )
        )
        member.loader = self._do(self._load(member, next(iter(self._waiters.values()), "")))
        member.loader.add_done_callback(partial(self._load_ended, member))

    async def _load(self, member: Member, request_id: str) -> None:
        environment = member.environment
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            failure = await environment.load(limit=self._init_seconds, request_id=request_id)
            if failure is None and not environment.usable:
                await environment.gone()
                failure = exited(request_id, environment.status, kind="init")
        except Exception as error:  # noqa: BLE001  a defect of ours, but nobody must wait for ever
            await environment.gone()
            failure = FunctionError("init", type(error).__name__, str(error))
        self._unloaded(member)
        if failure is None and member.state == "loading":
            member.state = "fresh"
            self._attempts.succeeded(pid=environment.pid, seconds=loop.time() - started)
            self._settle_starts(None)
            self._put(member)
        elif failure is not None and not self._closing and self._members.is_current(member):
            self._failed(failure, request_id=request_id)
        self._grow()

    def _load_ended(self, member: Member, loader: asyncio.Task[None]) -> None:
        """Where loading was cancelled, perhaps before it began, its process goes; it makes room for others who wait."""
        if loader.cancelled():
            if member.environment.usable:
                member.environment.kill("cancelled")
            self._unloaded(member)
            self._grow()

    def _unloaded(self, member: Member) -> None:
        """It loads no more; where it is gone, it is forgotten."""
        member.loader = None
        if member.gone:
            self._members.drop(member)
        elif not member.environment.usable:  # whoever waited for its end was cancelled: it keeps its place until then
            self._members.part(member)

    def _failed(self, error: FunctionError, *, request_id: str) -> None:
        """Tell those who wait that it could not be loaded, less those whom another that loads can still serve."""
        self._attempts.failed(error, request_id=request_id)
        loading = len(self._members.loading)
        for waiter in list(self._waiters)[: max(0, len(self._waiters) - loading)]:
            own = self._waiters.pop(waiter)
            _settle(waiter, readdressed(error, request_id, own))
        if not loading:
            self._settle_starts(error)

    def _settle_starts(self, failure: FunctionError | None) -> None:
        self._wants_one = False
        for ready in self._starts:
            _settle(ready, failure)
        self._starts.clear()

    # --- environments go

    def _put(self, member: Member) -> None:
        """Give an environment to the invocation that has waited longest, or let it be idle."""
        if self._closing or not member.environment.usable:
            return
        if not self._members.is_current(member):
            self._part([member], "reloaded")
            return
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if _settle(waiter, member):
                return
        loop = asyncio.get_running_loop()
        self._members.rest(member, loop.time())
        if self._retirement is None and not member.provisioned:
            self._retirement = loop.call_later(self._spec.idle_timeout, self._retire)

    def _retire(self) -> None:
        """Let those leave that have been idle for too long."""
        loop = asyncio.get_running_loop()
        self._part(self._members.overdue(loop.time()), "idle")
        at = self._members.next_overdue
        self._retirement = None if at is None else loop.call_at(at, self._retire)

    def _part(self, members: Sequence[Member], cause: LeaveCause) -> None:
        """Let environments leave that do nothing."""
        for member in members:
            self._members.part(member)
        if members:
            self._do(see_off([member.environment for member in members], cause, seconds=self._leave_seconds))

    def _forget(self, environment: Environment) -> None:
        """An environment is gone, or as good as gone."""
        member = self._members.find(environment)
        if member is None:
            return
        if member.loader is not None:
            member.gone = True  # whoever loads it sees it
            return
        self._members.drop(member)
        if member.state == "idle" and not member.used:
            self._attempts.hold(member.failures + 1)  # to load it again at once would end in the same way
        self._grow()

    async def _shrink(self) -> None:
        """Give up loading what nobody waits for any more."""
        loading = self._members.loading
        surplus = max(0, len(loading) - self._wanted)
        optional = [each.loader for each in reversed(loading) if each.loader is not None and not each.provisioned]
        loaders = optional[:surplus]
        for loader in loaders:
            loader.cancel()
        if loaders:
            await asyncio.wait(loaders)

    def _do(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _settle(waiter: asyncio.Future[T], result: T) -> bool:
    """Answer one who waits; False if they have gone."""
    if waiter.done():
        return False
    waiter.set_result(result)
    return True
