"""One execution environment: a worker process that has loaded a handler and invokes it, one event at a time.

| state   | what happens               | next   | what is done                                                     |
|---------|----------------------------|--------|------------------------------------------------------------------|
| loading | `READY`                    | idle   | `FunctionInit`                                                   |
| loading | `ERROR`                    | ending | kill; the failure says why it cannot be loaded                   |
| loading | 10 s are over              | ending | kill; the failure is a timeout                                   |
| idle    | `run`                      | busy   | send the event                                                   |
| idle    | `leave`                    | ending | close the channel: the worker leaves by itself                   |
| busy    | `ANSWER`, `ERROR`          | idle   | take what was printed, then return the outcome                   |
| busy    | the deadline               | ending | kill; `HandlerTimeout`                                           |
| busy    | the awaiting task cancelled| ending | kill, then let the cancellation go on                            |
| any     | `kill`                     | ending | SIGKILL to the whole process group                               |
| any     | the channel closes, or the process ends | ending | kill what is left of the group; `HandlerCrashed` if it was not us |
| ending  | the process was reaped     | ended  | take what was printed, close everything                          |

Whoever waits for an outcome gets it when the process is really gone: nothing runs on after a timeout.

The transport is a socket pair with length-prefixed frames (`esmd.invoke.runtime`). Events and answers pass through as
bytes. What does not fit the socket's buffer at once is sent as the worker takes it, and never blocks the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Literal, cast

from esmd.invoke import runtime
from esmd.invoke.failures import error_of, exited, outcome_of, timed_out
from esmd.invoke.output import Pipe
from esmd.invoke.variables import function_facts, log_stream_name, process_environment
from esmd.mappings.outcomes import FunctionError
from esmd.observe.events import FunctionInit, HandlerCrashed, HandlerOutput, HandlerTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.invoke.protocol import FunctionSpec
    from esmd.mappings.outcomes import Outcome
    from esmd.observe.telemetry import Telemetry

_RECEIVE_BYTES = 65_536
_MAX_FRAME_BYTES = 8 * 1024 * 1024
"""No frame of an honest worker is longer: answers are limited, and so are error texts."""

_REAP_SECONDS = 5.0
"""How long a killed process may stay (stuck in the kernel, say on a dead network disk) before nobody waits for it."""

Cause = Literal["itself", "deadline", "asked"]
"""Why a process ended: by itself, because it was late, or because the daemon wanted it to."""


class Environment:
    """A worker process. Made by `launch`; then `load` once, `run` any number of times, `leave` or `kill`.

    Attributes:
        pid: of the worker, which leads a process group and session of its own.
        ended: resolves to the exit status (negative: a signal) when the process is gone and everything is closed.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        process: subprocess.Popen[bytes],
        channel: socket.socket,
        *,
        log_stream: str,
        telemetry: Telemetry,
        on_end: Callable[[Environment], None],
    ) -> None:
        self.pid = process.pid
        self._spec = spec
        self._process = process
        self._channel = channel
        self._log_stream = log_stream
        self._telemetry = telemetry
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._waiter: asyncio.Future[tuple[int, bytes] | None] | None = None
        self._request_id: str | None = None
        self._cause: Cause = "itself"
        self._ending = False
        self._inbox = bytearray()
        self._unsent = memoryview(b"")
        self._exit_watch: int | None = None
        self._overdue: asyncio.TimerHandle | None = None
        channel.setblocking(False)
        self._streams = cast("tuple[IO[bytes], IO[bytes]]", (process.stdout, process.stderr))
        self._pipes = (
            Pipe(self._streams[0].fileno(), lambda line: self._printed("stdout", line)),
            Pipe(self._streams[1].fileno(), lambda line: self._printed("stderr", line)),
        )
        for pipe in self._pipes:
            self._loop.add_reader(pipe.descriptor, self._on_output, pipe)
        self._loop.add_reader(channel, self._on_channel)
        # Without it (macOS, old kernels) the closing of the channel is the only sign, and a thread reaps the process.
        with contextlib.suppress(AttributeError, OSError):
            self._exit_watch = os.pidfd_open(self.pid)
            self._loop.add_reader(self._exit_watch, self._on_exit)

    @classmethod
    def launch(cls, spec: FunctionSpec, *, telemetry: Telemetry, on_end: Callable[[Environment], None]) -> Environment:
        """Start the process; it has loaded nothing yet.

        The loop's own thread does it: on Linux a worker is killed when the thread that started it ends.

        Raises:
            OSError: the process cannot be started.
        """
        log_stream = log_stream_name()
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(  # noqa: S603  our own interpreter and file
                [sys.executable, "-P", "-u", runtime.__file__, str(theirs.fileno()), str(os.getpid())],
                bufsize=0,
                cwd=spec.working_directory,
                env=process_environment(spec, log_stream=log_stream),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(spec, process, ours, log_stream=log_stream, telemetry=telemetry, on_end=on_end)

    async def load(self, *, limit: float, request_id: str = "") -> FunctionError | None:
        """Let the worker import the handler, within `limit` seconds. None if it is ready to run."""
        spec = self._spec
        setting = {
            "handler": spec.handler,
            "python_path": spec.python_path,
            "function": function_facts(spec, self._log_stream),
        }
        started = time.monotonic()
        if self._send(runtime.INIT, json.dumps(setting).encode(), b""):
            frame = await self._reply(limit)
        else:
            frame = None
            await self.gone()
        if frame is None:
            if self._cause == "deadline":
                message = f"RequestId: {request_id} Error: Loading {spec.handler} timed out after {limit:.2f} seconds"
                return FunctionError("init", "Sandbox.Timedout", message)
            return exited(request_id, self.status, kind="init")
        kind, body = frame
        if kind == runtime.ERROR:
            await self.gone()
            return error_of(body, kind="init")
        elapsed = (time.monotonic() - started) * 1000
        self._telemetry.emit(FunctionInit(function=spec.name, pid=self.pid, duration_ms=round(elapsed, 3)))
        return None

    async def run(self, event: bytes, *, request_id: str) -> Outcome | None:
        """Invoke the handler. None if the process had ended before: nothing was run, another may try."""
        timeout = self._spec.timeout
        head = f'{{"request_id": {json.dumps(request_id)}, "deadline": {time.monotonic() + timeout!r}}}'
        self._take_output()  # what came while nobody asked for anything belongs to no request
        if self._ending or not self._send(runtime.INVOKE, head.encode(), event):
            return None
        self._request_id = request_id
        frame = await self._reply(timeout)
        if frame is not None:
            return outcome_of(*frame)
        if self._cause == "deadline":
            return timed_out(request_id, timeout)
        return exited(request_id, self.status)

    def leave(self) -> None:
        """Ask an idle worker to go; `terminate` or `kill` it if it does not."""
        self._cause = "asked"
        self._ending = True
        with contextlib.suppress(OSError):  # it may have gone already
            self._channel.shutdown(socket.SHUT_WR)

    def terminate(self) -> None:
        """Send SIGTERM to a worker that was asked to leave."""
        self._signal(signal.SIGTERM)

    def kill(self, cause: Cause = "asked") -> None:
        """End the worker and every process of its group, now."""
        if not self._ending:
            self._cause = cause
        self._ending = True
        self._signal(signal.SIGKILL)
        if self._overdue is None and not self.ended.done():
            self._overdue = self._loop.call_later(_REAP_SECONDS, self._wake, None)
            if self._exit_watch is None:
                reaped = self._loop.run_in_executor(None, self._process.wait)
                reaped.add_done_callback(lambda _: self._on_exit())

    async def gone(self) -> None:
        """Kill, and wait until the process is gone (or stuck where nothing can end it)."""
        self.kill()
        await asyncio.wait([self.ended], timeout=_REAP_SECONDS)

    @property
    def usable(self) -> bool:
        """Whether it can be given another event."""
        return not self._ending

    @property
    def status(self) -> int:
        """The exit status; of a process that is stuck, the one it will have."""
        status = self._process.returncode
        return -signal.SIGKILL if status is None else status

    # --- the channel

    def _send(self, kind: int, head: bytes, body: bytes) -> bool:
        """Send a frame, or as much as fits now. False if the worker is gone."""
        start = runtime.FRAME.pack(kind, len(head), len(body)) + head
        try:
            sent = self._channel.sendmsg([start, body])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.kill("itself")
            return False
        if sent < len(start) + len(body):
            self._unsent = memoryview(start + body)[sent:]
            self._loop.add_writer(self._channel, self._send_rest)
        return True

    def _send_rest(self) -> None:
        try:
            self._unsent = self._unsent[self._channel.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:  # the reading side sees the end as well, and says so
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._loop.remove_writer(self._channel)

    async def _reply(self, seconds: float) -> tuple[int, bytes] | None:
        """The worker's next frame; None when the process is gone, by itself or for being late."""
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._late, seconds)
        try:
            return await self._waiter
        except asyncio.CancelledError:
            await self.gone()
            raise
        finally:
            timer.cancel()
            self._waiter = None

    def _late(self, seconds: float) -> None:
        if self._ending or self._waiter is None or self._waiter.done():
            return  # the answer, or the end, was seen in the same turn of the loop
        if self._request_id is not None:
            self._telemetry.emit(
                HandlerTimeout(function=self._spec.name, request_id=self._request_id, timeout_s=seconds, pid=self.pid)
            )
        self.kill("deadline")

    def _wake(self, frame: tuple[int, bytes] | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(frame)

    def _on_channel(self) -> None:
        received = self._receive()
        if received:
            self._take(received)
        elif received is not None:
            self._loop.remove_reader(self._channel)
            self.kill("itself")  # a worker that cannot be talked to is of no use, nor is what it started

    def _receive(self) -> bytes | None:
        """What has come, empty at the end; None if nothing has come yet."""
        try:
            return self._channel.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:  # reset: the worker ended with something unread
            return b""

    def _take(self, received: bytes) -> None:
        self._inbox += received
        if len(self._inbox) < runtime.FRAME.size:
            return
        kind, _, length = runtime.FRAME.unpack_from(self._inbox)
        missing = runtime.FRAME.size + length - len(self._inbox)
        if length > _MAX_FRAME_BYTES or missing < 0:
            self.kill("itself")  # something else writes to its channel
        elif missing == 0:
            body = bytes(memoryview(self._inbox)[runtime.FRAME.size :])
            self._inbox = bytearray()
            self._take_output()  # what was printed before the answer is in the pipes by now
            if not self._ending:
                self._request_id = None
                self._wake((kind, body))

    # --- output and the end

    def _printed(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        self._telemetry.emit(
            HandlerOutput(function=self._spec.name, request_id=self._request_id, stream=stream, message=line)
        )

    def _on_output(self, pipe: Pipe) -> None:
        if not pipe.read():
            self._loop.remove_reader(pipe.descriptor)

    def _take_output(self) -> None:
        for pipe in self._pipes:
            pipe.finish()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:  # once reaped, the id may belong to another group
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left, or only a zombie (macOS)
                os.killpg(self.pid, number)

    def _on_exit(self) -> None:
        """The process has ended: what it left behind goes too, and then it is reaped."""
        self._signal(signal.SIGKILL)
        status = self._process.poll()
        if status is None or self.ended.done():
            return
        while received := self._receive():  # an answer that was sent counts, though the process has ended since
            self._take(received)
        self._ending = True
        self._take_output()
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()
        for stream in self._streams:
            self._loop.remove_reader(stream)
            stream.close()
        if self._exit_watch is not None:
            self._loop.remove_reader(self._exit_watch)
            os.close(self._exit_watch)
        if self._overdue is not None:
            self._overdue.cancel()
        if self._cause == "itself":
            self._telemetry.emit(
                HandlerCrashed(function=self._spec.name, request_id=self._request_id, pid=self.pid, exit_status=status)
            )
        self.ended.set_result(status)
        self._wake(None)
        self._on_end(self)
