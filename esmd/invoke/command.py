"""One execution environment of any language: a program that asks Lambda's Runtime API for invocations.

| what happens                                       | what it means                                                  |
|----------------------------------------------------|----------------------------------------------------------------|
| it asks for the first invocation                   | it is loaded                                                   |
| it posts an init error                             | it cannot be loaded; it is killed                              |
| it exits before either, or takes too long          | likewise                                                       |
| it answers, and asks for the next invocation       | the answer is the outcome; what it printed until then belongs to it |
| it answers, and then exits or does not ask in time | the answer is the outcome; the environment is gone             |
| it exits, or is late, and has not answered         | a function error                                               |
| it exits before it was given the invocation        | nothing was run: another environment may try                   |
| `leave`                                            | SIGTERM to it, as in Lambda's shutdown phase                   |

What may be said when: `esmd.invoke.runtime_session`. How it is heard: `esmd.invoke.runtime_api`. How the process ends,
and what is said of that: `esmd.invoke.process`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shlex
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from esmd.invoke import peers
from esmd.invoke.environment import OnProcess
from esmd.invoke.failures import ended, not_loaded
from esmd.invoke.process import HandlerProcess
from esmd.invoke.runtime import trace_header
from esmd.invoke.runtime_api import RuntimeApi
from esmd.invoke.runtime_session import Invocation, RuntimeSession
from esmd.invoke.variables import log_stream_name, process_environment
from esmd.observe.events import EnvironmentIntruder

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.invoke.environment import InitializationType
    from esmd.invoke.process import LeaveCause
    from esmd.invoke.protocol import CommandSpec
    from esmd.mappings.outcomes import FunctionError, Outcome
    from esmd.observe.telemetry import Telemetry


class CommandEnvironment(OnProcess):
    """A program and its Runtime API; see `esmd.invoke.environment.Environment`."""

    def __init__(
        self, spec: CommandSpec, *, telemetry: Telemetry, on_end: Callable[[CommandEnvironment], None]
    ) -> None:
        self._spec = spec
        self._telemetry = telemetry
        self._on_end = on_end
        self._reply: asyncio.Future[bool | None] | None = None
        self._intruded = False
        self._session = RuntimeSession()
        self._api = RuntimeApi(
            self._session,
            on_change=self._changed,
            on_foreign=self._intrusion,
            token="" if peers.can_tell() else secrets.token_urlsafe(24),
        )

    @classmethod
    def launch(
        cls,
        spec: CommandSpec,
        *,
        telemetry: Telemetry,
        initialization_type: InitializationType,
        on_end: Callable[[CommandEnvironment], None],
    ) -> CommandEnvironment:
        """Open the Runtime API and start the program, which may ask at once and is answered after `load`.

        Raises:
            OSError: no port can be opened, or the program cannot be started; the text says why.
        """
        environment = cls(spec, telemetry=telemetry, on_end=on_end)
        variables = process_environment(spec, log_stream=log_stream_name(), initialization_type=initialization_type)
        try:
            environment._process = HandlerProcess.start(
                spec.command,
                spec=spec,
                environ=variables | {"AWS_LAMBDA_RUNTIME_API": environment._api.address},
                telemetry=telemetry,
                on_exit=environment._exited,
                on_end=environment._ended,
            )
        except OSError as error:
            environment._api.close()
            raise OSError(why_not_started(spec, error, variables.get("PATH", os.defpath))) from error
        return environment

    async def load(self, *, limit: float, request_id: str = "") -> FunctionError | None:
        """Wait until the program asks for its first invocation; see `Environment`."""
        process = self._process
        try:
            await self._api.serve(partial(peers.peer, pid=process.pid) if peers.can_tell() else None)
        except asyncio.CancelledError:
            await process.gone("cancelled")
            raise
        if await self._progress(limit) is None:
            what = shlex.join(self._spec.command)
            return not_loaded(request_id, cause=process.cause, status=process.status, what=what, seconds=limit)
        if self._session.failure is not None:
            await process.gone("unloaded")
        return self._session.failure

    async def run(self, event: bytes, *, request_id: str) -> Outcome | None:
        """Give the program an event and wait until it asks for the next; see `Environment`."""
        process, session, timeout = self._process, self._session, self._spec.timeout
        if process.ending or not session.resting:
            return None
        process.begin(request_id)
        self._api.offer(
            Invocation(
                request_id=request_id,
                event=event,
                deadline_ms=int((time.time() + timeout) * 1000),
                arn=self._spec.arn,
                trace=trace_header(request_id),
            )
        )
        await self._progress(timeout)
        if session.outcome is not None:
            return session.outcome
        if not session.handed_over and process.cause == "itself":
            return None
        return ended(request_id, cause=process.cause, status=process.status, seconds=timeout)

    def leave(self, cause: LeaveCause) -> None:
        """Send SIGTERM to the program alone, which may have its own way to end what it started; see `Environment`."""
        self._process.leave(cause)
        if not self._process.ended.done():  # once reaped, the id may belong to another
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    async def _progress(self, seconds: float) -> bool | None:
        """True once the program has nothing to do, or cannot run; None once it is gone."""
        self._reply = asyncio.get_running_loop().create_future()
        try:
            return await self._process.answer(self._reply, seconds=seconds)
        finally:
            self._reply = None

    def _changed(self) -> None:
        reply, session = self._reply, self._session
        if reply is None or reply.done() or self._process.ending:
            return
        if session.resting:
            self._process.finish()  # whatever it printed before it asked is in the pipes by now
            reply.set_result(True)
        elif session.failure is not None:
            reply.set_result(True)

    def _intrusion(self, address: peers.Address, uid: int | None) -> None:
        if not self._intruded:  # whoever tries once can try often
            self._intruded = True
            event = EnvironmentIntruder(function=self._spec.name, pid=self.pid, client_port=address[1], uid=uid)
            self._telemetry.emit(event)

    def _exited(self) -> None:
        self._api.take()  # an answer that was sent counts, though the process has ended since
        if self._session.state == "offered":
            self._process.request_id = None  # it knew nothing of that invocation

    def _ended(self) -> None:
        self._api.close()
        self._on_end(self)


def why_not_started(spec: CommandSpec, error: OSError, path: str) -> str:
    """What is wrong with a command, for a person.

    Args:
        spec: of the function.
        error: of the attempt to start it.
        path: the `PATH` that a program without a slash was looked for in.
    """
    program = spec.command[0]
    if not os.path.isdir(spec.working_directory):  # noqa: PTH112  as the system sees it
        return "there is no such folder"
    if error.errno == errno.ENOENT and "/" not in program:
        return f"no program {program!r} in PATH ({path}); write ./{program} for one beside the configuration"
    if error.errno == errno.ENOENT and not os.path.exists(os.path.join(spec.working_directory, program)):  # noqa: PTH110,PTH118
        return f"{program!r} does not exist"
    if error.errno == errno.ENOENT:
        return f"the interpreter that the first line of {program!r} names does not exist"
    if error.errno == errno.EACCES:
        return f"{program!r} is not executable: chmod +x {shlex.quote(program)}"
    if error.errno == errno.ENOEXEC:
        return f"{program!r} is no program: a script needs a first line such as #!/bin/sh"
    return str(error)
