"""Processes that tell each other something, and a service manager: whatever is cancelled, whoever asks is answered."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from esmd.daemon import About
from esmd.processes.desk import Desk
from esmd.processes.remote import RemoteStateStore, remote_book
from esmd.processes.status import FleetStatus
from esmd.processes.trail import FleetTrail
from esmd.service import ServiceManager
from esmd.state.errors import StateError
from esmd.state.memory import MemoryStateStore
from esmd.status.source import Process

from support.asked import asked
from support.channels import channel_pair
from support.mapping_lab import Collector
from support.walked_state import CALLS, NAME, STREAM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.processes.messages import Request

    from support.walker import How, Walk

LONGEST = 30.0
HOWS: Sequence[How] = ("cut", "late")


class SlowStore(MemoryStateStore):
    async def load(self, mapping: str, stream_arn: str) -> Any:
        await asyncio.sleep(0.001)
        return await super().load(mapping, stream_arn)

    async def save(self, mapping: str, identity: Any, *progress: Any) -> None:
        await asyncio.sleep(0.001)
        await super().save(mapping, identity, *progress)

    async def mappings(self) -> Any:
        await asyncio.sleep(0.001)
        return await super().mappings()

    async def forget(self, mapping: str, identity: Any, shard_ids: Any) -> None:
        await asyncio.sleep(0.001)
        await super().forget(mapping, identity, shard_ids)


class ChannelScenario:
    """A child that uses the parent's store and book. Call it with a walk."""

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """See that every call is answered, and what was saved is stored."""
        store = SlowStore()
        desk = Desk(store, readers={}, wake=lambda *_: None, telemetry=Collector())

        async def serve(request: Request) -> Any:
            return await desk.serve(0, request)

        with channel_pair(serve) as child:
            remote = RemoteStateStore(child)
            async with asyncio.timeout(LONGEST):
                for name in ("begin", "save", "load", "mappings", "forget"):
                    await asked(lambda name=name: CALLS[name](remote), again=(StateError,))
                with contextlib.suppress(StateError):  # there is no such book
                    await asked(lambda: remote_book("other", child).ticket(STREAM))
                loading = asyncio.create_task(asked(lambda: remote.load(NAME, STREAM.arn), again=(StateError,)))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                await asked(remote.close)
                with contextlib.suppress(StateError):  # closed before it was asked again
                    await loading
        stored = await asked(lambda: store.load(NAME, STREAM.arn))
        assert stored is not None
        assert set(stored.shards) == {"shard-0"}


class _Asked:
    """A process that answers after a while, or never."""

    state = "ready"
    unavailable: ClassVar[dict[str, bool]] = {}

    def __init__(self, number: int) -> None:
        self.number = number

    async def ask(self, method: str, *_: Any) -> Any:
        await asyncio.sleep(1 if self.number else 1000)
        return (None, 1.0) if method == "trace" else None


async def _gathered(_: Walk) -> None:
    """What is asked of all processes."""
    members: Any = [_Asked(0), _Asked(1)]
    process = Process(about=About(files=(), endpoint="http://h", region=None), started_at=0.0, draining=lambda: False)
    status = FleetStatus(members, chosen=[], paused=frozenset(), process=process)
    assert (await asked(status.snapshot)).daemon.missing == (0, 1)
    life, since = await asked(lambda: FleetTrail(members).trace("1"))
    assert (life, since) == (None, 1.0)


class ServiceScenario:
    """A service manager that wants signs of life. Call it with a walk."""

    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """See that they go on until the end."""
        with (
            tempfile.TemporaryDirectory(prefix="esmd-") as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
        ):
            end.bind(str(Path(folder) / "notify"))
            end.setblocking(False)
            service = ServiceManager({"NOTIFY_SOCKET": str(Path(folder) / "notify"), "WATCHDOG_USEC": "2000000"})

            async def attended() -> None:
                async with service.attended(Collector()):
                    await asyncio.sleep(10.5)
                    _drained(end)
                    await asyncio.sleep(3)
                    assert _drained(end) >= 2, "the manager would end this process"

            await asked(attended)

            async def reload() -> int:
                await asyncio.sleep(1)
                return 1

            assert await asked(service.telling(reload)) == 1
            _drained(end)
            if service._socket is not None:
                service._socket.close()


def _drained(end: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while end.recv(4096):
            count += 1
    return count


_gathered.hows = HOWS  # type: ignore[attr-defined]

SCENARIOS: dict[str, Any] = {
    "channel": ChannelScenario(),
    "asked all at once": _gathered,
    "service manager": ServiceScenario(),
}
