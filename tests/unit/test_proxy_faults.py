"""The weather of the fault proxy, and the proxy itself before a server that answers as it is told."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest

from esmd.testing.fault_proxy import FaultProxy
from esmd.testing.proxy_faults import (
    Drip,
    Drop,
    Garbage,
    Mislabelled,
    Refuse,
    Repeat,
    Reset,
    Skewed,
    Stall,
    Truncated,
    Twice,
    Weather,
    expired_token,
    throttled,
)

from support.scripted_server import ScriptedServer, answer

BODY = b'{"Messages":[]}'


async def ask(url: str, target: str = "AmazonSQS.ReceiveMessage") -> tuple[int, str, bytes]:
    """One call on a connection of its own: status, content type and body."""
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"}
    async with aiohttp.ClientSession() as session, session.post(url, data=b'{"QueueUrl":"q"}', headers=headers) as got:
        return got.status, got.headers["content-type"], await got.read()


def test_the_same_seed_makes_the_same_weather():
    one, other = Weather(7, share=0.5), Weather(7, share=0.5)
    assert [one.next_for("GetRecords") for _ in range(200)] == [other.next_for("GetRecords") for _ in range(200)]


def test_fair_weather_strikes_nothing_and_foul_weather_everything():
    fair, foul = Weather(1, share=0.0), Weather(1, share=1.0)
    assert {fair.next_for("ReceiveMessage") for _ in range(100)} == {None}
    assert None not in {foul.next_for("ReceiveMessage") for _ in range(100)}


def test_every_kind_comes_and_no_write_is_answered_with_an_old_answer():
    foul = Weather(3, share=1.0)
    reads = Counter(type(foul.next_for("GetRecords")) for _ in range(2000))
    writes = Counter(type(foul.next_for("DeleteMessageBatch")) for _ in range(2000))
    assert set(reads) == {
        Refuse, Skewed, Drop, Reset, Stall, Garbage, Mislabelled, Truncated, Drip, Twice, Repeat,
    }  # fmt: skip
    assert set(writes) == set(reads) - {Repeat}


async def test_a_call_is_handed_on_as_it_came():
    async with ScriptedServer([answer(BODY)]) as server, FaultProxy(server.url) as proxy:
        assert await ask(proxy.endpoint_url) == (200, "application/x-amz-json-1.0", BODY)
        [request] = server.requests
    assert b"\r\n\r\n" + b'{"QueueUrl":"q"}' in request
    assert b"X-Amz-Target: AmazonSQS.ReceiveMessage" in request or b"x-amz-target: AmazonSQS.ReceiveMessage" in request
    assert proxy.calls == {"ReceiveMessage": 1}
    assert proxy.struck == {}


@pytest.mark.parametrize(
    ("fault", "reaches_the_server"),
    [
        (Drop(), 0),
        (Drop(after_work=True), 1),
        (Reset(), 0),
        (Reset(after_work=True), 1),
        (Reset(mid_body=True), 1),
        (Truncated(mid_body=True), 1),
    ],
    ids=str,
)
async def test_connections_are_cut_before_or_after_the_work(fault, reaches_the_server):
    async with ScriptedServer([answer(BODY)]) as server, FaultProxy(server.url) as proxy:
        proxy.faults.add("ReceiveMessage", fault)
        with pytest.raises(aiohttp.ClientError):
            await ask(proxy.endpoint_url)
        assert len(server.requests) == reaches_the_server
        assert await ask(proxy.endpoint_url) == (200, "application/x-amz-json-1.0", BODY)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Truncated(), (200, "application/x-amz-json-1.0", BODY[:7])),
        (Garbage(b"<html>"), (200, "application/x-amz-json-1.0", b"<html>")),
        (Mislabelled("text/plain"), (200, "text/plain", BODY)),
        (Drip(pieces=5, pause=0.001), (200, "application/x-amz-json-1.0", BODY)),
        (Stall(0.01), (200, "application/x-amz-json-1.0", BODY)),
    ],
    ids=str,
)
async def test_answers_are_spoilt(fault, expected):
    async with ScriptedServer([answer(BODY)]) as server, FaultProxy(server.url) as proxy:
        proxy.faults.add("*", fault)
        assert await ask(proxy.endpoint_url) == expected
        assert proxy.struck == {type(fault).__name__: 1}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Refuse(503, "ServiceUnavailable"), 503, b"ServiceUnavailable"),
        (throttled("GetRecords"), 400, b"ProvisionedThroughputExceededException"),
        (throttled("ReceiveMessage"), 400, b"ThrottlingException"),
        (expired_token(), 403, b"ExpiredTokenException"),
        (Skewed(), 403, b"InvalidSignatureException"),
    ],
)
async def test_refusals_do_not_reach_the_server(fault, status, code):
    async with ScriptedServer([answer(BODY)]) as server, FaultProxy(server.url) as proxy:
        proxy.faults.add("*", fault)
        got, _, body = await ask(proxy.endpoint_url)
        assert (got, code in body) == (status, True)
        assert server.requests == []


async def test_twice_asks_twice_and_repeat_not_at_all():
    async with (
        ScriptedServer([answer(b"1")], [answer(b"2")], [answer(b"3")]) as server,
        FaultProxy(server.url) as proxy,
    ):
        proxy.faults.add("ReceiveMessage", Twice())
        proxy.faults.add("ReceiveMessage", Repeat())
        bodies = [(await ask(proxy.endpoint_url))[2] for _ in range(3)]
        assert bodies == [b"2", b"2", b"3"]
        assert len(server.requests) == 3


async def test_down_refuses_connections_until_up_on_the_same_port():
    async with ScriptedServer([answer(BODY)]) as server, FaultProxy(server.url) as proxy:
        url = proxy.endpoint_url
        await proxy.down()
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(url)
        await proxy.up()
        assert (await ask(url))[0] == 200


async def test_down_cuts_calls_under_way():
    hang = asyncio.Event()
    async with ScriptedServer([hang, answer(BODY)]) as server, FaultProxy(server.url) as proxy:
        call = asyncio.create_task(ask(proxy.endpoint_url))
        while not server.requests:
            await asyncio.sleep(0.005)
        await proxy.down()
        with pytest.raises(aiohttp.ClientError):
            await call
        hang.set()


async def test_a_server_that_is_gone_gives_no_answer():
    async with ScriptedServer([answer(BODY)]) as server:
        url = server.url
    async with FaultProxy(url) as proxy:
        with pytest.raises(aiohttp.ClientError):
            await ask(proxy.endpoint_url)
