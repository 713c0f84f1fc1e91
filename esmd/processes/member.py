"""The life of one child process, as the parent sees it: started, heard, started again when it dies, told to end.

| state               | what happens                 | next       | what is done                                          |
|---------------------|------------------------------|------------|-------------------------------------------------------|
| `waiting`           | its time has come            | `starting` | started, told what to run                             |
| `starting`          | every mapping has been tried | `ready`    |                                                       |
| `starting`, `ready` | it ends                      | `waiting`  | `process.died`; its shards are free; a pause          |
| `starting`, `ready` | drain                        | `draining` | told to drain                                         |
| `waiting`           | drain                        | `ended`    |                                                       |
| `draining`          | halt                         | `draining` | told to halt; killed if it does not end in time       |
| `draining`          | it ends                      | `ended`    | `process.died` if it did not end as it should         |
| any                 | what runs it is cancelled    | `waiting`  | killed; its shards are free                           |

The first death in a row costs no pause: the successor goes on with the same shards. The pause doubles from the second on;
a life of a minute ends the row.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from esmd.cli.exits import Exit
from esmd.invoke.output import PIPE_BYTES, Lines
from esmd.mappings.backoff import delay
from esmd.observe import process_events as say
from esmd.observe.daemon_events import DaemonCutShort, DaemonDraining
from esmd.observe.events import FunctionStats
from esmd.observe.logging import write_line
from esmd.observe.mapping_events import MappingAdvice, MappingStats
from esmd.processes import entry
from esmd.processes.channel import Channel, ChannelLostError
from esmd.processes.messages import Changed, Drain, Halt, Line, Said, Setup, Tried
from esmd.state.errors import StateError
from esmd.tasks import Lasting, unhurried
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.observe.telemetry import Telemetry
    from esmd.processes.messages import Message, Request
    from esmd.processes.sums import Sums

PAUSE_INITIAL = 1.0
"""Seconds before the start after the second death in a row; it doubles with each further one."""

PAUSE_MAXIMUM = 30.0
"""Most seconds between a death and the next start."""

LONG_LIFE = 60.0
"""Seconds after which a death is the first one in a row."""

_LAST_WORDS = 1.0
"""Seconds in which what a dead process wrote has to be there: its own children may hold the pipe open."""

State = Literal["waiting", "starting", "ready", "draining", "ended"]


class Parent(Protocol):
    """What a member tells its parent."""

    def changed(self, member: Member) -> None:
        """It is in another state."""
        ...

    def gone(self, member: Member) -> None:
        """Its process is gone: nothing of it runs any more."""
        ...

    def advise(self, event: MappingAdvice) -> None:
        """It has something to say about a source, as the others may have."""
        ...

    async def serve(self, process: int, request: Request) -> Any:
        """Carry out a call of the child."""
        ...


class Member:
    """One child and its successors; `run` it once.

    Args:
        number: of the process, from 0.
        setup: what it runs.
        parent: who is told.
        telemetry: where events go.
        sums: takes its statistics.
    """

    def __init__(self, number: int, setup: Setup, *, parent: Parent, telemetry: Telemetry, sums: Sums) -> None:
        self.number = number
        self._setup = setup
        self._parent = parent
        self._telemetry = telemetry
        self._sums = sums
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reason = ""
        self._stop = asyncio.Event()
        self._deaths = 0
        self._born = 0.0
        self.state: State = "waiting"
        self.pause_ahead = False
        """Whether it waits long enough for others to take its part."""
        self.unavailable: Mapping[str, bool] = {}
        """The mappings that could not run when it became ready, and whether it was their function."""
        self.draining = asyncio.Event()
        """Set when it has said what was under way when the drain began, or has ended."""
        self.under_way = (0, 0)
        """Batches, and receives or shards, when the drain began."""
        self.cut_off = 0
        """Batches that were under way when it was halted."""
        self.code = Exit.OK
        """How it ended."""

    async def run(self) -> None:
        """Keep a process running until it is told to drain, then wait for its end; cancelling kills it.

        After that it can be run anew.
        """
        after: State = "ended"
        try:
            await self._keep_running()
        except asyncio.CancelledError:
            after, self.pause_ahead = "waiting", False
            raise
        finally:
            self._become(after)  # first: shards are kept for a successor that follows at once
            self._parent.gone(self)
            if after == "ended":
                self.draining.set()

    async def _keep_running(self) -> None:
        while not self._stop.is_set():
            try:
                status = await self._live()
            except OSError as error:
                pause = self._next_pause(0.0)
                text = str(error)
                self._telemetry.emit(say.ProcessNotStarted(process=self.number, error_message=text, retry_in_s=pause))
            else:
                if self.state == "draining":
                    self._judge(status)
                    return
                pause = self._next_pause(self._uptime)
                self._say_death(status, pause)
            self.pause_ahead = pause > 0
            self._become("waiting")  # first, as above
            self._parent.gone(self)
            await stopped_before(self._stop, self._loop.time() + pause)
            self.pause_ahead = False

    @property
    def _uptime(self) -> float:
        return self._loop.time() - self._born

    def _next_pause(self, uptime: float) -> float:
        """Seconds until the next start, after a life of so many."""
        self._deaths = 1 if uptime >= LONG_LIFE else self._deaths + 1
        return 0.0 if self._deaths == 1 else delay(self._deaths - 1, initial=PAUSE_INITIAL, maximum=PAUSE_MAXIMUM)

    def _judge(self, status: int) -> None:
        """What the end of a process that was to drain means."""
        if status in {Exit.OK, Exit.CUT_SHORT}:
            self.code = Exit(status)
            return
        self.code = Exit.FAILED
        if status != Exit.FAILED:  # else it has said itself why
            self._say_death(status, None)

    def _say_death(self, status: int, restart_in: float | None) -> None:
        assert self._process is not None  # noqa: S101 - it has lived
        self._telemetry.emit(
            say.ProcessDied(
                process=self.number,
                pid=self._process.pid,
                exit_status=status,
                uptime_s=self._uptime,
                restart_in_s=restart_in,
            )
        )

    # --- told by the parent

    def drain(self, reason: str) -> None:
        """Let it drain; a process that waits to be started is not."""
        self._reason = reason
        self._stop.set()
        if self._channel is not None:
            self._become("draining")
            self._channel.tell(Drain(reason))

    def halt(self) -> None:
        """Let it end at once."""
        if self._channel is not None:
            self._channel.tell(Halt())

    def kill(self) -> None:
        """End it by force, if it is still there."""
        if self._process is not None and self._process.returncode is None:
            self._telemetry.emit(say.ProcessKilled(process=self.number, pid=self._process.pid))
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def wake(self, mapping: str) -> None:
        """Tell it that there may be shards to take or to give up."""
        if self._channel is not None:
            self._channel.tell(Changed(mapping))

    async def ask(self, method: str, *arguments: Any) -> Any:
        """What the child answers; None where it cannot: it starts, or ends."""
        if self._channel is None:
            return None
        with contextlib.suppress(ChannelLostError, StateError):
            return await self._channel.call(method, *arguments)
        return None

    # --- one process

    async def _live(self) -> int:
        """Start a process, and wait for its end; its exit status.

        Raises:
            OSError: it cannot be started.
        """
        self._born = self._loop.time()
        self._become("starting")
        process, end = await self._start()
        channel = self._channel = Channel(
            end, told=self._told, serve=self._serve, lost=partial(self._end_soon, process), may_wait=False
        )
        channel.tell(self._setup)
        if self._stop.is_set():  # while it was being started
            self.drain(self._reason)
        hearing = Lasting(partial(self._hear, process))
        try:
            return await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            status = await unhurried(process.wait())
            if self.state == "draining":  # it is not started anew: this is how it ended
                self._judge(status)
            raise
        finally:
            self._channel = None
            # What it has sent before its end counts, above all progress.
            await channel.finish()
            await unhurried(asyncio.wait([hearing.ended], timeout=_LAST_WORDS))
            hearing.cancel()

    async def _start(self) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """Start a process; it, and our end of the socket pair."""
        ours, theirs = socket.socketpair()
        try:
            # The loop's own thread does it: on Linux a process may be told to end when the thread that started it ends.
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                entry.__file__,
                str(theirs.fileno()),
                str(os.getpid()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._telemetry.emit(
            say.ProcessStarted(process=self.number, pid=process.pid, mappings=len(self._setup.config.mappings))
        )
        paths = json.dumps(sys.path).encode()
        with contextlib.suppress(ConnectionError):  # it is dead already, of which we are about to hear
            ours.sendall(len(paths).to_bytes(4) + paths)
        return process, ours

    def _end_soon(self, process: asyncio.subprocess.Process) -> None:
        """Without its channel a process cannot live; mostly it has ended, and we are about to hear of it.

        One that drains closes it as the last thing it does, and its end has a bound already.
        """

        def end() -> None:
            if process.returncode is None and self.state != "draining":
                self.kill()

        self._loop.call_later(_LAST_WORDS, end)

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        """Hand on what a process writes to stderr itself."""
        assert process.stderr is not None  # noqa: S101 - it was started with a pipe

        def emit(text: str) -> None:
            self._telemetry.emit(say.ProcessOutput(process=self.number, pid=process.pid, message=text))

        lines = Lines(emit)
        try:
            while data := await process.stderr.read(PIPE_BYTES):
                lines.feed(data)
        finally:
            lines.flush()

    async def _serve(self, request: Request) -> Any:
        return await self._parent.serve(self.number, request)

    def _told(self, message: Message) -> None:
        match message:
            case Line():
                write_line(message.level, message.event, {**message.fields, "process": self.number})
            case Tried():
                self.unavailable = message.unavailable
                if self.state == "starting":
                    self._become("ready")
            case Said(event=DaemonDraining() as event):
                self.under_way = (event.in_flight, event.pollers)
                self.draining.set()
            case Said(event=DaemonCutShort() as event):
                self.cut_off = event.in_flight
            case Said(event=MappingStats() | FunctionStats() as event):
                self._sums.add(event)
            case Said(event=MappingAdvice() as event):
                self._parent.advise(event)
            case _:
                raise TypeError(f"a parent is not told {message!r:.200}")

    def _become(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._parent.changed(self)
