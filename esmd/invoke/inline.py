"""Runs a Python function inside the daemon: quickest, and for handlers that can be trusted.

An async handler runs in the daemon's loop; a sync one on a thread of its own. They share the process:

* A thread cannot be killed, nor can a task that ignores its cancellation. At the deadline the outcome is the timeout
  all the same; the handler runs on and keeps its place until it returns (`HandlerTimeout.still_running`).
* Modules, `sys.path` and environment variables are shared with the daemon and with every other inline function. What
  would contradict them is refused at the start: another module of the same name, another value of a variable.
* What a handler prints goes where the daemon's own output goes.
* `sys.exit` ends the invocation, as the end of a process would; it does not end the daemon. In a task that the handler
  started itself it cannot be told from the daemon's own, and is not caught.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import signal
import sys
import time
from collections import Counter
from functools import partial
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Literal

from esmd.invoke import runtime
from esmd.invoke.failures import closing, exit_text, exited, outcome_of, request_too_large, timed_out
from esmd.invoke.protocol import StartFailed
from esmd.invoke.threads import Threads
from esmd.invoke.variables import function_facts, log_stream_name
from esmd.mappings.outcomes import FunctionError, Throttled
from esmd.observe.events import FunctionInit, FunctionThrottled, HandlerCrashed, HandlerOutput, HandlerTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from esmd.invoke.protocol import FunctionSpec
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry

STOP_SECONDS = 1.0
"""How long a cancelled async handler may take to clean up before nobody waits for it."""

_shared_variables: Counter[str] = Counter()
"""Variables that inline functions have set in the daemon's environment, and how many of them rely on each."""


class _Attempt:
    """One invocation. Its task outlives the invocation if the handler does.

    Attributes:
        end: why `invoke` goes on: the task is done, the deadline has come, or the invoker is closed.
        on_thread: the handler is running on a thread now, and cannot be stopped.
        abandoned: nobody waits for it any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.end: asyncio.Future[Literal["done", "late", "closing"]] = loop.create_future()
        self.task: asyncio.Task[runtime.Reply | int]
        self.on_thread = False
        self.abandoned = False

    def wake(self, why: Literal["done", "late", "closing"]) -> None:
        if not self.end.done():
            self.end.set_result(why)

    async def stop(self, seconds: float) -> bool:
        """Cancel it, and give it `seconds` to clean up. False if it runs on."""
        self.abandoned = True
        if not self.on_thread:
            self.task.cancel()
            await asyncio.wait([self.task], timeout=seconds)
        return self.task.done()


class InlineInvoker:
    """An `Invoker` whose handler runs in the daemon's own process."""

    def __init__(self, spec: FunctionSpec, *, telemetry: Telemetry, stop_seconds: float = STOP_SECONDS) -> None:
        self._spec = spec
        self._telemetry = telemetry
        self._stop_seconds = stop_seconds
        self._log_stream = log_stream_name()
        self._handler: runtime.Handler | None = None
        self._is_async = False
        self._variables: list[str] = []
        self._threads: Threads[runtime.Reply | Awaitable[object]] = Threads(f"esmd-{spec.name}")
        self._attempts: set[_Attempt] = set()
        self._closing = False

    @property
    def limit(self) -> int:
        """Most invocations at once."""
        return self._spec.concurrency

    @property
    def running(self) -> int:
        """Places taken: handlers that run, also past their deadline."""
        return len(self._attempts)

    async def start(self) -> None:
        """Import the handler, on the loop's own thread: a slow import holds up the daemon.

        Raises:
            StartFailed: it cannot run; the text says why and what was searched.
        """
        if self._closing or not self.limit:
            return
        loaded = self._handler or self._load()
        if isinstance(loaded, FunctionError):
            raise StartFailed(loaded.error_type, loaded.message)

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Run the handler once; see `Invoker.invoke`."""
        spec = self._spec
        if self._closing:
            return closing(spec)
        if self.running >= self.limit:
            self._telemetry.emit(FunctionThrottled(function=spec.name, request_id=request_id, limit=self.limit))
            return Throttled()
        if (refused := request_too_large(event)) is not None:
            return refused
        handler = self._handler or self._load()
        if isinstance(handler, FunctionError):
            return handler
        loop = asyncio.get_running_loop()
        context = runtime.LambdaContext(
            **function_facts(spec, self._log_stream),
            request_id=request_id,
            deadline=loop.time() + spec.timeout,
            clock=loop.time,
        )
        attempt = _Attempt(loop)
        attempt.task = loop.create_task(self._run(attempt, handler, event, context))
        self._attempts.add(attempt)
        attempt.task.add_done_callback(partial(self._leave, attempt))
        timer = loop.call_later(spec.timeout, attempt.wake, "late")
        try:
            why = await attempt.end
        except asyncio.CancelledError:
            await attempt.stop(self._stop_seconds)
            raise
        finally:
            timer.cancel()
        if why == "closing":
            return closing(spec)
        if why == "done":
            return self._outcome(attempt.task.result(), request_id)
        runs_on: Literal[True] | None = None if await attempt.stop(self._stop_seconds) else True
        self._telemetry.emit(
            HandlerTimeout(
                function=spec.name, request_id=request_id, timeout_s=spec.timeout, pid=None, still_running=runs_on
            )
        )
        return timed_out(request_id, spec.timeout)

    async def close(self) -> None:
        """Cancel async handlers; sync ones, which cannot be stopped, are left to end with the process."""
        self._closing = True
        attempts = list(self._attempts)
        for attempt in attempts:
            attempt.wake("closing")
            attempt.abandoned = True
            attempt.task.cancel()
        if attempts:
            await asyncio.wait([attempt.task for attempt in attempts], timeout=self._stop_seconds)
        self._threads.close()
        _withdraw(self._variables)
        self._variables = []

    async def _run(
        self, attempt: _Attempt, handler: runtime.Handler, event: bytes, context: runtime.LambdaContext
    ) -> runtime.Reply | int:
        """Call the handler and await what it returns. An exit status if it asked the process to end."""
        try:
            if self._is_async:
                begun = runtime.begin(handler, event, context)
            else:
                inside = contextvars.copy_context()
                attempt.on_thread = True
                try:
                    begun = await self._threads.run(partial(inside.run, runtime.begin, handler, event, context))
                finally:
                    attempt.on_thread = False
            if isinstance(begun, runtime.Reply):
                return begun
            if attempt.abandoned:
                if inspect.iscoroutine(begun):
                    begun.close()
                return 0
            return await runtime.finish(begun, context.aws_request_id)
        except SystemExit as error:
            return self._exit_status(error, context.aws_request_id)
        except KeyboardInterrupt:
            return -signal.SIGINT

    def _exit_status(self, error: SystemExit, request_id: str | None) -> int:
        """The status that a process would have ended with; a text instead of a number is printed, as Python does."""
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        self._telemetry.emit(
            HandlerOutput(function=self._spec.name, request_id=request_id, stream="stderr", message=str(error.code))
        )
        return 1

    def _outcome(self, ended: runtime.Reply | int, request_id: str) -> Outcome:
        if isinstance(ended, runtime.Reply):
            return outcome_of(ended.kind, ended.body)
        self._telemetry.emit(
            HandlerCrashed(function=self._spec.name, request_id=request_id, pid=None, exit_status=ended)
        )
        return exited(request_id, ended)

    def _leave(self, attempt: _Attempt, _task: asyncio.Task[runtime.Reply | int]) -> None:
        self._attempts.discard(attempt)
        attempt.wake("done")

    def _load(self) -> runtime.Handler | FunctionError:
        """Import the handler and keep it, or say why it cannot run."""
        spec = self._spec
        started = time.monotonic()
        for folder in reversed(spec.python_path):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        if (conflict := _other_module(spec) or _other_value(spec)) is not None:
            return FunctionError("init", "Runtime.InlineConflict", f"{conflict} Use `isolation: worker`.")
        self._variables = _publish(spec)
        try:
            handler = runtime.load(spec.handler, spec.python_path)
        except runtime.LoadError as error:
            failure = FunctionError("init", error.error_type, str(error), tuple(error.stack))
        except SystemExit as error:
            failure = FunctionError("init", "Runtime.ExitError", exit_text(self._exit_status(error, None)))
        except KeyboardInterrupt:
            failure = FunctionError("init", "Runtime.ExitError", exit_text(-signal.SIGINT))
        else:
            self._handler = handler
            call = getattr(handler, "__call__", None)  # noqa: B004  an instance may have an async one
            self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)
            elapsed = round((time.monotonic() - started) * 1000, 3)
            self._telemetry.emit(FunctionInit(function=spec.name, pid=None, duration_ms=elapsed))
            return handler
        _withdraw(self._variables)
        self._variables = []
        return failure


def _other_module(spec: FunctionSpec) -> str | None:
    """The complaint if the handler's name is taken by a module that was loaded from elsewhere."""
    name = spec.handler.partition(":")[0].partition(".")[0]
    loaded = getattr(sys.modules.get(name), "__file__", None)
    found = PathFinder.find_spec(name, list(spec.python_path))
    if loaded is None or found is None or found.origin is None or found.origin == loaded:
        return None
    return (
        f"Module '{name}' of function {spec.name} is {found.origin}, but the daemon has loaded {loaded} by that "
        "name, and inline functions share its modules."
    )


def _other_value(spec: FunctionSpec) -> str | None:
    """The complaint if the daemon's environment has another value for one of the function's variables."""
    for name, value in spec.environment.items():
        if os.environ.get(name, value) != value:
            return (
                f"Function {spec.name} wants another value of the variable {name} than the daemon's environment "
                "has, and inline functions share that."
            )
    return None


def _publish(spec: FunctionSpec) -> list[str]:
    """Put the function's variables into the daemon's environment; those for its AWS clients only where none are set.

    Returns the names that are to be withdrawn at the end.
    """
    names = []
    for name, value in {**spec.aws_environment, **spec.environment}.items():
        if name not in os.environ or _shared_variables[name]:
            os.environ.setdefault(name, value)
            _shared_variables[name] += 1
            names.append(name)
    return names


def _withdraw(names: list[str]) -> None:
    for name in names:
        _shared_variables[name] -= 1
        if not _shared_variables[name]:
            os.environ.pop(name, None)
