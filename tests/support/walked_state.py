"""The daemon's state that somebody cancels: what was answered is stored, `close` closes, and the file is free then."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from esmd.positions.change import Change, carry_out
from esmd.positions.files import Exported
from esmd.state.errors import StateInUseError
from esmd.state.lazy import LazyStateStore
from esmd.state.memory import MemoryStateStore
from esmd.state.position import Position
from esmd.state.protocol import ShardProgress, Stored, StreamIdentity
from esmd.state.registry import KeptMapping
from esmd.state.sqlite import SqliteStateStore

from support.asked import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from support.walker import How, Walk

LONGEST = 30.0
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a synced write takes no time."""
STREAM = StreamIdentity("arn:aws:kinesis:us-east-1:000000000000:stream/orders", "1")
NAME = "orders"


@contextlib.asynccontextmanager
async def _file() -> AsyncIterator[Path]:
    """A state file for a while, and no longer than a scenario may take."""
    with tempfile.TemporaryDirectory(prefix="esmd-walk-", dir=MEMORY) as folder:
        async with asyncio.timeout(LONGEST):
            yield Path(folder) / "esmd.db"


def progress_at(number: int) -> ShardProgress:
    return ShardProgress(shard_id="shard-0", position=Position.after(str(number)), updated_at=1.0)


_KEPT = KeptMapping(uuid="u", settings="{}", created_at=1.0, modified_at=1.0)

CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "load": lambda store: store.load(NAME, STREAM.arn),
    "begin": lambda store: store.begin(NAME, STREAM),
    "save": lambda store: store.save(NAME, STREAM, progress_at(2)),
    "move": lambda store: store.move(NAME, STREAM, progress_at(2)),
    "forget": lambda store: store.forget(NAME, STREAM, ["shard-1"]),
    "mappings": lambda store: store.mappings(),
    "assign": lambda store: store.assign(NAME, STREAM, {"shard-0": 1}),
    "leases": lambda store: store.leases(),
    "clear_leases": lambda store: store.clear_leases(),
    "kept": lambda store: store.kept(),
    "keep": lambda store: store.keep(_KEPT),
    "drop": lambda store: store.drop("another"),
    "drop_positions": lambda store: store.drop_positions("another"),
    "pauses": lambda store: store.pauses(),
    "pause": lambda store: store.pause("u", 1.0),
    "resume": lambda store: store.resume("another"),
}
"""None of them undoes what the first life of a store has answered."""


@dataclass(kw_only=True)
class StoreScenario:
    """A store that lives twice. Call it with a walk.

    Attributes:
        calls: made of the second one, by their names.
        lazy: whether that one opens the file when it is first needed.
        at_once: so many of each call, at the same time.
    """

    calls: Sequence[str]
    lazy: bool = False
    at_once: int = 1

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = ("cut", "late")

    async def __call__(self, _: Walk) -> None:
        """See that what was answered is there in the end."""
        async with _file() as path:
            await self._lives(path)

    async def _lives(self, path: Path) -> None:
        first = await asked(lambda: SqliteStateStore.open(path))
        for name in ("begin", "assign", "keep", "pause"):
            await asked(lambda name=name: CALLS[name](first))
        await asked(lambda: first.save(NAME, STREAM, progress_at(1)))
        await asked(first.close)

        second: Any = LazyStateStore(path) if self.lazy else await asked(lambda: SqliteStateStore.open(path))
        for name in self.calls:
            await asyncio.gather(
                *(
                    asked(lambda name=name: getattr(second, name)() if name == "open" else CALLS[name](second))
                    for _ in range(self.at_once)
                )
            )
        if self.lazy:
            assert await asked(second.look) is None
            await asked(second.open)
        await asyncio.gather(asked(second.close), asked(second.close))

        third = await asked(lambda: SqliteStateStore.open(path))
        try:
            stored = await asked(lambda: third.load(NAME, STREAM.arn))
            expected = 2 if {"save", "move"} & set(self.calls) else 1
            assert stored is not None
            assert dict(stored.shards) == {"shard-0": progress_at(expected)}
            assert [each.uuid for each in await asked(third.kept)] == ["u"]
            assert set(await asked(third.pauses)) == {"u"}
        finally:
            await asked(third.close)


async def _free(path: Path) -> None:
    """Nobody holds the file: it can be opened, and is given back."""
    await asked((await asked(lambda: SqliteStateStore.open(path))).close)


async def _unused(_: Walk) -> None:
    """A file that holds nothing is given back as soon as that is seen."""
    async with _file() as path:
        await _free(path)
        store = LazyStateStore(path)
        assert await asked(store.look) is None
        assert await asked(store.look) is None
        assert not store.is_open
        await _free(path)
        await asked(store.close)


async def _looked_into(_: Walk) -> None:
    """Whoever asks while a file is looked into is answered, though it is given back."""
    async with _file() as path:
        await _free(path)
        store = LazyStateStore(path)
        found = await asyncio.gather(asked(store.look), asked(store.look), asked(lambda: CALLS["load"](store)))
        assert found == [None, None, None]
        await asked(store.close)
        await _free(path)


async def _cancelled_in(walk: Walk, call: Callable[[], Awaitable[Any]], function: str) -> None:
    """Make a call, and cancel it where it first waits in a function."""
    task = asyncio.ensure_future(call())
    begun = len(walk.suspensions)
    while not task.done() and all(function != place.function for at in walk.suspensions[begun:] for place in at):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def _given_up(walk: Walk) -> None:
    """Nobody holds a file whose opening was cancelled, or failed, or was cancelled when it had failed."""
    async with _file() as path:
        await _cancelled_in(walk, lambda: SqliteStateStore.open(path), "SqliteStateStore.open")
        held = await asked(lambda: SqliteStateStore.open(path))
        with pytest.raises(StateInUseError):
            await asked(lambda: SqliteStateStore.open(path))
        await asked(held.close)
        store = LazyStateStore(path)
        await _cancelled_in(walk, store.open, "SqliteStateStore.clear_leases")
        await _free(path)
        await _cancelled_in(walk, store.look, "SqliteStateStore.kept")
        await _free(path)
        await asked(store.close)


async def _imported(_: Walk) -> None:
    """Positions are those of a file, where none were stored before it and where there were others."""
    async with _file() as path:
        store = await asked(lambda: SqliteStateStore.open(path))
        try:
            for number in (2, 1):
                exported = Exported(NAME, Stored(STREAM, {"shard-0": progress_at(number)}))
                change = Change(mapping=NAME, arn=STREAM.arn, to=exported, stream=STREAM)
                await asked(lambda change=change: carry_out(change, store, now=1.0))
                assert await asked(lambda: store.load(NAME, STREAM.arn)) == exported.stored
        finally:
            await asked(store.close)


for _each in (_unused, _looked_into, _given_up, _imported):
    _each.real_time = True  # type: ignore[attr-defined]
    _each.hows = ("cut", "late")  # type: ignore[attr-defined]


async def _in_memory(_: Walk) -> None:
    store = MemoryStateStore()
    await asyncio.gather(*(asked(lambda call=call: call(store)) for call in CALLS.values()))
    await asked(store.close)


SCENARIOS: dict[str, Any] = {
    "file": StoreScenario(calls=tuple(CALLS)),
    "file, many at once": StoreScenario(calls=("save", "keep"), at_once=5),
    "file that holds nothing": _unused,
    "file that is looked into": _looked_into,
    "file whose opening is given up": _given_up,
    "file of positions": _imported,
    "memory": _in_memory,
    **{f"lazy {name}": StoreScenario(calls=(name,), lazy=True) for name in CALLS if name not in {"kept", "pauses"}},
    "lazy, open": StoreScenario(calls=("open", "kept", "pauses"), lazy=True),
    "lazy, many at once": StoreScenario(calls=("save",), lazy=True, at_once=3),
}
