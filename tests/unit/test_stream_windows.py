"""Tumbling windows of a stream mapping under virtual time."""

from __future__ import annotations

import asyncio

import pytest

from esmd.observe import stream_events as stream

from support.mapping_lab import both_kinds  # noqa: F401 - a fixture
from support.stream_lab import data_of, stream_mapping

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("both_kinds")]


# --- tumbling windows


def summing(log):
    """Adds numbers up per window, as the documentation's example does."""

    async def handler(event):
        log.append(event)
        if event["isFinalInvokeForWindow"]:
            return {"state": event["state"]}
        total = event["state"].get("total", 0) + sum(int(data_of(r)) for r in event["Records"])
        return {"state": {"total": total}}

    return handler


async def test_a_tumbling_window_adds_up_and_ends_with_a_final_invocation():
    log = []
    async with stream_mapping(summing(log), whole_events=True, tumbling_window=60, batch_size=5) as lab:
        await asyncio.sleep(60 - lab.engine.now() % 60 + 1)
        for n in range(1, 21):
            lab.put(str(n))
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        lab.put("1000")
        await asyncio.sleep(5)
        finals = [event for event in log if event["isFinalInvokeForWindow"]]
        assert [event["state"] for event in finals] == [{"total": 210}]
        assert finals[0]["Records"] == []
        assert log[0]["state"] == {}
        assert list(log[0]) == [
            "Records",
            "window",
            "state",
            "shardId",
            "eventSourceARN",
            "isFinalInvokeForWindow",
            "isWindowTerminatedEarly",
        ]
        await asyncio.sleep(300)
        assert [e["state"] for e in log if e["isFinalInvokeForWindow"]] == [{"total": 210}, {"total": 1000}]


async def test_the_state_of_a_window_survives_a_restart():
    log = []
    async with stream_mapping(summing(log), whole_events=True, tumbling_window=600, batch_size=5) as lab:
        await asyncio.sleep(600 - lab.engine.now() % 600 + 1)
        lab.put("1", "2")
        await asyncio.sleep(5)
        await lab.kill()
        lab.put("3")
        lab.start()
        await asyncio.sleep(5)
        assert log[-1]["state"] == {"total": 3}
        await asyncio.sleep(1200)
        assert [e["state"] for e in log if e["isFinalInvokeForWindow"]] == [{"total": 6}]


async def test_a_window_is_closed_before_the_children_of_its_shard_start():
    log = []
    async with stream_mapping(summing(log), whole_events=True, tumbling_window=600) as lab:
        await asyncio.sleep(600 - lab.engine.now() % 600 + 1)
        lab.put("1")
        lab.engine.split("events", lab.engine.list_shards("events")[0].id)
        lab.put("2")
        await asyncio.sleep(30)
        assert [(e["isFinalInvokeForWindow"], e["state"]) for e in log] == [
            (False, {}),
            (True, {"total": 1}),
            (False, {}),
        ]


async def test_an_answer_without_state_is_a_failed_invocation():
    log = []

    async def forgetful(event):
        log.append(event)
        return {} if len(log) == 1 else {"state": {"n": 1}}

    async with stream_mapping(forgetful, whole_events=True, tumbling_window=600) as lab:
        await asyncio.sleep(600 - lab.engine.now() % 600 + 1)
        lab.put("1")
        await asyncio.sleep(10)
        assert [len(event["Records"]) for event in log] == [1, 1]
        assert lab.heard(stream.BatchRetrying)
