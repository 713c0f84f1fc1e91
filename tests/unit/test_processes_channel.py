"""Messages and calls between two ends: order, refusals, cancelled callers, an end that is gone or slow."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from esmd.processes import channel as module
from esmd.processes.channel import Channel, ChannelLostError
from esmd.processes.messages import LENGTH, Changed, Drain, Request, packed
from esmd.processes.remote import RemoteStateStore
from esmd.state.errors import LeaseLostError, OtherStreamError, PositionMovedBackError, StateError

from support.channels import channel_pair, nothing_served


async def test_messages_arrive_in_their_order():
    told: list[Any] = []
    with channel_pair(nothing_served, told=told.append) as child:
        sent = [Changed(str(n)) for n in range(1000)]
        for message in sent:
            child.tell(message)
        while len(told) < len(sent):
            await asyncio.sleep(0)
        assert told == sent


async def test_calls_are_begun_in_their_order_and_answered_to_whoever_asked():
    begun = []
    let_go = asyncio.Event()

    async def serve(request: Request) -> Any:
        begun.append(request.arguments[0])
        if request.arguments[0] == 0:
            await let_go.wait()
        else:
            let_go.set()
        return request.arguments[0] * 2

    with channel_pair(serve) as child:
        assert await asyncio.gather(*(child.call("double", n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert begun == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", [StateError, PositionMovedBackError, OtherStreamError, LeaseLostError])
async def test_a_refusal_comes_back_as_what_it_was(kind):
    async def serve(_: Request) -> Any:
        raise kind("no", hint="Do something else.")

    with channel_pair(serve) as child:
        with pytest.raises(kind) as caught:
            await child.call("save")
        assert (type(caught.value), caught.value.message, caught.value.hint) == (kind, "no", "Do something else.")


async def test_whoever_is_cancelled_stops_waiting_and_the_call_is_carried_out():
    let_go, done = asyncio.Event(), []

    async def serve(request: Request) -> Any:
        await let_go.wait()
        done.append(request.arguments)

    with channel_pair(serve) as child:
        store = RemoteStateStore(child)
        saving = asyncio.create_task(store.mappings())
        forgetting = asyncio.create_task(store.load("orders", "arn"))
        await asyncio.sleep(0)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        let_go.set()
        await closing
        assert len(done) == 2
        assert await forgetting is None


async def test_an_end_that_goes_fails_what_was_asked_and_is_said_once():
    lost = []
    with channel_pair(nothing_served) as child:
        ours, theirs = socket.socketpair()
        other = Channel(ours, told=lambda _: None, serve=nothing_served, lost=lambda: lost.append(1), may_wait=False)
        asked = asyncio.create_task(other.call("anything"))
        await asyncio.sleep(0)
        theirs.close()
        with pytest.raises(ChannelLostError):
            await asked
        with pytest.raises(ChannelLostError):
            await other.call("anything")
        other.tell(Drain("late"))
        other.close()
        assert lost == [1]
        child.close()
        with pytest.raises(StateError, match="the parent process is gone"):
            await RemoteStateStore(child).mappings()


async def test_what_was_sent_before_the_end_is_taken_and_carried_out():
    told, saved = [], []

    async def serve(request: Request) -> Any:
        await asyncio.sleep(0)
        saved.append(request.arguments)

    ours, theirs = socket.socketpair()
    theirs.sendall(packed(Changed("a")) + packed(Request(0, "save", (1,), {})) + packed(Changed("b")))
    theirs.close()
    parent = Channel(ours, told=told.append, serve=serve, lost=lambda: None, may_wait=False)
    await parent.finish()
    assert (told, saved) == ([Changed("a"), Changed("b")], [(1,)])


async def test_a_child_waits_for_a_parent_that_is_slow_instead_of_filling_its_memory(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "MOST_UNSENT", 50_000)
    ours, theirs = socket.socketpair()
    taken = bytearray()

    def take() -> None:
        while data := theirs.recv(65_536):
            taken.extend(data)

    slow = threading.Thread(target=take)
    slow.start()
    child = Channel(ours, told=lambda _: None, serve=nothing_served, lost=lambda: None, may_wait=True)
    message = Changed("x" * 10_000)
    most = 0
    for _ in range(200):  # in one turn of the loop: nothing is sent in between but by waiting
        child.tell(message)
        most = max(most, len(child._unsent))
    child.flush()
    child.close()
    slow.join()
    theirs.close()
    assert most < 50_000 + 2 * len(packed(message))
    assert taken == packed(message) * 200
    assert int.from_bytes(taken[:LENGTH]) == len(packed(message)) - LENGTH
