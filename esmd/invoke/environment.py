"""One execution environment: a process that has loaded a handler and invokes it, one event at a time.

`Environment` is what the pool needs of one; `PythonEnvironment` is a Python worker.

| state   | what happens               | next   | what is done                                                     |
|---------|----------------------------|--------|------------------------------------------------------------------|
| loading | `READY`                    | idle   | nothing                                                          |
| loading | `ERROR`                    | ending | kill; the failure says why it cannot be loaded                   |
| loading | the limit is over          | ending | kill; the failure is a timeout                                   |
| idle    | `run`                      | busy   | send the event                                                   |
| idle    | `leave`                    | ending | close the channel: the worker leaves by itself                   |
| busy    | `ANSWER`, `ERROR`          | idle   | take what was printed, then return the outcome                   |
| busy    | the deadline               | ending | kill; `HandlerTimeout`                                           |
| busy    | the awaiting task cancelled| ending | kill, then let the cancellation go on                            |
| any     | what comes is not a frame  | ending | kill                                                             |
| any     | the channel closes         | ending | kill what is left of its group: the process is about to end      |

How the process ends, and what is said of it: `esmd.invoke.process`.

The transport is a socket pair with length-prefixed frames (`esmd.invoke.runtime`). Events and answers pass through as
bytes. What does not fit the socket's buffer at once is sent as the worker takes it, and never blocks the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from esmd.invoke import runtime
from esmd.invoke.failures import ended, error_of, not_loaded, outcome_of
from esmd.invoke.process import HandlerProcess
from esmd.invoke.protocol import ProcessSpec
from esmd.invoke.variables import function_facts, log_stream_name, process_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.invoke.process import KillCause, LeaveCause
    from esmd.invoke.protocol import PythonSpec
    from esmd.mappings.outcomes import FunctionError, Outcome
    from esmd.observe.telemetry import Telemetry

S_contra = TypeVar("S_contra", bound=ProcessSpec, contravariant=True)

InitializationType = Literal["on-demand", "provisioned-concurrency"]
"""`AWS_LAMBDA_INITIALIZATION_TYPE` [specification F.2]."""

WORKER = str(Path(__file__).with_name("worker.py"))
"""The script that a worker runs (`esmd.invoke.worker`)."""

_RECEIVE_BYTES = 65_536
_WORKERS_FRAMES = frozenset({runtime.READY, runtime.ANSWER, runtime.ERROR})
_MAX_FRAME_BYTES = 8 * 1024 * 1024
"""No frame of an honest worker is longer: answers are limited, and so are error texts."""


class Environment(Protocol):
    """An execution environment, whatever its form. Life cycle: `load` once, `run` any number of times, then the end."""

    @property
    def pid(self) -> int:
        """Of its process."""
        ...

    @property
    def ended(self) -> asyncio.Future[int]:
        """Resolves to the exit status (negative: a signal) when the process is gone and everything is closed."""
        ...

    @property
    def usable(self) -> bool:
        """Whether it can be given another event."""
        ...

    @property
    def status(self) -> int:
        """The exit status; of a process that is stuck, the one it will have."""
        ...

    async def load(self, *, limit: float, request_id: str) -> FunctionError | None:
        """Load the handler within `limit` seconds. None if it is ready to run; else it is gone.

        Args:
            limit: seconds.
            request_id: of the invocation that waits for it, for the error's text; empty if none does.
        """
        ...

    async def run(self, event: bytes, *, request_id: str) -> Outcome | None:
        """Invoke the handler. None if the process had ended before: nothing was run, another may try."""
        ...

    def leave(self, cause: LeaveCause) -> None:
        """Ask an idle environment to go; `terminate` or `kill` it if it does not."""
        ...

    def terminate(self) -> None:
        """Send SIGTERM to an environment that was asked to leave."""
        ...

    def kill(self, cause: KillCause) -> None:
        """End the process, and all that it started, now."""
        ...

    async def gone(self) -> None:
        """Kill it, if it is still there, and wait until it is gone (or stuck where nothing can end it)."""
        ...


class Launch(Protocol[S_contra]):
    """Makes an environment: starts its process, which has loaded nothing yet."""

    def __call__(
        self,
        spec: S_contra,
        /,
        *,
        telemetry: Telemetry,
        initialization_type: InitializationType,
        on_end: Callable[[Environment], None],
    ) -> Environment:
        """Call `on_end(environment)` once, when the process is gone or given up.

        Raises:
            OSError: the process cannot be started; the text says why.
            ValueError: likewise.
        """
        ...


class OnProcess:
    """The part of an `Environment` that its process answers for."""

    _process: HandlerProcess

    @property
    def pid(self) -> int:
        """See `Environment`."""
        return self._process.pid

    @property
    def ended(self) -> asyncio.Future[int]:
        """See `Environment`."""
        return self._process.ended

    @property
    def usable(self) -> bool:
        """See `Environment`."""
        return not self._process.ending

    @property
    def status(self) -> int:
        """See `Environment`."""
        return self._process.status

    def terminate(self) -> None:
        """See `Environment`."""
        self._process.terminate()

    def kill(self, cause: KillCause) -> None:
        """See `Environment`."""
        self._process.kill(cause)

    async def gone(self) -> None:
        """See `Environment`."""
        await self._process.gone()


class PythonEnvironment(OnProcess):
    """A Python worker; see `Environment`."""

    def __init__(self, spec: PythonSpec, channel: socket.socket, on_end: Callable[[PythonEnvironment], None]) -> None:
        self._spec = spec
        self._channel = channel
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._log_stream = log_stream_name()
        self._reply: asyncio.Future[tuple[int, bytes] | None] | None = None
        self._inbox = bytearray()
        self._unsent = memoryview(b"")
        channel.setblocking(False)

    @classmethod
    def launch(
        cls,
        spec: PythonSpec,
        *,
        telemetry: Telemetry,
        initialization_type: InitializationType,
        on_end: Callable[[PythonEnvironment], None],
    ) -> PythonEnvironment:
        """Start the process; it has loaded nothing yet.

        Raises:
            OSError: the process cannot be started.
        """
        ours, theirs = socket.socketpair()
        environment = cls(spec, ours, on_end)
        try:
            environment._process = HandlerProcess.start(
                [sys.executable, "-P", "-u", WORKER, str(theirs.fileno()), str(os.getpid())],
                spec=spec,
                environ=process_environment(
                    spec, log_stream=environment._log_stream, initialization_type=initialization_type
                ),
                pass_fds=[theirs.fileno()],
                telemetry=telemetry,
                on_exit=environment._close,
                on_end=environment._ended,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        environment._loop.add_reader(ours, environment._on_channel)
        return environment

    async def load(self, *, limit: float, request_id: str = "") -> FunctionError | None:
        """Let the worker import the handler; see `Environment`."""
        spec = self._spec
        setting = {
            "handler": spec.handler,
            "python_path": spec.python_path,
            "function": function_facts(spec, self._log_stream),
        }
        if self._send(runtime.INIT, json.dumps(setting).encode(), b""):
            frame = await self._answer(limit)
        else:
            frame = None
            await self._process.gone("itself")
        if frame is None:
            process = self._process
            return not_loaded(request_id, cause=process.cause, status=process.status, what=spec.handler, seconds=limit)
        kind, body = frame
        if kind == runtime.READY:
            return None
        await self._process.gone("unloaded")
        return error_of(body, kind="init")

    async def run(self, event: bytes, *, request_id: str) -> Outcome | None:
        """Send the event and wait for the answer; see `Environment`."""
        process = self._process
        if process.ending:
            return None
        timeout = self._spec.timeout
        head = f'{{"request_id": {json.dumps(request_id)}, "deadline": {time.monotonic() + timeout!r}}}'
        process.begin(request_id)
        if not self._send(runtime.INVOKE, head.encode(), event):
            process.request_id = None
            return None
        frame = await self._answer(timeout)
        if frame is not None:
            return outcome_of(*frame)
        return ended(request_id, cause=process.cause, status=process.status, seconds=timeout)

    def leave(self, cause: LeaveCause) -> None:
        """Close our end of the channel; see `Environment`."""
        self._process.leave(cause)
        with contextlib.suppress(OSError):  # it may have gone already
            self._channel.shutdown(socket.SHUT_WR)

    # --- the channel

    def _answer(self, seconds: float) -> Awaitable[tuple[int, bytes] | None]:
        """The worker's next frame; None when the process is gone, by itself or for being late."""
        self._reply = self._loop.create_future()
        return self._process.answer(self._reply, seconds=seconds)

    def _send(self, kind: int, head: bytes, body: bytes) -> bool:
        """Send a frame, or as much as fits now. False if the worker is gone."""
        start = runtime.FRAME.pack(kind, len(head), len(body)) + head
        try:
            sent = self._channel.sendmsg([start, body])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._process.kill("itself")
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

    def _on_channel(self) -> None:
        received = self._receive()
        if received:
            self._take(received)
        elif received is not None:
            self._loop.remove_reader(self._channel)
            self._process.kill("itself")  # a worker that cannot be talked to is of no use, nor is what it started

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
        if kind not in _WORKERS_FRAMES or length > _MAX_FRAME_BYTES or missing < 0:
            self._process.kill("protocol")  # something else writes to its channel
        elif missing == 0:
            body = bytes(memoryview(self._inbox)[runtime.FRAME.size :])
            self._inbox = bytearray()
            reply = self._reply
            if self._process.ending or reply is None or reply.done():
                self._process.take_output()
            else:
                self._process.finish()  # what was printed before the answer is in the pipes by now
                reply.set_result((kind, body))

    def _close(self) -> None:
        while received := self._receive():  # an answer that was sent counts, though the process has ended since
            self._take(received)
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()

    def _ended(self) -> None:
        self._on_end(self)
