"""Connections to a Runtime API: which are lost, which are refused, and what becomes of an invocation then."""

from __future__ import annotations

import asyncio
import socket

import pytest

from esmd.invoke import runtime_connection
from esmd.invoke.peers import Peer
from esmd.invoke.runtime_connection import MAX_CONNECTIONS
from esmd.mappings.outcomes import Success

from support.invocations import until
from support.runtime_clients import NEXT, RESPONSE, api_stages, invocation


@pytest.fixture
async def make():
    async with api_stages() as build:
        yield build


@pytest.fixture
async def stage(make):
    return await make()


# --- connections that are lost


async def test_an_invocation_is_not_handed_to_a_client_that_has_gone(stage):
    client = await stage.waiting()
    client.close()
    await until(lambda: stage.session.state == "away")
    stage.api.offer(invocation())
    another = await stage.client()
    another.ask(b"GET", NEXT)
    assert await another.answer() == (200, b'{"Records": []}')


async def test_nor_to_one_whose_end_the_loop_has_not_seen(stage):
    client = await stage.waiting()
    with client.writer.get_extra_info("socket").dup() as twin:
        twin.shutdown(socket.SHUT_RDWR)  # no turn of the loop comes between this and the offer
    stage.api.offer(invocation())
    assert stage.session.state == "offered"
    another = await stage.client()
    another.ask(b"GET", NEXT)
    assert (await another.answer())[0] == 200


async def test_a_client_that_only_stops_sending_is_taken_for_one_that_has_gone(stage):
    client = await stage.waiting()
    client.writer.write_eof()
    assert await client.is_closed()
    assert stage.session.state == "away"


async def test_a_client_that_sends_while_it_waits_is_cut_off(stage):
    client = await stage.waiting()
    client.ask(b"GET", NEXT)
    assert await client.is_closed()
    assert stage.session.state == "away"


async def test_of_two_that_wait_the_later_is_served(stage):
    former, latter = await stage.waiting(), await stage.client()
    latter.ask(b"GET", NEXT)
    assert await former.refusal() == (403, "InvalidStateTransition")
    stage.api.offer(invocation())
    assert (await latter.answer())[0] == 200


async def test_one_that_did_not_get_its_invocation_may_ask_again(stage):
    client = await stage.invoking(b"[7]")
    client.close()
    another = await stage.client()
    another.ask(b"GET", NEXT)
    assert await another.answer() == (200, b"[7]")
    another.ask(b"POST", RESPONSE, b"{}")
    assert (await another.answer())[0] == 202


async def test_what_was_sent_before_the_end_can_be_taken_at_once(stage):
    client = await stage.invoking()
    client.ask(b"POST", RESPONSE, b"[7]")
    assert stage.session.outcome is None
    stage.api.take()
    assert stage.session.outcome == Success(b"[7]")
    stage.api.take()


async def test_a_connection_that_has_closed_has_nothing_to_take(stage):
    client = await stage.waiting()
    client.writer.transport.abort()
    await asyncio.sleep(0)
    stage.api.take()
    await until(lambda: stage.session.state == "away")


async def test_closing_ends_every_connection(stage):
    clients = [await stage.waiting(), await stage.client()]
    stage.api.close()
    assert [await client.is_closed() for client in clients] == [True, True]
    assert stage.session.state == "ended"


# --- who may speak


@pytest.mark.parametrize("request_bytes", [b"", b"GET " + NEXT + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_a_foreign_process_hears_403_and_nothing_it_sends_is_read(make, request_bytes):
    stage = await make(lambda client, server: Peer("foreign", 1000))
    client = await stage.client()
    client.send(request_bytes)
    assert await client.refusal() == (403, "AccessDenied")
    assert await client.is_closed()
    assert stage.session.state == "starting"
    assert stage.foreign == [(client.writer.get_extra_info("sockname"), 1000)]


async def test_the_judge_is_told_both_ends(make):
    seen = []
    stage = await make(lambda client, server: seen.append((client, server)) or Peer("own"))
    client = await stage.waiting()
    assert seen == [(client.writer.get_extra_info("sockname"), ("127.0.0.1", stage.api.port))]


async def test_a_client_that_has_closed_already_is_no_intruder(make):
    stage = await make(lambda client, server: Peer("gone"))
    client = await stage.client()
    client.ask(b"GET", NEXT)
    assert await client.is_closed()
    assert stage.foreign == []
    assert stage.session.state == "starting"


async def test_a_judge_that_fails_lets_nobody_in(make):
    def judge(client, server):
        raise OSError("no more files")

    said = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(str(context["exception"])))
    stage = await make(judge)
    client = await stage.client()
    client.ask(b"GET", NEXT)
    assert await client.is_closed()
    assert stage.session.state == "starting"
    assert said == ["no more files"]


async def test_a_refused_client_that_goes_on_sending_is_cut_off(make, monkeypatch):
    monkeypatch.setattr(runtime_connection, "_LINGER_BYTES", 100_000)
    stage = await make(lambda client, server: Peer("foreign", None))
    client = await stage.client()
    client.send(b"x" * 1_000_000)
    await until(lambda: not stage.api.refused)


async def test_a_refused_client_may_have_gone_in_the_meantime(make):
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    stage = await make(lambda client, server: Peer("foreign", None))
    socket.create_connection(("127.0.0.1", stage.api.port)).close()  # what it is told now resets the connection
    await until(lambda: stage.foreign and not stage.api.refused)
    assert said == []


async def test_a_refused_client_that_does_not_close_is_closed(make, monkeypatch):
    monkeypatch.setattr(runtime_connection, "_LINGER_SECONDS", 0.01)
    stage = await make(lambda client, server: Peer("foreign", None))
    await stage.client()
    await until(lambda: stage.api.refused)
    await until(lambda: not stage.api.refused)


async def test_refused_clients_take_no_place_from_the_runtime(make):
    verdicts = [Peer("foreign", None)] * (MAX_CONNECTIONS + 2) + [Peer("own")]
    stage = await make(lambda client, server: verdicts.pop(0))
    crowd = [await stage.client() for _ in range(MAX_CONNECTIONS + 2)]
    await until(lambda: len(verdicts) == 1)
    assert len(stage.api.refused) == MAX_CONNECTIONS
    await stage.waiting()
    assert len(crowd) > MAX_CONNECTIONS


async def test_an_environment_has_so_many_connections_and_no_more(stage):
    for _ in range(MAX_CONNECTIONS):
        await stage.client()
    await until(lambda: len(stage.api.served) == MAX_CONNECTIONS)
    client = await stage.client()
    assert await client.is_closed()


@pytest.mark.parametrize("host", [b"evil.example", b"evil.example:%d", b"127.0.0.1", b"127.0.0.1:1", b""])
async def test_a_foreign_host_name_is_refused(stage, host):
    client = await stage.client()
    name = host.replace(b"%d", b"%d" % stage.api.port)
    client.send(b"GET " + NEXT + b" HTTP/1.1\r\nHost: " + name + b"\r\n\r\n")
    assert await client.refusal() == (403, "AccessDenied")
    assert stage.session.state == "starting"


@pytest.mark.parametrize("host", [b"127.0.0.1:%d", b"localhost:%d", b"LOCALHOST:%d"])
async def test_its_own_names_are_not(stage, host):
    client = await stage.client()
    client.send(b"GET " + NEXT + b" HTTP/1.1\r\nHost: " + host % stage.api.port + b"\r\n\r\n")
    await until(lambda: stage.session.state == "idle")


async def test_with_a_token_only_paths_under_it_exist(make):
    stage = await make(token="unguessable")
    assert stage.api.address == f"127.0.0.1:{stage.api.port}/unguessable"
    for path in (NEXT, b"/guess" + NEXT):
        client = await stage.client()
        client.ask(b"GET", path)
        assert await client.refusal() == (404, "NotFound")
    client = await stage.client()
    client.ask(b"GET", b"/unguessable" + NEXT)
    await until(lambda: stage.session.state == "idle")


async def test_it_listens_on_loopback_only(stage):
    assert {listener.getsockname()[0] for listener in stage.api._server.sockets} == {"127.0.0.1"}
