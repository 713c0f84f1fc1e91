"""A whole daemon that somebody cancels: it ends with everything closed, and the next one goes on where it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from unittest.mock import patch

from aiohttp import ClientError

from esmd.api.client import DaemonClient, DaemonRefused, DaemonUnreachable
from esmd.assembly import RunOptions
from esmd.cli import launch as launching
from esmd.cli.exits import Exit
from esmd.cli.launch import LogOptions, launch
from esmd.config.loader import load
from esmd.daemon import DaemonOptions
from esmd.observe.control_events import ConfigReloaded
from esmd.observe.daemon_events import DaemonReady
from esmd.shutdown import Shutdown
from esmd.state.sqlite import SqliteStateStore

from support.asked import asked
from support.fake_children import Manner, Nursery
from support.walked_api import ListeningScenario
from support.walked_state import MEMORY
from support.walked_world import QUEUE, STREAM, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from esmd.observe.events import Event

    from support.walker import How, Walk

LONGEST = 60.0
_OPTIONS = RunOptions(
    daemon=DaemonOptions(grace=5.0, exit_when_idle=None, fail_fast=False, stats_period=60.0),
    only=frozenset(),
    longest_poll=1,
    log_payloads=False,
)
_CONFIG = """
version: 1
functions:
  f: {{lambda: f, timeout: 1}}
mappings:
  orders: {{event_source_arn: "arn:aws:sqs:us-east-1:000000000000:orders", function_name: f, batch_size: {size}}}
  clicks:
    event_source_arn: "{arn}"
    function_name: f
    starting_position: TRIM_HORIZON
    batch_size: 1
    enabled: {streams}
state: {{path: "{folder}/esmd.db"}}
api: {{socket: "{folder}/esmd.sock"}}
"""


@dataclass(kw_only=True)
class LaunchScenario:
    """A daemon, and the next one where it ends too early. Call it with a walk.

    Attributes:
        streams: whether it has a stream mapping, and needs its state file at once.
        processes: how many share the work; what they do is walked elsewhere.
    """

    streams: bool = True
    processes: int = 1
    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = ("cut", "late", "halt", "drain")

    @staticmethod
    def prepare() -> None:
        """Load what is loaded once."""
        ListeningScenario.prepare()

    async def __call__(self, walk: Walk) -> None:
        """See that everything is handled, and let go of."""
        before = signal.getsignal(signal.SIGHUP)
        try:
            with tempfile.TemporaryDirectory(prefix="esmd-walk-", dir=MEMORY) as folder:
                async with asyncio.timeout(LONGEST):
                    await _Life(self, walk, Path(folder)).run()
        finally:
            signal.signal(signal.SIGHUP, before)


class _Stop(Shutdown):
    """Not told by signals."""

    def signals(self) -> Any:
        return contextlib.nullcontext()


class _Life:
    def __init__(self, scenario: LaunchScenario, walk: Walk, folder: Path) -> None:
        self._scenario = scenario
        self._walk = walk
        self._folder = folder
        self._world = World(["a", "b"], seconds=0.001)
        self._file = folder / "esmd.yaml"
        self._said: list[Event] = []
        self._size = 1
        self._changed = asyncio.Event()
        self._write()

    def _write(self) -> None:
        self._size += 1
        self._file.write_text(
            _CONFIG.format(
                size=self._size,
                arn=self._world.arn,
                streams=str(self._scenario.streams).lower(),
                folder=self._folder,
            )
        )

    async def run(self) -> None:
        if not self._scenario.streams:  # the file is there, from an earlier day
            await self._open_and_close()
        nursery = Nursery([Manner(ready_in=0.001, drains_in=0.001)], starts_in=0.001)
        with (
            self._world.installed("esmd.cli.launch.make_clients"),
            nursery.installed(),
            patch.object(launching.logging, "configure", lambda **_: self._said.append),
            patch.object(launching, "Shutdown", self._make_stop),
        ):
            while not self._is_done:
                await self._once()
        assert nursery.alive == []
        self._world.judge()

    def _make_stop(self) -> Shutdown:
        self._stop = _Stop()
        self._walk.stop = lambda: self._stop.request("drain")
        return self._stop

    @property
    def _is_done(self) -> bool:
        if self._scenario.processes > 1:
            return any(isinstance(each, DaemonReady) for each in self._said)
        handled = self._world.handled
        return self._world.queue_is_empty and all(
            set(self._world.bodies) <= set(handled[name]) for name in ([QUEUE, STREAM][: 1 + self._scenario.streams])
        )

    async def _once(self) -> None:
        """One daemon."""
        loaded = load([self._file], environ={})
        assert loaded.config is not None, loaded
        main = self._walk.main = asyncio.create_task(
            launch(
                loaded.config,
                _OPTIONS,
                log=LogOptions(log_format="json", level="debug"),
                environ={},
                companion=self._beside,
                processes=self._scenario.processes,
                paths=[self._file],
                watching=self._changes,
                prepare=self._prepare,
            )
        )
        using = asyncio.create_task(self._use(main))
        try:
            await asyncio.wait([main, using], return_when=asyncio.FIRST_COMPLETED)
            if not main.done():
                self._stop.request("over")
            await asyncio.wait([main])
            if not main.cancelled():
                assert main.result() is Exit.OK
            if using.done():
                await using
        finally:
            for task in (main, using):
                task.cancel()
            await asyncio.gather(main, using, return_exceptions=True)
        assert sorted(path.name for path in self._folder.iterdir() if path.suffix == ".sock") == []
        await self._open_and_close()  # nobody holds it

    async def _open_and_close(self) -> None:
        store = await asked(lambda: SqliteStateStore.open(self._folder / "esmd.db"))
        await asked(store.close)

    async def _use(self, main: asyncio.Task[Exit]) -> None:
        """Whatever is done with a daemon: its API is asked, its file changed, its reload asked for."""
        while not self._is_done:
            await asyncio.sleep(0.001)
        again = (DaemonUnreachable, DaemonRefused, ClientError, ConnectionError, TimeoutError)
        await asked(self._ask, again=again)
        if self._scenario.processes > 1:
            return
        self._write()
        self._changed.set()
        await self._reloaded(1)
        if main.done():  # nobody listens any more
            return
        os.kill(os.getpid(), signal.SIGHUP)
        await self._reloaded(2)

    async def _reloaded(self, times: int) -> None:
        while sum(isinstance(each, ConfigReloaded) for each in self._said) < times:
            await asyncio.sleep(0.001)

    async def _ask(self) -> None:
        async with DaemonClient.connect(self._folder / "esmd.sock") as daemon, asyncio.timeout(5):
            await daemon.get("/esmd/v1/status")

    async def _changes(self, _: Any) -> AsyncIterator[object]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield None

    async def _prepare(self, *_: Any) -> None:
        await asyncio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def _beside(self, *_: Any) -> AsyncIterator[None]:
        await asyncio.sleep(0.001)
        yield
        await asyncio.sleep(0.001)


SCENARIOS: dict[str, Any] = {
    "daemon": LaunchScenario(),
    "daemon without streams": LaunchScenario(streams=False),
    "daemon of several processes": LaunchScenario(processes=2),
}
