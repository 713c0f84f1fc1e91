"""Questions that are asked side by side: what has come in time, in their order, and nothing that runs on."""

from __future__ import annotations

import asyncio

import pytest

from esmd.waiting import answers_within

pytestmark = pytest.mark.looptime


async def told_after(seconds, answer, cut):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        cut.append(answer)
        raise
    return answer


async def test_answers_come_in_the_order_of_their_questions_and_late_ones_are_cut():
    cut = []
    questions = [told_after(seconds, seconds, cut) for seconds in (2.0, 9.0, 1.0)]
    assert await answers_within(3.0, questions) == [2.0, None, 1.0]
    await asyncio.sleep(0)
    assert cut == [9.0]


async def test_nobody_asked_is_nobody_waited_for():
    assert await answers_within(3.0, []) == []


async def test_a_cancelled_wait_cuts_all():
    cut = []
    waiting = asyncio.create_task(answers_within(30.0, [told_after(9.0, name, cut) for name in "ab"]))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert cut == ["a", "b"]
