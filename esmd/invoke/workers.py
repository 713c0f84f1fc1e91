"""Runs a Python function in worker processes: a pool of execution environments, grown on demand, reused warm.

An invocation takes the environment that was used last, so that few stay warm and the rest can be seen to be idle. If
none is idle it makes one, up to the function's concurrency; its own timeout starts when the environment is ready, as
on Lambda. An environment that timed out, crashed or was cancelled is gone and leaves its place to a new one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.invoke.environment import Environment
from esmd.invoke.failures import closing, exited, request_too_large
from esmd.invoke.protocol import StartFailed
from esmd.mappings.outcomes import FunctionError, Throttled
from esmd.observe.events import FunctionThrottled

if TYPE_CHECKING:
    from esmd.invoke.protocol import FunctionSpec
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry

INIT_SECONDS = 10.0
"""How long Lambda lets a function load [AWS: Lambda runtime environment, init phase]."""

LEAVE_SECONDS = 0.5
"""How long a worker may take to leave, first when asked, then again after SIGTERM."""


class WorkerInvoker:
    """An `Invoker` whose handler lives in processes of its own: a hard timeout, and a crash harms nobody else."""

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        telemetry: Telemetry,
        init_seconds: float = INIT_SECONDS,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        self._spec = spec
        self._telemetry = telemetry
        self._init_seconds = init_seconds
        self._leave_seconds = leave_seconds
        self._running = 0
        self._idle: list[Environment] = []
        self._all: set[Environment] = set()
        self._closing = False

    @property
    def limit(self) -> int:
        """Most invocations at once, and most processes."""
        return self._spec.concurrency

    @property
    def running(self) -> int:
        """Places taken now: invocations, and a first environment that is loading."""
        return self._running

    async def start(self) -> None:
        """Load the handler in a first environment, and keep that; nothing to do if there is one, or may be none.

        Raises:
            StartFailed: it cannot run; the text says why and what was searched.
        """
        warm = any(environment.usable for environment in self._all)
        if warm or self._closing or self._running >= self.limit:
            return
        self._running += 1
        try:
            environment = await self._warm_up()
        finally:
            self._running -= 1
        if isinstance(environment, FunctionError):
            raise StartFailed(environment.error_type, environment.message)
        self._idle.append(environment)

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Run the handler once; see `Invoker.invoke`."""
        if self._closing:
            return closing(self._spec)
        if self._running >= self.limit:
            self._telemetry.emit(FunctionThrottled(function=self._spec.name, request_id=request_id, limit=self.limit))
            return Throttled()
        if (rejected := request_too_large(event)) is not None:
            return rejected
        self._running += 1
        try:
            outcome = await self._invoke(event, request_id)
        finally:
            self._running -= 1
        return self._blame(outcome)

    async def close(self) -> None:
        """End every process: idle ones are asked, then told (SIGTERM), then killed; busy ones are killed.

        Returns when all are gone. May be called twice, also at once.
        """
        self._closing = True
        idle, self._idle = self._idle, []
        for environment in idle:
            environment.leave()
        for environment in self._all.difference(idle):
            environment.kill()
        try:
            if await self._all_ended(self._leave_seconds):
                return
            for environment in self._all:
                environment.terminate()
            await self._all_ended(self._leave_seconds)
        finally:
            await asyncio.gather(*(environment.gone() for environment in list(self._all)))

    async def _invoke(self, event: bytes, request_id: str) -> Outcome:
        while self._idle:
            environment = self._idle.pop()
            outcome = await environment.run(event, request_id=request_id)
            if outcome is not None:
                self._keep(environment)
                return outcome
        fresh = await self._warm_up(request_id)
        if isinstance(fresh, FunctionError):
            return fresh
        outcome = await fresh.run(event, request_id=request_id)
        if outcome is None:  # it ended between loading and its first event
            await fresh.gone()
            return exited(request_id, fresh.status)
        self._keep(fresh)
        return outcome

    async def _warm_up(self, request_id: str = "") -> Environment | FunctionError:
        """A new environment that has loaded the handler, or why there is none."""
        try:
            environment = Environment.launch(self._spec, telemetry=self._telemetry, on_end=self._forget)
        except OSError as error:
            message = f"Cannot start a process in {self._spec.working_directory}: {error}"
            return FunctionError("init", "Runtime.InvalidEntrypoint", message)
        self._all.add(environment)
        failure = await environment.load(limit=self._init_seconds, request_id=request_id)
        return environment if failure is None else failure

    def _blame(self, outcome: Outcome) -> Outcome:
        """The outcome, unless we ended the process by closing: that is not the handler's failure."""
        ended = isinstance(outcome, FunctionError) and outcome.kind in {"exit", "init"}
        return closing(self._spec) if self._closing and ended else outcome

    def _keep(self, environment: Environment) -> None:
        if environment.usable and not self._closing:
            self._idle.append(environment)

    def _forget(self, environment: Environment) -> None:
        self._all.discard(environment)
        if environment in self._idle:
            self._idle.remove(environment)

    async def _all_ended(self, seconds: float) -> bool:
        ends = [environment.ended for environment in self._all]
        if ends:
            await asyncio.wait(ends, timeout=seconds)
        return not self._all
