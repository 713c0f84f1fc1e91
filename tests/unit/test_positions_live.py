"""Moving positions under a running daemon: paused first, resumed always, and over HTTP."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import ClientSession, web

from esmd.api.checkpoint_routes import routes
from esmd.api.parts import ApiParts
from esmd.config.loader import load
from esmd.control.protocol import Entry, InUseError, InvalidError, NotFoundError
from esmd.positions.change import Change
from esmd.positions.errors import PositionsError
from esmd.positions.live import LivePositions
from esmd.state.errors import StateError
from esmd.state.memory import MemoryStateStore
from esmd.state.position import TRIM_HORIZON, Position
from esmd.state.protocol import ShardProgress, StreamIdentity

from support.mapping_lab import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from esmd.config.schema import Config
    from esmd.control.protocol import State

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
IDENTITY = StreamIdentity(ARN, "1700000000.000")
QUEUE = "arn:aws:sqs:us-east-1:000000000000:jobs"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    document = {
        "version": 1,
        "functions": {"handle": {"handler": "h:handle"}},
        "mappings": {
            "orders": {"event_source_arn": ARN, "function_name": "handle", "starting_position": "TRIM_HORIZON"},
            "jobs": {"event_source_arn": QUEUE, "function_name": "handle"},
        },
    }
    (tmp_path / "esmd.yaml").write_text(yaml.safe_dump(document))
    loaded = load([tmp_path / "esmd.yaml"], environ={})
    assert loaded.config is not None
    return loaded.config


class Control:
    """The part of `Control` that is used; `did` says what was asked, in order."""

    def __init__(self, config: Config, state: State = "Enabled") -> None:
        self.did: list[str] = []
        self.meddler = False
        self._entries = {
            name: Entry(
                name=name,
                uuid=uuid.uuid5(uuid.NAMESPACE_URL, name),
                mapping=mapping,
                origin="file",
                file=None,
                state=state,
                paused=False,
                trouble=None,
                last_modified=0,
                last_result="",
                function_arn="",
                tags={},
            )
            for name, mapping in config.mappings.items()
        }

    def entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise NotFoundError(f"there is no mapping {name}")
        return self._entries[name]

    def _set(self, name: str, state: State) -> Entry:
        self._entries[name] = replace(self._entries[name], state=state)
        return self._entries[name]

    async def pause(self, name: str) -> Entry:
        self.did.append("pause")
        return self._set(name, "Disabling")

    async def settled(self, name: str) -> Entry:
        self.did.append("settled")
        return self._set(name, "Enabled" if self.meddler else "Disabled")

    async def resume(self, name: str) -> Entry:
        self.did.append("resume")
        return self._set(name, "Enabled")


class Store(MemoryStateStore):
    """Says when it moves, and fails where it is told to."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self._control = control
        self.sick = False

    async def move(self, mapping: str, identity: StreamIdentity, *progress: ShardProgress) -> None:
        self._control.did.append("move")
        if self.sick:
            raise StateError("the disk is full", hint="Make room.")
        await super().move(mapping, identity, *progress)


class Lab:
    def __init__(self, config: Config, state: State = "Enabled") -> None:
        self.control: Any = Control(config, state)
        self.store = Store(self.control)
        self.collector = Collector()
        self.live = LivePositions(self.control, self.store, self.collector)

    async def begin(self) -> Lab:
        await self.store.begin("orders", IDENTITY)
        await self.store.save(
            "orders", IDENTITY, ShardProgress(shard_id="a", position=Position.after("10"), updated_at=1)
        )
        return self

    async def position(self) -> Position:
        stored = await self.store.load("orders", ARN)
        assert stored is not None
        return stored.shards["a"].position


def back(name: str = "orders") -> Change:
    return Change(mapping=name, arn=ARN, to=TRIM_HORIZON)


async def test_a_running_mapping_is_paused_moved_and_resumed(config: Config):
    lab = await Lab(config).begin()
    await lab.live.move(back())
    assert lab.control.did == ["pause", "settled", "move", "resume"]
    assert await lab.position() == TRIM_HORIZON
    [moved] = lab.collector.said
    assert (moved.name, moved.shard, moved.before, moved.position) == (
        "checkpoint.moved",
        "a",
        "after 10",
        "TRIM_HORIZON",
    )


async def test_a_mapping_at_rest_stays_at_rest(config: Config):
    lab = await Lab(config, "Disabled").begin()
    await lab.live.move(back())
    assert lab.control.did == ["move"]


async def test_nothing_to_move_disturbs_nobody(config: Config):
    lab = await Lab(config).begin()
    assert (await lab.live.move(Change(mapping="orders", arn=ARN, to=Position.after("10"), shard="a"))).moves == []
    with pytest.raises(PositionsError):
        await lab.live.move(Change(mapping="orders", arn=ARN, to=TRIM_HORIZON, shard="x"))
    assert lab.control.did == []


async def test_whatever_goes_wrong_the_mapping_goes_on(config: Config):
    lab = await Lab(config).begin()
    lab.store.sick = True
    with pytest.raises(StateError):
        await lab.live.move(back())
    assert lab.control.did[-1] == "resume"
    lab.control.meddler, lab.store.sick = True, False
    with pytest.raises(InUseError, match="was resumed"):
        await lab.live.move(back())
    assert lab.control.did[-2:] == ["settled", "resume"]
    assert await lab.position() == Position.after("10")
    assert lab.collector.said == []


async def test_one_move_at_a_time(config: Config):
    lab = await Lab(config).begin()
    lab.live._moving.add("orders")
    with pytest.raises(InUseError, match="being moved already"):
        await lab.live.move(back())


def test_only_streams_have_positions(config: Config):
    async def look() -> None:
        lab = Lab(config)
        with pytest.raises(InvalidError, match="reads a queue"):
            lab.live.settings("jobs")
        with pytest.raises(NotFoundError):
            lab.live.settings("nobody")

    import asyncio

    asyncio.run(look())


# --- over HTTP


@pytest.fixture
async def lab(config: Config) -> Lab:
    return await Lab(config).begin()


@pytest.fixture
async def url(lab: Lab, config: Config) -> AsyncIterator[str]:
    app = web.Application()
    parts = ApiParts(control=lab.control, status=None, telemetry=lab.collector, config=config, store=lab.store)
    app.add_routes(routes(parts))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/esmd/v1/mappings/orders/checkpoint"
    await runner.cleanup()


async def test_positions_are_shown_and_moved_and_put_back(url: str, lab: Lab):
    async with ClientSession() as session:
        async with session.get(url) as answer:
            shown = await answer.json()
        assert (shown["esmd_checkpoint"], shown["shards"][0]["position"]["sequence_number"]) == (1, "10")
        async with session.post(url, json={"to": "TRIM_HORIZON"}) as answer:
            planned = await answer.json()
        assert planned == {
            "mapping": "orders",
            "stream": {"arn": ARN, "created_at": "1700000000.000"},
            "moves": [
                {"shard": "a", "from": "after 10", "to": "TRIM_HORIZON", "meaning": "all records kept come again"}
            ],
            "done": False,
        }
        assert lab.control.did == []
        async with session.post(url, json={"reset": True, "yes": True, "pid": os.getpid()}) as answer:
            assert (await answer.json())["done"] is True
        assert await lab.position() == TRIM_HORIZON
        async with session.post(url, json={"import": shown, "yes": True}) as answer:
            assert answer.status == 200
        assert await lab.position() == Position.after("10")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("{", 400, "not JSON"),
        ("[]", 400, "no object"),
        ({"to": "LATEST", "force": True}, 400, "or has others"),
        ({}, 400, "one of to, reset and import"),
        ({"to": "LATEST", "reset": True}, 400, "one of to, reset and import"),
        ({"reset": False}, 400, "reset is true"),
        ({"to": "soon"}, 400, "'soon' is no position"),
        ({"to": "10"}, 400, "belongs to one shard"),
        ({"to": "LATEST", "shard": 7}, 400, "shard is the id"),
        ({"to": "LATEST", "shard": "x"}, 400, "no shard 'x'"),
        ({"import": {}}, 400, "no exported checkpoint"),
        ({"to": "LATEST", "pid": 1}, 409, "process 1 has the state file"),
    ],
)
async def test_what_is_wrong_is_said(url: str, lab: Lab, body: Any, status: int, text: str):
    data = body if isinstance(body, str) else json.dumps(body)
    async with ClientSession() as session, session.post(url, data=data) as answer:
        said = await answer.json()
        assert (answer.status, text in said["message"]) == (status, True), said
    assert lab.control.did == []


async def test_a_store_that_cannot_is_said(url: str, lab: Lab):
    lab.store.sick = True
    async with ClientSession() as session, session.post(url, json={"reset": True, "yes": True}) as answer:
        assert (answer.status, (await answer.json())["hint"]) == (503, "Make room.")
    assert lab.control.did[-1] == "resume"


async def test_a_daemon_of_several_processes_refuses_and_says_why(config: Config, lab: Lab):
    app = web.Application()
    app.add_routes(routes(ApiParts(control=lab.control, status=None, telemetry=lab.collector, config=config)))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/esmd/v1/mappings/orders/checkpoint"
    async with ClientSession() as session:
        for call in (session.get(url), session.post(url, json={"reset": True, "yes": True})):
            async with call as answer:
                said = await answer.json()
                assert (answer.status, said["error"]) == (409, "Conflict")
                assert "Stop it" in said["hint"]
    await runner.cleanup()
