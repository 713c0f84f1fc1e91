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
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic_core import from_json

from esmd.invoke import runtime
from esmd.invoke.attempts import Attempts
from esmd.invoke.failures import closing, exit_text, exited, outcome_of, request_too_large, timed_out
from esmd.invoke.protocol import MAX_REQUEST_BYTES, StartFailed
from esmd.invoke.sharing import other_module, other_value, publish, withdraw
from esmd.invoke.threads import Threads
from esmd.invoke.variables import function_facts, log_stream_name
from esmd.mappings.outcomes import FunctionError, Throttled, Unreachable
from esmd.observe.events import HandlerCrashed, HandlerOutput, HandlerTimeout
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.invoke.protocol import PythonSpec
    from esmd.mappings.events import Event
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry

_CLOCK_SECONDS = 0.001
"""A timer may ring too early by a tick of the loop's clock."""

STOP_SECONDS = 1.0
"""How long a cancelled async handler may take to clean up before nobody waits for it."""


quick_json = partial(runtime.read_json, quick=from_json)
"""What `json.loads` makes of a text."""


def argument(event: bytes | Event) -> object:
    """What a handler is given of an event, its own."""
    return quick_json(event) if isinstance(event, bytes) else event.value()


begin = partial(runtime.begin, parse=argument)
"""Calls a handler with an event that is quickly read."""


class _Call:
    """One invocation. Its task outlives the invocation if the handler does.

    Attributes:
        due: its deadline (loop time).
        task: runs the handler.
        ending: ends the invocation at its deadline.
        on_thread: the handler is running on a thread now, and cannot be stopped.
        abandoned: nobody wants its answer any more.
        answered: the invocation has its outcome, or nobody waits for it.
    """

    __slots__ = ("_done", "abandoned", "answered", "due", "ending", "on_thread", "request_id", "task")

    def __init__(self, request_id: str, due: float, done: Callable[[Outcome], None]) -> None:
        self.request_id = request_id
        self.due = due
        self.task: asyncio.Task[runtime.Reply | int]
        self.ending: asyncio.Task[None] | None = None
        self.on_thread = False
        self.abandoned = False
        self.answered = False
        self._done = done

    def answer(self, outcome: Outcome) -> None:
        """The invocation ends with this, unless it has ended."""
        if not self.answered:
            self.answered = True
            self._done(outcome)

    async def stop(self, seconds: float) -> bool:
        """Cancel it, and give it `seconds` to clean up. False if it runs on."""
        self.abandoned = True
        if not self.on_thread:
            self.task.cancel()
            await asyncio.wait([self.task], timeout=seconds)
        return self.task.done()


class InlineInvoker:
    """An `Invoker` whose handler runs in the daemon's own process."""

    def __init__(self, spec: PythonSpec, *, telemetry: Telemetry, stop_seconds: float = STOP_SECONDS) -> None:
        self._spec = spec
        self._telemetry = telemetry
        self._stop_seconds = stop_seconds
        self._context: runtime.LambdaContext | None = None
        self._handler: runtime.Handler | None = None
        self._is_async = False
        self._variables: list[str] = []
        self._threads: Threads[runtime.Reply | Awaitable[object]] = Threads(f"esmd-{spec.name}")
        self._attempts = Attempts(spec.name, telemetry)
        self._failure: FunctionError | None = None
        self._loading = 0
        self._calls: dict[_Call, None] = {}  # in the order of their deadlines, as all have the same time
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self._shut = asyncio.Event()

    @property
    def limit(self) -> int:
        """Most invocations at once."""
        return self._spec.concurrency

    @property
    def running(self) -> int:
        """Places taken: invocations, and handlers that run on past their deadline."""
        return len(self._calls) + self._loading

    def on_freed(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a handler returns that nobody waits for any more."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Import the handler, on the loop's own thread: a slow import holds up the daemon.

        Raises:
            StartFailed: it cannot run; the text says why and what was searched.
        """
        if not self.limit:
            return
        loaded = None if self._shut.is_set() else self._handler or await self._loaded()
        if loaded is None:
            raise StartFailed("Runtime.ExitError", closing(self._spec).message)
        if isinstance(loaded, FunctionError):
            raise StartFailed(loaded.error_type, loaded.message)

    async def invoke(self, event: bytes | Event, *, request_id: str) -> Outcome:
        """Run the handler once; see `Invoker.invoke`."""
        spec = self._spec
        if self._shut.is_set():
            return closing(spec)
        if self.running >= self.limit:
            return Throttled()
        if (refused := request_too_large(event)) is not None:
            return refused
        handler = self._handler or await self._loaded()
        if handler is None:
            return closing(spec)
        if isinstance(handler, FunctionError):
            return handler
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def keep(outcome: Outcome) -> None:
            if not ended.done():
                ended.set_result(outcome)

        call = self._call(handler, event, request_id, keep)
        try:
            return await ended
        finally:
            if not call.answered:  # we are cancelled
                await self.cancel(call)

    def begin(self, event: Event, *, request_id: str, done: Callable[[Outcome], None]) -> _Call | None:
        """Run the handler once, without anybody awaiting it: `done` is called with the outcome, later.

        Returns None where that cannot be done, and `invoke` knows why. What is returned can be cancelled.
        """
        handler = self._handler
        if (
            handler is None
            or self._shut.is_set()
            or self.running >= self.limit
            or event.is_longer_than(MAX_REQUEST_BYTES)
        ):
            return None
        return self._call(handler, event, request_id, done)

    async def cancel(self, call: _Call) -> None:
        """Stop an invocation that has not ended; nobody is told of its outcome. Gives the handler time to clean up."""
        call.answered = True
        await call.stop(self._stop_seconds)

    def _call(
        self, handler: runtime.Handler, event: bytes | Event, request_id: str, done: Callable[[Outcome], None]
    ) -> _Call:
        loop = asyncio.get_running_loop()
        call = _Call(request_id, loop.time() + self._spec.timeout, done)
        if self._context is None:
            facts = function_facts(self._spec, log_stream_name())
            self._context = runtime.LambdaContext(**facts, request_id="", deadline=0.0, clock=loop.time)
        context = runtime.context_like(self._context, request_id, call.due)
        call.task = loop.create_task(self._run(call, handler, event, context))
        self._calls[call] = None
        call.task.add_done_callback(partial(self._leave, call))
        if self._timer is None:
            self._timer = loop.call_at(call.due, self._ring)
        return call

    def _ring(self) -> None:
        """End what is due. One timer for all invocations: it looks at the oldest, and rings again for the next."""
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time() + _CLOCK_SECONDS
        for call in self._calls:
            if call.due > now:
                self._timer = loop.call_at(call.due, self._ring)
                return
            if call.ending is None and not call.answered:
                call.ending = loop.create_task(self._end_late(call))

    async def _end_late(self, call: _Call) -> None:
        """The deadline has come: the outcome is the timeout, whatever the handler does now."""
        spec = self._spec
        try:
            await call.stop(self._stop_seconds)
        finally:  # also where something has cancelled this: somebody waits for the outcome
            self._say_late(call, spec)

    def _say_late(self, call: _Call, spec: PythonSpec) -> None:
        runs_on: Literal[True] | None = None if call.task.done() else True
        if call.answered:
            return
        self._telemetry.emit(
            HandlerTimeout(
                function=spec.name, request_id=call.request_id, timeout_s=spec.timeout, pid=None, still_running=runs_on
            )
        )
        call.answer(timed_out(call.request_id, spec.timeout))

    async def close(self) -> None:
        """Cancel async handlers; sync ones, which cannot be stopped, are left to end with the process."""
        self._shut.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls = list(self._calls)
        for call in calls:
            if call.ending is None:
                call.answer(closing(self._spec))
            call.abandoned = True
            call.task.cancel()
        if calls:
            await asyncio.wait([call.task for call in calls], timeout=self._stop_seconds)
        self._threads.close()
        withdraw(self._variables)
        self._variables = []

    async def _run(
        self, call: _Call, handler: runtime.Handler, event: bytes | Event, context: runtime.LambdaContext
    ) -> runtime.Reply | int:
        """Call the handler and await what it returns. An exit status if it asked the process to end."""
        try:
            if self._is_async:
                begun = begin(handler, event, context)
            else:
                inside = contextvars.copy_context()
                call.on_thread = True
                try:
                    begun = await self._threads.run(partial(inside.run, begin, handler, event, context))
                finally:
                    call.on_thread = False
            if isinstance(begun, runtime.Reply):
                return begun
            if call.abandoned:
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

    def _outcome_of(self, task: asyncio.Task[runtime.Reply | int], request_id: str) -> Outcome:
        if task.cancelled():  # before it did anything: the loop is being closed
            return closing(self._spec)
        if (error := task.exception()) is not None:  # no thread could be started
            return Unreachable(f"{type(error).__name__}: {error}")
        ended = task.result()
        if isinstance(ended, runtime.Reply):
            return outcome_of(ended.kind, ended.body)
        self._telemetry.emit(
            HandlerCrashed(function=self._spec.name, request_id=request_id, pid=None, exit_status=ended)
        )
        return exited(request_id, ended)

    def _leave(self, call: _Call, task: asyncio.Task[runtime.Reply | int]) -> None:
        del self._calls[call]
        if call.answered:
            for listener in self._listeners:
                listener()
        elif call.ending is None:
            call.answer(self._outcome_of(task, call.request_id))

    async def _loaded(self) -> runtime.Handler | FunctionError | None:
        """The handler, or why it cannot run; after a failure not at once. None if the invoker is closed meanwhile."""
        failures = self._attempts.failures
        self._loading += 1
        try:
            pause = self._attempts.pause
            if pause and await stopped_before(self._shut, asyncio.get_running_loop().time() + pause):
                return None
        finally:
            self._loading -= 1
        if self._failure is not None and self._attempts.failures > failures:
            return self._failure  # somebody else who waited has tried
        loaded = self._handler or self._load()
        self._failure = loaded if isinstance(loaded, FunctionError) else None
        if self._failure is not None:
            self._attempts.failed(self._failure)
        return loaded

    def _load(self) -> runtime.Handler | FunctionError:
        """Import the handler and keep it, or say why it cannot run."""
        spec = self._spec
        started = time.monotonic()
        for folder in reversed(spec.python_path):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        if (conflict := other_module(spec) or other_value(spec)) is not None:
            return FunctionError("init", "Runtime.InlineConflict", f"{conflict} Use `isolation: worker`.")
        self._variables = publish(spec)
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
            self._attempts.succeeded(pid=None, seconds=time.monotonic() - started)
            return handler
        withdraw(self._variables)
        self._variables = []
        return failure
