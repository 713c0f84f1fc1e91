"""What the walk of `test_cancellation.py` found in what processes tell each other, and in the API, a test for each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from esmd.cli.exits import Exit
from esmd.pollers.connection_pool import Pool
from esmd.pollers.connections import Origin
from esmd.state.errors import StateError

from support.channels import channel_pair
from support.fake_children import Manner
from support.scripted_server import ScriptedServer, answer
from support.walked_api import SCENARIOS
from support.walked_child import SCENARIOS as CHILDREN
from support.walked_fleet import SCENARIOS as FLEETS
from support.walked_fleet import FleetScenario
from support.walked_launch import SCENARIOS as DAEMONS
from support.walker import Walk, run

if TYPE_CHECKING:
    from esmd.processes.messages import Request

    from support.walker import How


def cut_at(scenario: Any, function: str, how: How = "cut") -> None:
    """Run it once for each place in a function, cut there."""
    look = run(scenario, Walk())
    places = {each for found in look.suspensions for each in found if each.function == function}
    assert places
    for place in places:
        run(scenario, Walk(where=frozenset({place}), how=how))


REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


async def test_a_call_that_is_cut_off_at_the_other_end_is_answered() -> None:
    # Whoever asked waited for ever.
    serving: list[Any] = []

    async def serve(_: Request) -> None:
        serving.append(asyncio.current_task())
        await asyncio.Event().wait()

    with channel_pair(serve) as child:
        calling = asyncio.create_task(child.call("load"))
        while not serving:
            await asyncio.sleep(0)
        serving[0].cancel()
        with pytest.raises(StateError, match="cut off"):
            await calling


@pytest.mark.thorough
@pytest.mark.parametrize("function", ["Listening._serve", "Listening.__aexit__"])
def test_an_api_whose_server_is_cut_off_serves_and_ends(function: str) -> None:
    # Nobody served any more, and the daemon's end was cut off with its sockets left.
    cut_at(SCENARIOS["sockets"], function)


async def test_connections_are_closed_though_whoever_closes_them_is_cancelled_at_once() -> None:
    # They were left open: closing them had not begun.
    async with ScriptedServer([answer()]) as server:
        pool = Pool(Origin.of(server.url), tls=None, most=2)
        await pool.request(REQUEST, within=5.0, repeatable=True)
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        async with asyncio.timeout(5):
            while server.open:
                await asyncio.sleep(0.001)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fleet", "function"),
    [
        # The channel stayed open, and a process whose calls were still carried out had a successor.
        ("processes that die", "Channel.finish"),
        # What read its stderr read on for as long as something held that.
        ("processes that die", "Member._live"),
        # A parent ended before its children.
        ("processes that do not end", "Fleet._drain"),
        ("processes of a parent that is cancelled", "Fleet.run"),
    ],
)
def test_a_fleet_that_is_cut_off_leaves_nothing(fleet: str, function: str) -> None:
    cut_at(FLEETS[fleet], function)


@dataclass(kw_only=True)
class CutOff(FleetScenario):
    """Process 1 of a fleet is cut off at a time."""

    at: float

    async def __call__(self, walk: Walk) -> None:
        def cut() -> None:
            [task] = [each for each in asyncio.all_tasks() if each.get_name() == "process 1"]
            task.cancel()

        asyncio.get_running_loop().call_later(self.at, cut)
        await super().__call__(walk)


@pytest.mark.thorough
def test_a_process_that_is_cut_off_while_it_drains_has_not_drained() -> None:
    # The daemon ended with 0, although it had killed what still ran.
    run(CutOff(at=10.1, code=Exit.FAILED), Walk())


@pytest.mark.thorough
def test_a_process_that_is_cut_off_while_it_starts_has_not_tried_its_mappings() -> None:
    # The daemon was called ready, and `--fail-fast` was content.
    manners = [Manner(), Manner(ready_in=1.0, unavailable={"a": False})]
    run(CutOff(at=0.8, manners=manners, fail_fast=True, code=Exit.UNAVAILABLE), Walk())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("function", "how"),
    [
        # Its end of the socket pair stayed open, with what it had said not sent.
        ("Child._run", "cut"),
        # What it was to run came to what waited for it no more.
        ("Channel.call", "halt"),
    ],
)
def test_a_child_that_is_cancelled_closes_its_channel(function: str, how: How) -> None:
    cut_at(CHILDREN["child"], function, how)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("daemon", "function"),
    [
        # Its state file stayed in use.
        ("daemon without streams", "_state"),
        # Its API's connections stayed open.
        ("daemon", "Listening.__aexit__"),
    ],
)
def test_a_daemon_that_is_cancelled_while_it_starts_or_ends_lets_go_of_all(daemon: str, function: str) -> None:
    cut_at(DAEMONS[daemon], function)
