"""Connections: kept, used again, given up; what goes out twice and what never does."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from esmd.pollers.connection_pool import Pool
from esmd.pollers.connections import (
    Broken,
    ConnectionTrouble,
    NoConnection,
    NoConnectionInTime,
    NoTrust,
    Origin,
    TooLate,
    Unanswered,
    tls_context,
)
from esmd.pollers.http_answers import NotHttp

from support.scripted_server import ScriptedServer, Then, answer

TLS = Path(__file__).parents[1] / "data" / "tls"
OK = answer()
REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


@contextlib.asynccontextmanager
async def pool_for(url: str, *, tls: ssl.SSLContext | None = None, most: int = 10, **options: float):
    pool = Pool(Origin.of(url), tls=tls, most=most, **options)
    try:
        yield pool
    finally:
        await pool.close()


async def ask(pool: Pool, *, within: float = 5.0, repeatable: bool = False):
    return await pool.request(REQUEST, within=within, repeatable=repeatable)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_connection_is_used_again_and_again():
    async with ScriptedServer([OK]) as server, pool_for(server.url) as pool:
        for _ in range(5):
            found = await ask(pool)
            assert (found.status, found.body) == (200, b"{}")
        assert server.connections == 1
        assert server.requests == [REQUEST] * 5


async def test_calls_at_once_have_a_connection_each_and_leave_them_for_others():
    go = asyncio.Event()
    async with ScriptedServer([go, OK]) as server, pool_for(server.url) as pool:
        calls = [asyncio.create_task(ask(pool)) for _ in range(4)]
        await until(lambda: len(server.requests) == 4)
        go.set()
        await asyncio.gather(*calls)
        await asyncio.gather(*(ask(pool) for _ in range(4)))
        assert server.connections == 4


async def test_a_request_that_goes_out_again_takes_no_place_that_another_has_been_given():
    # There were two connections where there may be one.
    async with ScriptedServer([OK], [Then.CLOSE], [OK]) as server, pool_for(server.url, most=1) as pool:
        await asyncio.gather(*(ask(pool, repeatable=True) for _ in range(4)))
        assert (server.connections, server.open) == (2, 1)


async def test_beyond_the_limit_calls_wait_for_their_turn():
    go = asyncio.Event()
    async with ScriptedServer([go, OK]) as server, pool_for(server.url, most=2) as pool:
        order: list[int] = []

        async def call(number: int) -> None:
            await ask(pool)
            order.append(number)

        calls = [asyncio.create_task(call(n)) for n in range(6)]
        await until(lambda: len(server.requests) == 2)
        go.set()
        await asyncio.gather(*calls)
        assert server.connections == 2
        assert order == sorted(order)


async def test_who_waits_for_a_turn_gets_the_place_of_a_connection_that_ended():
    async with ScriptedServer([Then.CLOSE], [OK]) as server, pool_for(server.url, most=1) as pool:
        first, second = await asyncio.gather(ask(pool), ask(pool), return_exceptions=True)
        assert isinstance(first, Unanswered)
        assert second.status == 200


async def test_a_turn_that_nobody_takes_goes_to_the_next():
    async with ScriptedServer([OK]) as server, pool_for(server.url, most=1) as pool:

        async def leave() -> None:
            await ask(pool)
            gone.cancel()  # its turn has come in this very moment

        leaving, gone, waiting = (asyncio.create_task(each) for each in (leave(), ask(pool), ask(pool)))
        found = await asyncio.gather(leaving, gone, waiting, return_exceptions=True)
        assert isinstance(found[1], asyncio.CancelledError)
        assert found[2].status == 200
        assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_place_that_cannot_be_opened_goes_to_the_next(unused_url):
    async with pool_for(unused_url, most=1) as pool:
        found = await asyncio.gather(*(ask(pool) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in found] == [NoConnection] * 3


async def test_an_idle_connection_is_closed_after_its_time():
    async with ScriptedServer([OK]) as server, pool_for(server.url, idle_seconds=0.02) as pool:
        await ask(pool)
        await until(lambda: server.open == 0)
        await ask(pool)
        assert server.connections == 2


async def test_a_connection_that_the_server_closed_while_idle_is_not_used():
    async with ScriptedServer([OK, Then.CLOSE], [OK]) as server, pool_for(server.url) as pool:
        await ask(pool)
        await until(lambda: server.open == 0)
        await asyncio.sleep(0.01)  # the end is on its way to us
        assert (await ask(pool)).status == 200
        assert server.connections == 2


async def test_bytes_that_nobody_asked_for_end_an_idle_connection():
    more = asyncio.Event()
    async with ScriptedServer([OK, more, OK, Then.HANG], [OK]) as server, pool_for(server.url) as pool:
        await ask(pool)
        more.set()
        await until(lambda: server.open == 0)
        assert (await ask(pool)).status == 200
        assert server.connections == 2


async def test_bytes_behind_an_answer_end_the_connection_too():
    async with ScriptedServer([OK + OK, Then.HANG], [OK]) as server, pool_for(server.url) as pool:
        assert (await ask(pool)).body == b"{}"
        await until(lambda: server.open == 0)
        assert (await ask(pool)).body == b"{}"
        assert server.connections == 2


@pytest.mark.parametrize("end", [Then.CLOSE, Then.RESET])
async def test_a_repeatable_call_that_an_old_connection_did_not_answer_goes_out_again(end):
    async with ScriptedServer([OK], [end], [OK]) as server, pool_for(server.url) as pool:
        await ask(pool)
        assert (await ask(pool, repeatable=True)).status == 200
        assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("end", [Then.CLOSE, Then.RESET])
async def test_another_call_does_not(end):
    async with ScriptedServer([OK], [end], [OK]) as server, pool_for(server.url) as pool:
        await ask(pool)
        with pytest.raises(Unanswered):
            await ask(pool)
        assert len(server.requests) == 2


async def test_a_repeatable_call_goes_out_twice_at_most():
    async with ScriptedServer([OK], [Then.CLOSE]) as server, pool_for(server.url) as pool:
        await ask(pool)
        with pytest.raises(Unanswered):
            await ask(pool, repeatable=True)
        assert len(server.requests) == 3


async def test_nor_does_it_where_the_connection_was_new():
    async with ScriptedServer([Then.CLOSE]) as server, pool_for(server.url) as pool:
        with pytest.raises(Unanswered):
            await ask(pool, repeatable=True)
        assert len(server.requests) == 1


@pytest.mark.parametrize("end", [Then.CLOSE, Then.RESET])
@pytest.mark.parametrize("kept", [1, 20, len(OK) - 1])
async def test_an_answer_that_breaks_off_is_an_error_and_is_not_asked_for_again(end, kept):
    async with ScriptedServer([OK], [OK[:kept], end]) as server, pool_for(server.url) as pool:
        await ask(pool)
        with pytest.raises((Broken, Unanswered) if end is Then.RESET else Broken) as caught:
            await ask(pool, repeatable=end is Then.CLOSE)
        assert caught.value.code == "ConnectionClosedError"
        assert len(server.requests) == 2


async def test_a_body_without_a_length_ends_with_the_connection():
    async with (
        ScriptedServer([b"HTTP/1.1 200 OK\r\n\r\n", b"{", b"}", Then.CLOSE]) as server,
        pool_for(server.url) as pool,
    ):
        for _ in range(2):
            assert (await ask(pool)).body == b"{}"
        assert server.connections == 2


async def test_a_body_without_a_length_that_is_reset_is_not_whole():
    async with ScriptedServer([b"HTTP/1.1 200 OK\r\n\r\n{}", Then.RESET]) as server, pool_for(server.url) as pool:
        with pytest.raises(ConnectionTrouble):
            await ask(pool)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 ", OK[:-1]])
async def test_a_silent_server_is_given_up_and_its_connection_closed(begun):
    async with ScriptedServer([begun, Then.HANG]) as server, pool_for(server.url) as pool:
        with pytest.raises(TooLate) as caught:
            await ask(pool, within=0.02)
        assert caught.value.code == "ReadTimeoutError"
        await until(lambda: server.open == 0)


async def test_a_slow_answer_may_take_long_as_long_as_it_goes_on(monkeypatch):
    steps = [asyncio.Event() for _ in range(4)]
    body = b"x" * 30
    whole = answer(body)
    script = [piece for n, step in enumerate(steps) for piece in (step, whole[n * 40 : (n + 1) * 40])]
    loop = asyncio.get_running_loop()
    late = 0.0
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + late)
    assert len(whole) <= 160
    async with ScriptedServer(script) as server, pool_for(server.url) as pool:
        call = asyncio.create_task(ask(pool, within=10))
        for n, step in enumerate(steps):
            await until(lambda: server.requests)
            late += 8.0  # together far more than the call's time, but not in one go
            step.set()
            if n < 3:
                await asyncio.sleep(0.01)
        assert (await call).body == body


async def test_a_caller_that_goes_closes_its_connection():
    async with ScriptedServer([Then.HANG]) as server, pool_for(server.url) as pool:
        call = asyncio.create_task(ask(pool))
        await until(lambda: server.requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: server.open == 0)


async def test_what_is_no_http_ends_the_connection():
    async with ScriptedServer([b"SSH-2.0-x\r\n", Then.HANG]) as server, pool_for(server.url) as pool:
        with pytest.raises(NotHttp):
            await ask(pool)
        await until(lambda: server.open == 0)


async def test_a_large_answer_is_put_together():
    body = bytes(range(256)) * 4096
    async with ScriptedServer([answer(body)]) as server, pool_for(server.url) as pool:
        for _ in range(2):
            assert (await ask(pool)).body == body
        assert server.connections == 1
        assert len(pool.buffers) == 1


@pytest.fixture
async def unused_url() -> str:
    server = ScriptedServer([OK])
    async with server:
        return server.url


async def test_nobody_listens(unused_url):
    async with pool_for(unused_url) as pool:
        with pytest.raises(NoConnection, match="no connection to http://127"):
            await ask(pool)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"])
async def test_a_name_that_is_not_known(host, monkeypatch):
    async def unknown(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    if host == "nowhere.invalid":  # no name server is asked
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with pool_for(f"http://{host}:1") as pool:
        with pytest.raises(NoConnection):
            await ask(pool)


async def test_connecting_takes_too_long():
    # A server that speaks no TLS waits for the client to say something it understands.
    async with (
        ScriptedServer([OK]) as server,
        pool_for(server.url.replace("http", "https"), tls=trusting(), connect_seconds=0.02) as pool,
    ):
        with pytest.raises(NoConnectionInTime):
            await ask(pool)


async def test_names_and_both_kinds_of_addresses():
    async with ScriptedServer([OK]) as server, pool_for(server.url.replace("127.0.0.1", "localhost")) as pool:
        assert (await ask(pool)).status == 200
    try:
        six = await ScriptedServer([OK], host="::1").__aenter__()
    except OSError:
        pytest.skip("no IPv6 here")
    try:
        async with pool_for(six.url) as pool:
            assert (await ask(pool)).status == 200
    finally:
        await six.__aexit__()


async def test_a_closed_pool_ends_calls_and_takes_no_others():
    async with ScriptedServer([Then.HANG]) as server, pool_for(server.url, most=1) as pool:
        calls = [asyncio.create_task(ask(pool)) for _ in range(2)]
        await until(lambda: server.requests)
        await pool.close()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in found] == [Unanswered, NoConnection]
        with pytest.raises(NoConnection, match="closed"):
            await ask(pool)
        await until(lambda: server.open == 0)


# --- TLS


def serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    return context


def trusting() -> ssl.SSLContext:
    return tls_context(str(TLS / "certificate.pem"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tls_with_an_authority_of_ones_own(host):
    async with ScriptedServer([OK], tls=serving()) as server:
        async with pool_for(server.url.replace("127.0.0.1", host), tls=trusting()) as pool:
            for _ in range(3):
                assert (await ask(pool)).body == b"{}"
        assert server.connections == 1


async def test_large_answers_and_ends_over_tls():
    body = bytes(range(256)) * 2000
    ends = b"HTTP/1.1 200 OK\r\n\r\n{}"
    async with (
        ScriptedServer([answer(body)], [ends, Then.CLOSE], tls=serving()) as server,
        pool_for(server.url, tls=trusting()) as pool,
    ):
        assert (await ask(pool)).body == body
        assert (await ask(pool)).body == b"{}"


async def test_a_certificate_of_nobody_is_not_trusted():
    async with ScriptedServer([OK], tls=serving()) as server, pool_for(server.url, tls=tls_context()) as pool:
        with pytest.raises(NoTrust, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await ask(pool)
        assert caught.value.code == "SSLError"
        assert server.requests == []


async def test_a_certificate_for_another_name_is_not_trusted(monkeypatch):
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def here(host: str, *rest: object, **more: object):
        return await real("127.0.0.1" if host == "other.test" else host, *rest, **more)

    monkeypatch.setattr(loop, "getaddrinfo", here)
    async with (
        ScriptedServer([OK], tls=serving()) as server,
        pool_for(server.url.replace("127.0.0.1", "other.test"), tls=trusting()) as pool,
    ):
        with pytest.raises(NoTrust):
            await ask(pool)


def test_verification_cannot_be_left_out():
    for context in (tls_context(), trusting(), tls_context(str(TLS))):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(OSError, match="No such file"):
        tls_context(str(TLS / "not-there.pem"))
    with pytest.raises(ValueError, match="TLS is for https"):
        Pool(Origin.of("https://h"), tls=None, most=1)
    with pytest.raises(ValueError, match="TLS is for https"):
        Pool(Origin.of("http://h"), tls=trusting(), most=1)


@pytest.mark.parametrize("url", ["ftp://h", "http://", "h:80", ""])
def test_an_origin_is_http_with_a_host(url):
    with pytest.raises(ValueError, match="not the URL"):
        Origin.of(url)


@pytest.mark.parametrize(
    ("url", "text"),
    [("http://H/a?b", "http://h:80"), ("https://h", "https://h:443"), ("http://[::1]:4566/", "http://[::1]:4566")],
)
def test_an_origin_as_text(url, text):
    assert str(Origin.of(url)) == text
