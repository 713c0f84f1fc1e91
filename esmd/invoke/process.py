"""A handler's process, whatever speaks in it: started, watched, heard, killed with all it started, and reaped.

| state   | what happens                | next   | what is done                                                        |
|---------|-----------------------------|--------|---------------------------------------------------------------------|
| running | `begin`, `finish`           | running| what is printed in between belongs to that request                  |
| running | a wait comes to its deadline| ending | kill; `HandlerTimeout` if it was an invocation                       |
| running | who waits is cancelled      | ending | kill, then let the cancellation go on                               |
| running | too much memory             | ending | kill                                                                |
| running | `leave`                     | ending | nothing: the owner asks it, in the way that the process understands |
| any     | `kill`                      | ending | SIGKILL to the whole process group; `EnvironmentKilled`             |
| ending  | it stays for 5 s all the same | ending | nobody waits for it any more, and its owner forgets it             |
| any     | the process ends            | ended  | kill what is left of its group, take what was printed, close, reap   |

At the end one event at most says why it came, by its cause:

| cause                                       | event                                                             |
|---------------------------------------------|-------------------------------------------------------------------|
| `itself`                                    | `HandlerCrashed`                                                  |
| `idle`, `reloaded`, `shutdown`, and it left | `EnvironmentStopped`                                              |
| the same, and it did not leave              | `EnvironmentKilled` for `shutdown`                                |
| `timeout`, `memory`, `init`, `cancelled`, `shutdown`, `protocol` | `EnvironmentKilled`                          |
| `unloaded`: it has said why it cannot load  | none: the pool says it, once for each reason                      |

Whoever waits for an answer gets it when the process is really gone: nothing runs on after a timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import threading
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar, cast

from esmd.invoke import keeper
from esmd.invoke.memory import MEGABYTE, resident_bytes
from esmd.invoke.output import Pipe
from esmd.observe.events import (
    EnvironmentKilled,
    EnvironmentStopped,
    HandlerCrashed,
    HandlerOutput,
    HandlerTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.invoke.protocol import ProcessSpec
    from esmd.observe.telemetry import Telemetry

REAP_SECONDS = 5.0
"""How long a killed process may stay (stuck in the kernel, say on a dead network disk) before nobody waits for it."""

MEMORY_SECONDS = 0.05
"""Time between two looks at the memory of a process that is at work."""

LeaveCause = Literal["idle", "reloaded", "shutdown"]
KillCause = Literal["timeout", "memory", "init", "cancelled", "shutdown", "protocol"]
QuietCause = Literal["itself", "unloaded"]
Cause = QuietCause | LeaveCause | KillCause
"""Why a process ended: by itself, or because the daemon wanted it to."""

_QUIET = {"itself", "unloaded"}

T = TypeVar("T")


def nothing() -> None:
    """Do nothing."""


class HandlerProcess:
    """A child process that leads a session and a process group of its own. Made by `start`, inside the running loop.

    Attributes:
        pid: of the process.
        ended: resolves to the exit status (negative: a signal) when the process is gone and everything is closed.
        ending: it cannot be given anything any more.
        cause: why it is ending; `itself` until something else is.
        request_id: of the invocation under way.
        invocations: how many were begun.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        spec: ProcessSpec,
        telemetry: Telemetry,
        on_exit: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._spec = spec
        self._telemetry = telemetry
        self._on_exit = on_exit
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.ending = False
        self.cause: Cause = "itself"
        self.request_id: str | None = None
        self.invocations = 0
        self._started = self._loop.time()
        self._killed = False
        self._forgotten = False
        self._awaited: asyncio.Future[Any] | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._streams = cast("tuple[IO[bytes], IO[bytes]]", (process.stdout, process.stderr))
        self._pipes = (
            Pipe(self._streams[0].fileno(), lambda line: self._printed("stdout", line)),
            Pipe(self._streams[1].fileno(), lambda line: self._printed("stderr", line)),
        )
        self._printing = select.poll()
        for pipe in self._pipes:
            self._loop.add_reader(pipe.descriptor, self._read, pipe)
            self._printing.register(pipe.descriptor, select.POLLIN)
        self._exit_watch = self._watch_exit()
        self._limit = None if spec.memory_limit is None else spec.memory_limit * MEGABYTE
        self._at_work = True  # it loads
        self._memory_watch: asyncio.TimerHandle | None = None
        if self._limit is not None:
            self._memory_watch = self._loop.call_later(MEMORY_SECONDS, self._look_at_memory)

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        spec: ProcessSpec,
        environ: dict[str, str],
        pass_fds: Sequence[int] = (),
        telemetry: Telemetry,
        on_exit: Callable[[], None] = nothing,
        on_end: Callable[[], None],
    ) -> HandlerProcess:
        """Start a process in the function's working directory, with nothing but `environ` in its environment.

        The loop's own thread does it: on Linux a process may be told to end when the thread that started it ends.

        Args:
            argv: program and arguments; a program without a slash is looked for in the `PATH` of `environ`.
            spec: of the function.
            environ: all of its environment.
            pass_fds: descriptors that it inherits beside its streams.
            telemetry: takes what it prints, and how it ends.
            on_exit: called when it has ended, before anything is said of it: to take what it has sent before.
            on_end: called once, when it is gone, or when nobody waits for it any more.

        Raises:
            OSError: the process cannot be started.
        """
        process = subprocess.Popen(  # noqa: S603  it is what the user configured
            list(argv),
            bufsize=0,
            cwd=spec.working_directory,
            env=environ,
            pass_fds=pass_fds,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        keeper.watch(process.pid)
        return cls(process, spec=spec, telemetry=telemetry, on_exit=on_exit, on_end=on_end)

    @property
    def status(self) -> int:
        """The exit status; of a process that is stuck, the one it will have."""
        status = self._process.returncode
        return -signal.SIGKILL if status is None else status

    # --- at work

    def begin(self, request_id: str) -> None:
        """An invocation begins: what is printed from now on belongs to it, what was before to none."""
        self.take_output()
        self.request_id = request_id
        self.invocations += 1
        self._at_work = True
        if self._memory_watch is None and self._limit is not None:
            self._memory_watch = self._loop.call_later(MEMORY_SECONDS, self._look_at_memory)

    def finish(self) -> None:
        """The invocation, or loading, is over: what it printed is taken."""
        self.take_output()
        self.request_id = None
        self._at_work = False

    async def answer(self, reply: asyncio.Future[T | None], *, seconds: float) -> T | None:
        """What `reply` resolves to, which the caller sets; None once the process is gone.

        It is killed when `seconds` are over (`cause` is then `timeout`, or `init` if no invocation was begun), and when
        the awaiting task is cancelled.
        """
        if self.ended.done():  # before anybody came to wait for it
            return None
        self._awaited = reply
        timer = self._loop.call_later(seconds, self._late, reply, seconds)
        try:
            return await reply
        except asyncio.CancelledError:
            await self.gone("cancelled")
            raise
        finally:
            timer.cancel()
            self._awaited = None

    def take_output(self) -> None:
        """Emit what was printed so far, to the last character."""
        # Asked before and after every invocation: most print nothing, which one call tells of both pipes.
        printing = self._printing.poll(0)
        for pipe in self._pipes:
            if printing:
                pipe.read()
            pipe.flush()

    def _late(self, reply: asyncio.Future[T | None], seconds: float) -> None:
        if self.ending or reply.done():
            return  # the answer, or the end, was seen in the same turn of the loop
        if self.request_id is None:
            self.kill("init")
            return
        self._telemetry.emit(
            HandlerTimeout(function=self._spec.name, request_id=self.request_id, timeout_s=seconds, pid=self.pid)
        )
        self.kill("timeout")

    # --- the way out

    def leave(self, cause: LeaveCause) -> None:
        """It is going to be asked to leave, by whoever can talk to it; `terminate` or `kill` it if it does not."""
        if not self.ending:
            self.cause = cause
        self.ending = True

    def terminate(self) -> None:
        """Send SIGTERM to the process and every other of its group."""
        self._signal_group(signal.SIGTERM)

    def kill(self, cause: KillCause | QuietCause, *, memory_mb: int | None = None) -> None:
        """End the process and every other of its group, now.

        Args:
            cause: `itself` where it is about to end, and only the rest of its group may have to be killed.
            memory_mb: what was found, where that is the cause.
        """
        if self.ended.done():
            return
        if not self.ending:
            self.cause = cause
        elif cause not in _QUIET and self.cause not in _QUIET:
            cause = "shutdown"  # it was asked to leave before, and did not
        else:
            cause = "itself"
        self.ending = True
        if cause not in _QUIET and not self._killed:
            self._killed = True
            self._telemetry.emit(
                EnvironmentKilled(
                    function=self._spec.name,
                    pid=self.pid,
                    reason=cast("KillCause", cause),
                    request_id=self.request_id,
                    memory_mb=memory_mb,
                )
            )
        if self._overdue is None:
            self._overdue = self._loop.call_later(REAP_SECONDS, self._forget)
        self._signal_group(signal.SIGKILL)

    async def gone(self, cause: KillCause | QuietCause = "shutdown") -> None:
        """Kill it, and wait until it is gone (or stuck where nothing can end it)."""
        self.kill(cause)
        await asyncio.wait([self.ended], timeout=REAP_SECONDS)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process.returncode is None:  # once reaped, the id may belong to another group
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left, or only a zombie (macOS)
                os.killpg(self.pid, number)

    def _forget(self) -> None:
        """Nobody is to wait for it any more."""
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)
        if not self._forgotten:
            self._forgotten = True
            self._on_end()

    def _watch_exit(self) -> int | None:
        """See to it that `_exited` is called; returns the descriptor that tells it, where there is such a thing."""
        try:
            watch = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # macOS, old kernels
            threading.Thread(target=self._await_exit, name=f"esmd-wait-{self.pid}", daemon=True).start()
            return None
        self._loop.add_reader(watch, self._exited)
        return watch

    def _await_exit(self) -> None:
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # not reaped: its group can still be signalled
        else:
            self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._exited)

    def _exited(self) -> None:
        """The process has ended: what it left behind goes too, and then it is reaped."""
        self._signal_group(signal.SIGKILL)
        status = self._process.poll()
        if status is None or self.ended.done():
            return
        self._on_exit()
        self.ending = True
        self.take_output()
        for stream in self._streams:
            self._loop.remove_reader(stream)
            stream.close()
        if self._exit_watch is not None:
            self._loop.remove_reader(self._exit_watch)
            os.close(self._exit_watch)
        for timer in (self._overdue, self._memory_watch):
            if timer is not None:
                timer.cancel()
        keeper.forget(self.pid)
        self._say_end(status)
        self.ended.set_result(status)
        self._forget()

    def _say_end(self, status: int) -> None:
        if self.cause == "itself":
            self._telemetry.emit(
                HandlerCrashed(function=self._spec.name, request_id=self.request_id, pid=self.pid, exit_status=status)
            )
        elif self.cause != "unloaded" and not self._killed:
            self._telemetry.emit(
                EnvironmentStopped(
                    function=self._spec.name,
                    pid=self.pid,
                    reason=cast("LeaveCause", self.cause),
                    invocations=self.invocations,
                    age_s=round(self._loop.time() - self._started, 3),
                )
            )

    # --- output and memory

    def _read(self, pipe: Pipe) -> None:
        if not pipe.read():
            self._loop.remove_reader(pipe.descriptor)

    def _printed(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        self._telemetry.emit(
            HandlerOutput(function=self._spec.name, request_id=self.request_id, stream=stream, message=line)
        )

    def _look_at_memory(self) -> None:
        """Kill the process if it has too much; else look again in a while, as long as it is at work."""
        self._memory_watch = None
        if self._limit is None or not self._at_work or self.ending:
            return
        used = resident_bytes(self.pid, above=self._limit)
        if used is not None and used > self._limit:
            self.kill("memory", memory_mb=-(-used // MEGABYTE))  # up: what is said is above the limit, too
        else:
            self._memory_watch = self._loop.call_later(MEMORY_SECONDS, self._look_at_memory)
