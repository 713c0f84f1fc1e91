"""What every form of function promises when it is told to stop: drained while there is time, then ended."""

from __future__ import annotations

import asyncio
import json

import pytest

from esmd.mappings.outcomes import Unreachable
from esmd.observe.events import EnvironmentKilled, EnvironmentStarted, EnvironmentStopped, HandlerCrashed

from support.forms import needs
from support.invocations import answer, call, is_running, until
from support.live_mapping import live_mapping

CLOSING = Unreachable("Function orders is shutting down.")


@pytest.fixture
def busy(form, make, tmp_path):
    """An invocation that waits for a file: `await busy.begun()`, then `busy.let_go()`."""
    return Busy("async" if form.has("async") else "sync", tmp_path)


class Busy:
    def __init__(self, kind, folder):
        self.kind, self.folder = kind, folder
        self.handler = f"answering:wait_{kind}"
        self.here, self.door = folder / "here", folder / "door"
        self.body = json.dumps({"here": str(self.here), "door": str(self.door)})
        self.event = {"Records": [{"body": self.body}]}

    def beside(self):
        folder = self.folder / "beside"
        folder.mkdir()
        return Busy(self.kind, folder)

    async def begun(self):
        await until(self.here.exists)

    def let_go(self):
        self.door.touch()

    @property
    def finished(self):
        return self.here.read_text().endswith("done")


# --- drained


async def test_a_mapping_that_is_stopped_waits_for_its_invocation_and_deletes_the_message(make, busy, said_there):
    invoker = await make(busy.handler)
    async with live_mapping(invoker) as mapping:
        mapping.send(busy.body)
        await busy.begun()
        mapping.stop.set()
        await asyncio.sleep(0.02)
        assert not mapping.task.done()
        assert mapping.left == (0, 1)
        busy.let_go()
        await mapping.task
        assert mapping.left == (0, 0)
    await invoker.close()
    assert busy.finished
    assert said_there.of(EnvironmentKilled) == []
    assert said_there.of(HandlerCrashed) == []


# --- then ended


async def test_a_mapping_that_is_halted_ends_what_ran_and_leaves_the_message_to_the_queue(form, make, busy, said_there):
    invoker = await make(busy.handler)
    async with live_mapping(invoker) as mapping:
        mapping.send(busy.body)
        await busy.begun()
        mapping.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mapping.task
        assert mapping.left == (0, 1)
    assert invoker.running == 0
    if form.has("processes"):
        await until(lambda: said_there.of(EnvironmentKilled))
        assert [killed.reason for killed in said_there.of(EnvironmentKilled)] == ["cancelled"]
    busy.let_go()
    await invoker.close()
    assert not busy.finished


async def test_a_cancelled_invocation_ends_what_ran_before_the_cancellation_goes_on(form, make, busy, said_there):
    invoker = await make(busy.handler)
    task = asyncio.create_task(call(invoker, busy.event))
    await busy.begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert invoker.running == 0
    if form.has("processes"):
        await until(lambda: said_there.of(EnvironmentKilled))
        (killed,) = said_there.of(EnvironmentKilled)
        assert killed.reason == "cancelled"
        assert not is_running(killed.pid)
    assert said_there.of(HandlerCrashed) == []
    busy.let_go()
    assert await answer(invoker, busy.event) == "done"  # the next invocation is not affected


async def test_closing_during_an_invocation_is_not_the_handlers_failure(make, busy):
    invoker = await make(busy.handler, concurrency=2)
    await invoker.start()
    task = asyncio.create_task(call(invoker, busy.event))
    await busy.begun()
    await asyncio.gather(invoker.close(), invoker.close())
    assert await task == CLOSING
    assert await call(invoker, busy.event) == CLOSING
    assert invoker.running == 0
    await invoker.close()
    assert not busy.finished


async def test_closing_during_a_handler_that_blocks_does_not_wait_for_it(make):
    invoker = await make("answering:nap")
    await invoker.start()
    task = asyncio.create_task(call(invoker, 0.5))
    await asyncio.sleep(0.02)
    await invoker.close()
    assert await task == CLOSING


@needs("processes", "at hand")
async def test_closing_kills_busy_environments_and_asks_idle_ones_to_leave(make, busy, said):
    invoker = await make(busy.handler, concurrency=2)
    task = asyncio.create_task(call(invoker, busy.event))
    await busy.begun()
    other = busy.beside()
    other.let_go()
    await answer(invoker, other.event)
    await invoker.close()
    assert await task == CLOSING
    started = {event.pid for event in said.of(EnvironmentStarted)}
    (killed,), (stopped,) = said.of(EnvironmentKilled), said.of(EnvironmentStopped)
    assert {killed.pid, stopped.pid} == started
    assert (killed.reason, stopped.reason, stopped.invocations) == ("shutdown", "shutdown", 1)


async def test_an_invoker_that_never_ran_can_be_closed(make):
    await (await make("answering:echo")).close()
