"""Child processes that are none: objects in this process, at the other end of the socket pair that a member makes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from esmd.cli.exits import Exit
from esmd.observe.daemon_events import DaemonCutShort, DaemonDraining
from esmd.processes.messages import Answer, Drain, Halt, Request, Said, Setup, Tried, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esmd.processes.messages import Message

KILLED = -9
DIED = 3


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a child lives; in seconds, infinity for never.

    Attributes:
        ready_in: until it has tried its mappings.
        unavailable: those that cannot run.
        dies_in: until it dies by itself.
        drains_in: from the drain to its end.
        halts_in: from the halt to its end.
        killed_in: from the kill to its end.
        holds_stderr: whether something that it started holds its stderr after its end.
        last_calls: what it asks for just before its end, and does not wait for.
    """

    ready_in: float = 0.2
    unavailable: Mapping[str, bool] | None = None
    dies_in: float = math.inf
    drains_in: float = 0.3
    halts_in: float = 0.1
    killed_in: float = 0.1
    holds_stderr: bool = False
    last_calls: Sequence[Request] = ()


class FakeChild:
    """As much of `asyncio.subprocess.Process` as a member uses."""

    def __init__(self, pid: int, end: socket.socket, manner: Manner) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stderr = asyncio.StreamReader()
        self.tried = False
        """Whether it has said that it has tried its mappings."""
        self.cut_short = False
        """Whether it was killed while it drained, and nobody had told it to halt."""
        self._end = end
        self._manner = manner
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._received = bytearray()
        self._import_path_came = False
        self._draining = False
        end.setblocking(False)
        self._loop.add_reader(end, self._read)
        self.stderr.feed_data(b"it starts\nhalf a li")
        self._later(manner.dies_in, self._end_as, DIED)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        self.cut_short = self._draining
        self._hang_up()
        self._later(self._manner.killed_in, self._end_as, KILLED)

    def _later(self, seconds: float, what: Any, *arguments: Any) -> None:
        if seconds < math.inf:
            self._timers.append(self._loop.call_later(seconds, what, *arguments))

    def _end_as(self, code: int) -> None:
        if self.returncode is not None:
            return
        for call in self._manner.last_calls:
            self._tell(call)
        self.returncode = code
        for timer in self._timers:
            timer.cancel()
        self._hang_up()
        if not self._manner.holds_stderr:
            self.stderr.feed_eof()
        self._ended.set()

    def _hang_up(self) -> None:
        if self._end.fileno() >= 0:
            self._loop.remove_reader(self._end)
            self._end.close()

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):
            self._end.send(packed(message))

    def _read(self) -> None:
        try:
            data = self._end.recv(1 << 20)
        except OSError:
            data = b""
        if not data:  # the parent is gone, as it were
            self._end_as(Exit.FAILED)
            return
        self._received += data
        if not self._import_path_came:
            length = 4 + int.from_bytes(self._received[:4])
            if len(self._received) < length:
                return
            del self._received[:length]
            self._import_path_came = True
        for message in unpacked(self._received):
            self._told(message)

    def _told(self, message: Message) -> None:
        match message:
            case Setup():
                self._later(self._manner.ready_in, self._try)
            case Drain(reason):
                self._draining = True
                self._tell(Said(DaemonDraining(reason=reason, in_flight=1, pollers=1, grace_s=0.0)))
                self._later(self._manner.drains_in, self._end_as, Exit.OK)
            case Halt():
                self._draining = False
                self._tell(Said(DaemonCutShort(reason="second signal", in_flight=1)))
                self._later(self._manner.halts_in, self._end_as, Exit.CUT_SHORT)
            case Request():
                self._later(0.05, self._tell, Answer(message.number, 0.0))

    def _try(self) -> None:
        self.tried = True
        self._tell(Tried(self._manner.unavailable or {}))


class Nursery:
    """Starts children in place of processes while `installed`.

    Args:
        manners: of the children in the order in which they start; the last one's is that of all further ones.
        starts_in: seconds that a start takes.
        refused: how often no process can be started at first.
    """

    def __init__(self, manners: Sequence[Manner], *, starts_in: float = 0.1, refused: int = 0) -> None:
        self._manners = list(manners)
        self._starts_in = starts_in
        self._refused = refused
        self.children: list[FakeChild] = []

    @property
    def alive(self) -> list[FakeChild]:
        """Those that have not ended."""
        return [child for child in self.children if child.returncode is None]

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, `asyncio.create_subprocess_exec` starts one of these."""
        with patch.object(asyncio, "create_subprocess_exec", self._start):
            yield

    async def _start(self, *_: Any, pass_fds: Sequence[int], **__: Any) -> FakeChild:
        if self._refused:
            self._refused -= 1
            raise OSError("no memory")
        manner = self._manners.pop(0) if len(self._manners) > 1 else self._manners[0]
        child = FakeChild(1000 + len(self.children), socket.socket(fileno=os.dup(pass_fds[0])), manner)
        self.children.append(child)
        try:
            await asyncio.sleep(self._starts_in)
        except asyncio.CancelledError:  # asyncio does the same
            child.kill()
            await child.wait()
            raise
        return child
