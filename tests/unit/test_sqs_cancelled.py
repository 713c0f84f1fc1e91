"""What the walk of `test_cancellation.py` found in SQS mappings, a test for each."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from support.mapping_lab import ScriptedBeginner, mapping
from support.walked_sqs import SqsScenario
from support.walker import Walk, run


def test_a_mapping_whose_only_receive_is_cancelled_receives_again() -> None:
    # The task group went on without it, and nothing woke the mapping: it never polled again.
    def receiving(walk: Walk) -> int:
        return next(n for n, places in enumerate(walk.suspensions, 1) if places[-1].function == "SqsRunner._receive")

    scenario = SqsScenario(bodies=[["a"], ["b"]])
    at = receiving(run(scenario, Walk()))
    assert run(scenario, Walk(at=at, how="cut")).hit is not None


@pytest.mark.looptime
async def test_a_second_halt_leaves_no_handler_running() -> None:
    # `gather` cancelled the halts of the first one before they had begun: handlers ran on, and their places were lost.
    async with mapping(begun=True, duration=50.0) as lab:
        lab.send("a", "b")
        await asyncio.sleep(1)
        assert isinstance(lab.invoker, ScriptedBeginner)
        assert lab.invoker.running == 1
        lab.task.cancel()
        await asyncio.sleep(0)  # it is cancelled
        while lab.function.busy and not lab.task.done():
            lab.task.cancel()
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await lab.task
        await asyncio.sleep(0.01)
        assert (lab.invoker.running, lab.function.busy, lab.invoker.cancelled) == (0, 0, 1)
        lab.task = asyncio.create_task(asyncio.sleep(0))


@pytest.mark.looptime
@pytest.mark.filterwarnings("error")
async def test_a_halt_before_a_retry_is_put_off_leaves_no_coroutine_behind() -> None:
    # The task that was to await it had not begun: "coroutine 'SqsBatch._delay_retries' was never awaited".
    async def fails(records: object) -> None:
        # In the turn of the loop in which the outcome is settled: the task that changes the visibility begins in the next.
        asyncio.get_running_loop().call_soon(lab.task.cancel)
        raise ValueError(records)

    async with mapping(fails, begun=True, retry_backoff=(2, 4)) as lab:
        lab.send("a")
        with contextlib.suppress(asyncio.CancelledError):
            await lab.task
        lab.task = asyncio.create_task(asyncio.sleep(0))
