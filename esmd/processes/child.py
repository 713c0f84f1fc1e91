"""A child process: runs its part of the configuration, and leaves the store, the log and every decision to the parent."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from esmd.assembly import Assembly, about, make_clients
from esmd.cli.exits import Exit
from esmd.control.results import LastResults
from esmd.loop import loop_factory, settle_garbage
from esmd.observe.statistics import Statistics
from esmd.observe.telemetry import Broadcast
from esmd.processes.channel import Channel
from esmd.processes.messages import Changed, Drain, Halt, Setup
from esmd.processes.remote import RemoteStateStore, remote_book
from esmd.processes.reporter import Reporter
from esmd.shutdown import Shutdown
from esmd.state.errors import StateError
from esmd.status.heard import hearing
from esmd.status.history import History
from esmd.status.source import Process, StatusSource
from esmd.trace.trail import Trail

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from esmd.daemon import Daemon
    from esmd.processes.messages import Message, Request
    from esmd.streams.bookreader import BookReader


class Child:
    """This process. Make it inside the running loop.

    Args:
        end: its end of the socket pair.
    """

    def __init__(self, end: socket.socket) -> None:
        self._setup: asyncio.Future[Setup] = asyncio.get_running_loop().create_future()
        self._shutdown = Shutdown()
        self._books: dict[str, BookReader] = {}
        self._daemon: Daemon | None = None
        self._status: StatusSource | None = None
        self._trail = Trail()
        self._channel = Channel(end, told=self._told, serve=self._serve, lost=_parent_gone, may_wait=True)

    async def run(self) -> Exit:
        """Run to the end, which the parent decides."""
        try:
            setup = await self._setup
            reporter = Reporter(self._channel.tell, level=setup.level, unavailable=self._unavailable)
            reporter.capture_stdlib()
            statistics, results, history = Statistics(), LastResults(), History()
            with hearing(history):
                return await self._run(setup, reporter, statistics, results, history)
        finally:
            self._channel.flush()
            self._channel.close()

    async def _run(
        self, setup: Setup, reporter: Reporter, statistics: Statistics, results: LastResults, history: History
    ) -> Exit:
        async with make_clients(setup.config.aws, os.environ) as clients:
            store = RemoteStateStore(self._channel)
            assembly = Assembly(
                setup.config,
                options=setup.options,
                clients=clients,
                environ=os.environ,
                store=store,
                telemetry=Broadcast(reporter, statistics, results, history, self._trail),
                statistics=statistics,
                shutdown=self._shutdown,
                book_of=self._book,
            )
            mappings = assembly.mappings(results=results)
            await mappings.begin()
            self._daemon = assembly.daemon(mappings)
            process = Process(
                about=about(setup.config, os.environ), started_at=time.time(), draining=self._shutdown.drain.is_set
            )
            self._status = StatusSource(mappings, process=process, statistics=statistics, history=history)
            async with self._status.running():
                code = await self._daemon.run()
            await store.close()
        return code

    def _unavailable(self) -> Mapping[str, bool]:
        return {} if self._daemon is None else self._daemon.unavailable

    def _book(self, mapping: str) -> BookReader:
        # One for all runners of a mapping: where one has failed, the next one goes on with it.
        if mapping not in self._books:
            self._books[mapping] = remote_book(mapping, self._channel)
        return self._books[mapping]

    def _told(self, message: Message) -> None:
        match message:
            case Setup():
                if not self._setup.done():  # else this was cancelled, and ends
                    self._setup.set_result(message)
            case Drain():
                self._shutdown.request(message.reason)
            case Halt():
                self._shutdown.halt.set()
            case Changed():
                self._book(message.mapping).changed.set()
            case _:
                raise TypeError(f"a child is not told {type(message).__name__}")

    async def _serve(self, request: Request) -> Any:
        """Answer the parent."""
        if self._daemon is None or self._status is None:
            raise StateError("the process is starting", hint="Ask again.")
        match request.method:
            case "quiet_since":
                return self._daemon.quiet_since
            case "say_stats":
                return self._daemon.say_stats(everything=True)
            case "status":
                return await self._status.snapshot()
            case "trace":
                return await self._trail.trace(*request.arguments)
            case _:
                raise StateError(f"there is no {request.method} here", hint="This is a defect of esmd.")


def _parent_gone() -> None:
    """Nobody is left to store progress, or to tell us to end."""
    os._exit(Exit.FAILED)


async def run(end: socket.socket) -> Exit:
    """Run to the end, inside a loop."""
    return await Child(end).run()


def main(end: socket.socket) -> int:
    """Run to the end; the exit code."""
    settle_garbage()
    with asyncio.Runner(loop_factory=loop_factory(os.environ)) as runner:
        return int(runner.run(run(end)))
