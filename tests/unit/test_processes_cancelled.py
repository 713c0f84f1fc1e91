"""What the walk of `test_cancellation.py` found in what processes tell each other, and in the API, a test for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from esmd.pollers.connection_pool import Pool
from esmd.pollers.connections import Origin
from esmd.state.errors import StateError

from support.channels import channel_pair
from support.scripted_server import ScriptedServer, answer
from support.walked_api import SCENARIOS
from support.walker import Walk, run

if TYPE_CHECKING:
    from esmd.processes.messages import Request

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
    scenario = SCENARIOS["sockets"]
    look = run(scenario, Walk())
    places = {each for found in look.suspensions for each in found if each.function == function}
    assert places
    for place in places:
        run(scenario, Walk(where=frozenset({place}), how="cut"))


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
