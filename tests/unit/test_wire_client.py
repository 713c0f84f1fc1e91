"""The lean client: what an answer means, whose time counts, when credentials are fetched anew."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError, CredentialRetrievalError

from esmd.pollers.errors import Failure, Kind, SourceError, classify
from esmd.pollers.wire import Route, Target, WireClient
from esmd.pollers.wire_credentials import FORCE_SECONDS, Credentials
from esmd.pollers.wire_json import ProtocolError

from support.scripted_server import ScriptedServer, Then, answer
from support.stream_servers import SESSION

ONCE = Target("AmazonSQS.ReceiveMessage", "1.0", repeatable=False, polls=True, query_mode=True)
AGAIN = Target("AmazonSQS.DeleteMessageBatch", "1.0", query_mode=True)
NOW = 1_700_000_000.0


class Source:
    """Credentials that an aiobotocore client could have; `renewals` are what a renewal by force brings."""

    def __init__(self, *renewals: Any) -> None:
        self.renewals = list(renewals)
        self.now = SimpleNamespace(access_key="first", secret_key="secret", token=None)
        self.asked = 0

    async def get_frozen_credentials(self) -> Any:
        self.asked += 1
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    async def _protected_refresh(self, *, is_mandatory: bool) -> None:
        assert is_mandatory
        await asyncio.sleep(0)
        brought = self.renewals.pop(0)
        if isinstance(brought, Exception):
            raise brought
        self.now = brought


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def connect(clock, source):
    """Makes clients of a server; they are closed at the end."""
    made: list[WireClient] = []

    def make(server: ScriptedServer, *, signed: bool = True) -> WireClient:
        route = Route(url=f"{server.url}/", region="us-east-1", service="sqs", signed=signed)
        made.append(
            WireClient(route, credentials=Credentials(source, clock=clock), tls=None, most=5, clock=clock),
        )
        return made[-1]

    yield make
    for each in made:
        await each.close()


def said(code: str, message: str = "why", *, status: str = "400 Bad Request", **headers: str) -> bytes:
    return answer(json.dumps({"__type": code, "message": message}).encode(), status=status, headers=headers)


def signed_as(server: ScriptedServer) -> list[tuple[str, str]]:
    """Access key and time of each request."""
    found = []
    for request in server.requests:
        head = request.decode().partition("\r\n\r\n")[0]
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        found.append((lines["Authorization"].partition("Credential=")[2].partition("/")[0], lines["X-Amz-Date"]))
    return found


async def test_the_body_of_an_answer_comes_back(connect):
    async with ScriptedServer([answer(b'{"a":1}')]) as server:
        client = connect(server)
        assert await client.call(AGAIN, b"{}") == b'{"a":1}'
        (request,) = server.requests
        assert b"X-Amz-Target: AmazonSQS.DeleteMessageBatch\r\n" in request
        assert b"Content-Type: application/x-amz-json-1.0\r\n" in request
        assert b"x-amzn-query-mode: true\r\n" in request
        assert b"Accept-Encoding: identity\r\n" in request


async def test_long_polls_do_not_keep_other_calls_waiting(connect):
    go = asyncio.Event()
    async with ScriptedServer(*[[go, answer()] for _ in range(5)], [answer()]) as server:
        client = connect(server)
        polls = [asyncio.create_task(client.call(ONCE, b"{}")) for _ in range(8)]
        async with asyncio.timeout(5):
            while len(server.requests) < 5:
                await asyncio.sleep(0.001)
            assert await client.call(AGAIN, b"{}") == b"{}"
        go.set()
        await asyncio.gather(*polls)


async def test_an_unsigned_client_asks_nobody_for_credentials(connect, source):
    async with ScriptedServer([answer()]) as server:
        await connect(server, signed=False).call(AGAIN, b"{}")
        assert b"Authorization" not in server.requests[0]
        assert source.asked == 0


async def test_credentials_are_asked_for_once_a_second(connect, source, clock):
    async with ScriptedServer([answer()]) as server:
        client = connect(server)
        for later in (0.0, 0.4, 0.4, 0.4):
            clock.now += later
            for _ in range(3):
                await client.call(AGAIN, b"{}")
        assert source.asked == 2
        assert len(set(signed_as(server))) == 2


# --- errors

ERRORS = [
    said("ResourceNotFoundException"),
    said(
        "com.amazonaws.sqs#QueueDoesNotExist",
        **{"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
    ),
    said("com.amazonaws.sqs#OverLimit", **{"x-amzn-query-error": "OverLimit;Sender"}),
    said("com.amazonaws.sqs#Odd", **{"x-amzn-query-error": "Odd"}),
    said("com.amazonaws.sqs#Odd", **{"x-amzn-query-error": ";Sender"}),
    said("ThrottlingException:http://internal.amazon.com/coral/", status="400 Bad Request"),
    said("InternalError", status="500 Internal Server Error"),
    said("Whatever", status="429 Too Many Requests"),
    said("ReceiptHandleIsInvalid", ""),
    answer(b'{"__type":"AccessDeniedException","Message":"no"}', status="403 Forbidden"),
    answer(b"<html><body>down</body></html>", status="503 Service Unavailable"),
    answer(b"<!DOCTYPE html>down", status="502 Bad Gateway"),
    answer(b"", status="504 Gateway Timeout"),
    answer(b"", status="404 Not Found"),
    answer(b"{}", status="400 Bad Request"),
    answer(b"not allowed", status="403 Forbidden"),
    answer(b"moved", status="301 Moved Permanently"),
]


@pytest.mark.thorough
@pytest.mark.parametrize("error", ERRORS, ids=range(len(ERRORS)))
async def test_an_error_is_classified_as_botocores_would_be(connect, error):
    async with ScriptedServer([error]) as server:
        with pytest.raises(SourceError) as caught:
            await connect(server).call(ONCE, b"{}")
        config = AioConfig(retries={"total_max_attempts": 1})
        async with SESSION.create_client(
            "sqs",
            region_name="us-east-1",
            endpoint_url=server.url,
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=config,
        ) as client:
            with pytest.raises(ClientError) as expected:
                await client.receive_message(QueueUrl=server.url)
        failure = classify(expected.value)
        assert caught.value.failure == failure
        assert caught.value.failure.status == failure.status


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b'{"code":"SlowDown","message":"easy"}', Failure(Kind.BACK_OFF, "SlowDown", "easy")),
        (b'["SlowDown"]', Failure(Kind.REFUSED, "400", '["SlowDown"]')),
        (b'{"__type":5,"message":{"a":1}}', Failure(Kind.REFUSED, "5", "{'a': 1}")),
        (b'{"__type":null,"message":null}', Failure(Kind.REFUSED, "400", "400")),
        (b"\xff", Failure(Kind.REFUSED, "400", "\ufffd")),
        (b"[" * 100_000, Failure(Kind.REFUSED, "400", "[" * 2000)),
    ],
)
async def test_an_error_of_any_shape_is_one(connect, body, failure):
    async with ScriptedServer([answer(body, status="400 Bad Request")]) as server:
        with pytest.raises(SourceError) as caught:
            await connect(server).call(ONCE, b"{}")
        assert caught.value.failure == failure


async def test_no_answer_is_named_as_botocore_does(connect):
    async with ScriptedServer([Then.CLOSE]) as server:
        client = connect(server)
        with pytest.raises(SourceError, match="ConnectionClosedError") as caught:
            await client.call(ONCE, b"{}")
        assert caught.value.failure.kind is Kind.BACK_OFF
    with pytest.raises(SourceError, match="EndpointConnectionError"):
        await client.call(ONCE, b"{}")
    async with ScriptedServer([Then.HANG]) as server:
        with pytest.raises(SourceError, match="ReadTimeoutError"):
            await connect(server).call(ONCE, b"{}", within=0.02)


async def test_a_receive_is_not_repeated_and_a_delete_is(connect):
    async with ScriptedServer([answer()], [Then.CLOSE], [answer()]) as server:
        client = connect(server)
        await client.call(AGAIN, b"{}")
        assert await client.call(AGAIN, b"{}") == b"{}"
    async with ScriptedServer([answer()], [Then.CLOSE], [answer()]) as server:
        client = connect(server)
        await client.call(ONCE, b"{}")
        with pytest.raises(SourceError):
            await client.call(ONCE, b"{}")
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "wrong", [b"garbage\r\n\r\n", answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), b"HTTP/1.1 101 X\r\n\r\n"]
)
async def test_what_is_not_understood_is_a_protocol_error(connect, wrong):
    async with ScriptedServer([wrong]) as server:
        with pytest.raises(ProtocolError):
            await connect(server).call(ONCE, b"{}")


# --- time

SKEWED = [
    "RequestTimeTooSkewed",
    "RequestExpired",
    "RequestInTheFuture",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
]


@pytest.mark.parametrize("code", SKEWED)
@pytest.mark.parametrize("off", [-3600, 400, 86_400 * 40])
async def test_a_clock_that_is_wrong_is_corrected_by_the_services(connect, clock, code, off):
    refusal = said(code, status="403 Forbidden", Date=formatdate(NOW + off, usegmt=True))
    async with ScriptedServer([refusal], [answer()]) as server:
        client = connect(server)
        assert await client.call(ONCE, b"{}") == b"{}"
        clock.now += 5
        await client.call(ONCE, b"{}")
        times = [time for _, time in signed_as(server)]
        expected = [formatdate(NOW + after, usegmt=True) for after in (0, off, off + 5)]
        assert [as_date(time) for time in times] == expected


def as_date(time: str) -> str:
    return formatdate(datetime.strptime(f"{time}+0000", "%Y%m%dT%H%M%SZ%z").timestamp(), usegmt=True)


@pytest.mark.parametrize("date", [formatdate(NOW + 30, usegmt=True), "yesterday", "", None])
async def test_a_refusal_that_is_not_about_time_stays_one(connect, date):
    headers = {} if date is None else {"Date": date}
    async with ScriptedServer([said("SignatureDoesNotMatch", status="403 Forbidden", **headers)]) as server:
        with pytest.raises(SourceError) as caught:
            await connect(server).call(ONCE, b"{}")
        assert caught.value.failure.kind is Kind.RECONFIGURE
        assert len(server.requests) == 1


async def test_time_is_corrected_once_per_call(connect):
    date = [formatdate(NOW + off, usegmt=True) for off in (3600, 7200)]
    refusals = [[said("RequestExpired", Date=each)] for each in date]
    async with ScriptedServer(*refusals) as server:
        with pytest.raises(SourceError, match="RequestExpired"):
            await connect(server).call(ONCE, b"{}")
        assert len(server.requests) == 2


async def test_calls_that_were_refused_together_are_all_sent_again(connect):
    go = asyncio.Event()
    refusal = said("RequestExpired", Date=formatdate(NOW + 3600, usegmt=True))
    async with ScriptedServer([go, refusal], [go, refusal], [answer()]) as server:
        client = connect(server)
        calls = [asyncio.create_task(client.call(ONCE, b"{}")) for _ in range(2)]
        async with asyncio.timeout(5):
            while len(server.requests) < 2:
                await asyncio.sleep(0.001)
        go.set()
        assert await asyncio.gather(*calls) == [b"{}", b"{}"]


# --- credentials


def keys(name: str) -> Any:
    return SimpleNamespace(access_key=name, secret_key="secret", token=None)


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException"])
async def test_an_expired_token_is_renewed_by_force(connect, source, code):
    source.renewals = [keys("second")]
    async with ScriptedServer([said(code)], [answer()]) as server:
        assert await connect(server).call(ONCE, b"{}") == b"{}"
        assert [name for name, _ in signed_as(server)] == ["first", "second"]


async def test_all_who_find_it_expired_renew_it_once(connect, source):
    source.renewals = [keys("second")]
    go = asyncio.Event()
    async with ScriptedServer(*[[go, said("ExpiredToken")]] * 4, [answer()]) as server:
        client = connect(server)
        calls = [asyncio.create_task(client.call(ONCE, b"{}")) for _ in range(4)]
        async with asyncio.timeout(5):
            while len(server.requests) < 4:
                await asyncio.sleep(0.001)
        go.set()
        assert await asyncio.gather(*calls) == [b"{}"] * 4
        assert [name for name, _ in signed_as(server)] == ["first"] * 4 + ["second"] * 4


async def test_a_token_that_stays_expired_is_not_renewed_all_the_time(connect, source, clock):
    source.renewals = [keys("second"), keys("third")]
    async with ScriptedServer([said("ExpiredToken")]) as server:
        client = connect(server)
        for later in (0.0, 1.0, FORCE_SECONDS - 1.0):
            clock.now += later
            with pytest.raises(SourceError) as caught:
                await client.call(ONCE, b"{}")
            assert caught.value.failure.kind is Kind.RECONFIGURE
        assert [name for name, _ in signed_as(server)] == ["first", "second", "second", "second", "third"]


async def test_keys_that_cannot_be_renewed_leave_the_refusal(connect, source, monkeypatch):
    monkeypatch.delattr(Source, "_protected_refresh")
    async with ScriptedServer([said("ExpiredToken")]) as server:
        with pytest.raises(SourceError, match="ExpiredToken"):
            await connect(server).call(ONCE, b"{}")
        assert len(server.requests) == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_credentials_that_cannot_be_had_are_an_error_like_botocores(connect, source, at_once):
    broken = CredentialRetrievalError(provider="process", error_msg="exit 1")
    if at_once:
        source.now = broken
    else:
        source.renewals = [broken]
    async with ScriptedServer([said("ExpiredToken")]) as server:
        with pytest.raises(SourceError) as caught:
            await connect(server).call(ONCE, b"{}")
        assert caught.value.failure == classify(broken)


async def test_no_credentials_at_all_are_an_error_like_botocores():
    with pytest.raises(SourceError) as caught:
        await Credentials(None).keys()
    assert caught.value.failure == Failure(Kind.RECONFIGURE, "NoCredentialsError", "Unable to locate credentials")
