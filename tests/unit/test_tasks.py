"""Task groups that notice when one of their tasks vanishes."""

from __future__ import annotations

import asyncio

import pytest

from esmd.tasks import CutOffError, Tasks

pytestmark = pytest.mark.looptime


async def forever() -> None:
    await asyncio.sleep(3600)


async def test_tasks_that_return_are_waited_for() -> None:
    async with Tasks() as tasks:
        task = tasks.create_task(asyncio.sleep(5, "done"))
    assert task.result() == "done"


async def test_a_task_that_something_else_cancels_ends_the_group() -> None:
    async def owner() -> None:
        async with Tasks() as tasks:
            other = tasks.create_task(forever())
            tasks.create_task(forever())
            await asyncio.sleep(1)
            other.cancel()
            await forever()

    with pytest.raises(ExceptionGroup) as raised:
        await owner()
    assert raised.group_contains(CutOffError, match="forever was cancelled by something else", depth=1)
    assert asyncio.get_running_loop().time() < 3600


async def test_the_last_task_of_all_is_missed_too() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with Tasks() as tasks:
            only = tasks.create_task(forever())
            asyncio.get_running_loop().call_later(1, only.cancel)
    assert raised.group_contains(CutOffError, depth=1)


async def test_a_task_that_never_began_is_missed_too() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with Tasks() as tasks:
            tasks.create_task(forever()).cancel()
            tasks.create_task(asyncio.sleep(1))
    assert raised.group_contains(CutOffError, depth=1)


async def test_a_task_that_the_group_cancels_is_not_missed() -> None:
    async with Tasks() as tasks:
        beating = tasks.create_task(forever())
        await asyncio.sleep(1)
        tasks.cancel(beating)
        tasks.cancel(beating)
    tasks.cancel(beating)
    assert beating.cancelled()


async def test_the_error_of_a_task_is_the_only_one() -> None:
    async def fails() -> None:
        await asyncio.sleep(1)
        raise ValueError

    with pytest.raises(ExceptionGroup) as raised:
        async with Tasks() as tasks:
            tasks.create_task(forever())
            tasks.create_task(fails())
    assert [type(each) for each in raised.value.exceptions] == [ValueError]


@pytest.mark.parametrize("inside", [True, False], ids=["in its body", "at its end"])
async def test_cancelling_the_owner_is_a_cancellation(*, inside: bool) -> None:
    async def owner() -> None:
        async with Tasks() as tasks:
            tasks.create_task(forever())
            if inside:
                await forever()

    task = asyncio.create_task(owner())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_body_is_raised_as_by_a_task_group() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with Tasks() as tasks:
            tasks.create_task(forever())
            await asyncio.sleep(1)
            raise ValueError
    assert [type(each) for each in raised.value.exceptions] == [ValueError]
