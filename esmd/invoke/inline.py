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
from typing import TYPE_CHECKING, Any

from esmd.invoke import runtime
from esmd.invoke.failures import closing, exit_text, exited, outcome_of, request_too_large, timed_out
from esmd.invoke.protocol import StartFailed
from esmd.invoke.threads import Threads
from esmd.invoke.variables import log_stream_name
from esmd.mappings.outcomes import FunctionError, Throttled
from esmd.observe.events import FunctionInit, FunctionThrottled, HandlerCrashed, HandlerOutput, HandlerTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.invoke.protocol import FunctionSpec
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry

STOP_SECONDS = 1.0
"""How long a cancelled async handler may take to clean up before nobody waits for it."""

_shared_variables: Counter[str] = Counter()
"""Variables that inline functions have set in the daemon's environment, and how many of them rely on each."""


class _Attempt:
    """One invocation: a task that outlives its deadline if the handler does."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.on_thread = False
        self.task: asyncio.Task[runtime.Reply | int]


class InlineInvoker:
    """An `Invoker` whose handler runs in the daemon's own process."""

    def __init__(self, spec: FunctionSpec, *, telemetry: Telemetry, stop_seconds: float = STOP_SECONDS) -> None:
        self._spec = spec
        self._telemetry = telemetry
        self._stop_seconds = stop_seconds
        self._log_stream = log_stream_name()
        self._handler: Callable[[Any, runtime.LambdaContext], Any] | None = None
        self._is_async = False
        self._variables: list[str] = []
        self._threads: Threads[runtime.Reply | Awaitable[object]] = Threads(f"esmd-{spec.name}")
        self._attempts: set[_Attempt] = set()
        self._closed: asyncio.Event | None = None

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
        if self._handler is None and self.limit:
            self._handler = self._load()
        if self._closed is None:
            ...

    async def close(self) -> None:
        """Cancel async handlers; leave sync ones, which cannot be stopped, to the end of the process."""
