"""A function shared by mappings: places, turns, and places that the invoker counts and we do not."""

from __future__ import annotations

import asyncio

import pytest

from esmd.function import Function, FunctionCounts
from esmd.invoke.protocol import StartFailed
from esmd.mappings.outcomes import FunctionError, Success, Throttled, Unreachable
from esmd.observe.events import FunctionThrottled

from support.functions import function_of

pytestmark = pytest.mark.looptime

DONE = Success(b"null")


class Places:
    """An invoker whose invocations last `duration`. `overdue` places are held by handlers that nobody awaits."""

    def __init__(self, limit: int = 1, duration: float = 1.0) -> None:
        self.limit = limit
        self.duration = duration
        self.overdue = 0
        self.invoking = 0
        self.loading = 0
        self.most = 0
        self.order: list[str] = []
        self.starts = 0
        self.starting_most = 0
        self.fails: Exception | None = None
        self.outcome = DONE
        self.closed = False
        self._listener = None

    def on_freed(self, listener) -> None:
        self._listener = listener

    def overdue_ends(self) -> None:
        """A handler that nobody awaits any more returns at last."""
        self.overdue -= 1
        self._listener()

    @property
    def running(self) -> int:
        return self.invoking + self.overdue + self.loading

    async def start(self) -> None:
        self.starts += 1
        self.loading += 1
        self.starting_most = max(self.starting_most, self.loading)
        try:
            await asyncio.sleep(self.duration)
            if self.fails is not None:
                raise self.fails
        finally:
            self.loading -= 1

    async def invoke(self, event: bytes, *, request_id: str):
        if self.running >= self.limit:
            return Throttled()
        self.invoking += 1
        self.most = max(self.most, self.invoking)
        self.order.append(request_id)
        try:
            await asyncio.sleep(self.duration)
        finally:
            self.invoking -= 1
        return self.outcome

    async def close(self) -> None:
        self.closed = True


def made(limit: int = 1, duration: float = 1.0) -> tuple[Function, Places]:
    invoker = Places(limit, duration)
    return function_of(invoker), invoker


async def use(function: Function, name: str, patience: float = 100.0):
    """Wait for a turn, then invoke; None if the turn did not come."""
    if not await function.take_place(patience):
        return None
    return await function.invoke_in_place(b"{}", request_id=name)


async def test_without_a_free_place_an_invocation_is_throttled_at_once_and_not_run():
    function, invoker = made(limit=2)
    calls = [asyncio.create_task(function.invoke(b"{}", request_id=name)) for name in "abc"]
    await asyncio.sleep(0)
    assert calls[2].done()
    assert await asyncio.gather(*calls) == [DONE, DONE, Throttled()]
    assert invoker.order == ["a", "b"]
    assert (function.busy, function.room) == (0, 2)


async def test_turns_come_in_the_order_of_asking():
    function, invoker = made()
    names = [str(n) for n in range(20)]
    waiting = []
    for name in names:
        waiting.append(asyncio.create_task(use(function, name)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == [DONE] * 20
    assert invoker.order == names
    assert invoker.most == 1


async def test_a_new_batch_does_not_pass_those_who_wait():
    function, invoker = made()
    first = asyncio.create_task(function.invoke(b"{}", request_id="first"))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(use(function, "waiting"))
    await asyncio.sleep(0)
    await first
    assert function.room == 0
    assert await function.invoke(b"{}", request_id="hasty") == Throttled()
    assert await waiting == DONE
    assert invoker.order == ["first", "waiting"]


async def test_patience_ends_the_wait_and_takes_no_place():
    function, invoker = made(duration=10)
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(function.invoke(b"{}", request_id="first"))
    await asyncio.sleep(0)
    started = loop.time()
    assert await function.take_place(4) is False
    assert loop.time() - started == pytest.approx(4)
    await first
    assert (function.busy, function.room) == (0, 1)
    assert invoker.order == ["first"]


async def test_a_cancelled_waiter_is_passed_over():
    function, invoker = made()
    first = asyncio.create_task(function.invoke(b"{}", request_id="first"))
    await asyncio.sleep(0)
    leaving, staying = (asyncio.create_task(use(function, name)) for name in ("leaving", "staying"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(first, staying)
    assert leaving.cancelled()
    assert invoker.order == ["first", "staying"]
    assert function.busy == 0


async def test_a_place_granted_in_the_moment_of_cancelling_goes_to_the_next():
    function, invoker = made()
    assert await function.take_place(0)
    leaving = asyncio.create_task(function.take_place(100))
    staying = asyncio.create_task(use(function, "staying"))
    await asyncio.sleep(0)
    function.give_place_back()  # granted to `leaving`, which has not run yet
    leaving.cancel()
    assert await staying == DONE
    assert leaving.cancelled()
    assert (invoker.order, function.busy) == (["staying"], 0)


async def test_a_place_granted_in_the_moment_patience_ends_is_not_lost():
    function, _ = made()
    assert await function.take_place(0)
    asyncio.get_running_loop().call_later(5, function.give_place_back)
    taken = await function.take_place(5)
    assert function.busy == int(taken)
    if taken:
        function.give_place_back()
    assert function.room == 1


async def test_a_wait_ends_when_the_mapping_stops_and_takes_no_place():
    function, _ = made()
    stop = asyncio.Event()
    assert await function.take_place(0)
    waiting = asyncio.create_task(function.take_place_unless(stop, 100))
    await asyncio.sleep(1)
    stop.set()
    assert await waiting is False
    function.give_place_back()
    assert (function.busy, function.room) == (0, 1)


async def test_a_place_that_comes_before_the_stop_is_taken():
    function, _ = made()
    stop = asyncio.Event()
    assert await function.take_place(0)
    waiting = asyncio.create_task(function.take_place_unless(stop, 100))
    await asyncio.sleep(1)
    function.give_place_back()
    assert await waiting is True
    assert function.busy == 1


@pytest.mark.parametrize("ticks", range(6))
async def test_a_wait_cancelled_around_the_moment_of_the_grant_leaves_no_place_behind(ticks):
    function, _ = made()
    assert await function.take_place(0)
    waiting = asyncio.create_task(function.take_place_unless(asyncio.Event(), 100))
    await asyncio.sleep(1)
    function.give_place_back()
    for _ in range(ticks):
        await asyncio.sleep(0)
    waiting.cancel()
    [ended] = await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(1)
    assert function.busy == (1 if ended is True else 0)


async def test_a_place_is_given_back_when_the_invocation_is_cancelled():
    function, _ = made(duration=100)
    running = asyncio.create_task(function.invoke(b"{}", request_id="a"))
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (function.busy, function.room) == (0, 1)


async def test_listeners_hear_of_free_places_until_they_leave():
    function, _ = made()
    heard = []
    forget = function.on_room(lambda: heard.append(function.room))
    await function.invoke(b"{}", request_id="a")
    forget()
    await function.invoke(b"{}", request_id="b")
    assert heard == [1]


async def test_a_handler_that_runs_on_after_its_timeout_holds_its_place():
    function, invoker = made()
    await function.invoke(b"{}", request_id="slow")
    invoker.overdue = 1
    assert (function.busy, function.room) == (0, 0)
    assert await function.invoke(b"{}", request_id="next") == Throttled()
    assert invoker.order == ["slow"]


async def test_who_waits_for_the_place_of_an_overdue_handler_gets_it_at_its_end():
    function, invoker = made()
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(function.invoke(b"{}", request_id="slow"))
    await asyncio.sleep(0.5)
    waiting = asyncio.create_task(use(function, "waiting"))
    invoker.overdue = 1
    await running
    loop.call_later(20, invoker.overdue_ends)
    started = loop.time()
    assert await waiting == DONE
    assert loop.time() - started == pytest.approx(20 + invoker.duration)


async def test_mappings_are_told_when_an_overdue_handler_ends():
    function, invoker = made()
    heard = []
    function.on_room(lambda: heard.append(function.room))
    running = asyncio.create_task(function.invoke(b"{}", request_id="slow"))
    await asyncio.sleep(0.5)
    invoker.overdue = 1
    await running
    await asyncio.sleep(10)
    assert heard == []
    invoker.overdue_ends()
    assert heard == [1]


async def test_two_who_wait_behind_an_overdue_handler_do_not_chase_each_other():
    function, invoker = made()
    running = asyncio.create_task(function.invoke(b"{}", request_id="slow"))
    await asyncio.sleep(0.5)
    waiting = [asyncio.create_task(use(function, name)) for name in "ab"]
    invoker.overdue = 1
    await running
    await asyncio.sleep(10)
    assert invoker.order == ["slow"]
    assert not any(task.done() for task in waiting)
    invoker.overdue_ends()
    assert await asyncio.gather(*waiting) == [DONE, DONE]


async def test_mappings_that_start_a_function_together_do_so_one_after_the_other():
    function, invoker = made()
    await asyncio.gather(*(function.start() for _ in range(3)))
    assert invoker.starts == 3
    assert invoker.starting_most == 1


async def test_the_place_that_loading_took_is_told_of():
    function, _ = made()
    heard = []
    function.on_room(lambda: heard.append(function.room))
    starting = asyncio.create_task(function.start())
    await asyncio.sleep(0.5)
    assert function.room == 0
    await starting
    assert heard == [1]


async def test_a_function_that_does_not_start_says_why_and_may_be_started_again():
    function, invoker = made()
    invoker.fails = StartFailed("Runtime.ImportModuleError", "no module")
    with pytest.raises(StartFailed, match="no module"):
        await function.start()
    invoker.fails = None
    await function.start()
    assert invoker.starts == 2


async def test_a_stopped_function_is_not_even_loaded():
    function, invoker = made(limit=0)
    await function.start()
    assert invoker.starts == 0
    assert await function.invoke(b"{}", request_id="a") == Throttled()
    assert await function.take_place(1) is False


async def test_closing_closes_the_invoker():
    function, invoker = made()
    await function.close()
    assert invoker.closed


class Reloading(Places):
    def reload(self, files) -> None:
        self.files = files


async def test_changed_files_reach_an_invoker_that_can_load_them():
    function = function_of(invoker := Reloading())
    assert function.reload(["orders.py"]) is True
    assert invoker.files == ["orders.py"]
    assert made()[0].reload(["orders.py"]) is False


# --- what it says


async def test_every_throttle_is_said_whoever_refused():
    said = []
    telemetry = type("Telemetry", (), {"emit": lambda _, event: said.append(event)})()
    invoker = Places(limit=1)
    function = function_of(invoker, telemetry=telemetry)
    first = asyncio.create_task(function.invoke(b"{}", request_id="first"))
    await asyncio.sleep(0)
    await function.invoke(b"{}", request_id="here")
    await first
    invoker.outcome = Throttled("CallerRateLimitExceeded")
    await function.invoke(b"{}", request_id="there")
    common = {"function": "process", "limit": 1}
    assert said == [
        FunctionThrottled(request_id="here", reason="ReservedFunctionConcurrentInvocationLimitExceeded", **common),
        FunctionThrottled(request_id="there", reason="CallerRateLimitExceeded", **common),
    ]


async def test_what_it_did_is_counted_per_period():
    function, invoker = made(limit=2, duration=1.0)
    await asyncio.gather(*(function.invoke(b"{}", request_id=name) for name in "abc"))
    invoker.duration = 3.0
    for outcome in (FunctionError("timeout", "Sandbox.Timedout", "late"), Unreachable("gone"), Throttled()):
        invoker.outcome = outcome
        await function.invoke(b"{}", request_id="d")
    counts = function.take_counts()
    assert counts == FunctionCounts(
        invocations=4,
        errors=1,
        throttles=2,
        duration_sum=pytest.approx(8000.0),
        duration_max=pytest.approx(3000.0),
        concurrency_max=2,
    )
    assert function.take_counts() == FunctionCounts()


async def test_an_invocation_that_spans_two_periods_is_at_work_in_both():
    function, _ = made(duration=10)
    running = asyncio.create_task(function.invoke(b"{}", request_id="a"))
    await asyncio.sleep(1)
    assert function.take_counts() == FunctionCounts(concurrency_max=1)
    await running
    assert function.take_counts().concurrency_max == 1
