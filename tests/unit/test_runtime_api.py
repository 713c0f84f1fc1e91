"""The Runtime API's server, byte by byte: what a client sends, what it gets, and what the session makes of it."""

from __future__ import annotations

import asyncio
import base64
import http.client

import pytest

from esmd.invoke.protocol import MAX_RESPONSE_BYTES
from esmd.invoke.runtime_connection import MAX_HEAD_BYTES
from esmd.invoke.runtime_session import RESPONSE_TOO_LARGE
from esmd.mappings.outcomes import FunctionError, Success

from support.invocations import until
from support.runtime_clients import ERROR, INIT_ERROR, NEXT, RESPONSE, ApiStage, api_stages, invocation


@pytest.fixture
async def make():
    async with api_stages() as build:
        yield build


@pytest.fixture
async def stage(make):
    return await make()


# --- the conversation


async def test_an_event_comes_with_lambdas_headers_and_its_answer_is_the_outcome(stage):
    client = await stage.waiting()
    stage.api.offer(invocation())
    status, headers = await client.head()
    assert status == 200
    assert headers == {
        "content-type": "application/json",
        "content-length": "15",
        "lambda-runtime-aws-request-id": "one",
        "lambda-runtime-deadline-ms": "5",
        "lambda-runtime-invoked-function-arn": "arn:x",
        "lambda-runtime-trace-id": "root=1",
    }
    assert await client.reader.readexactly(15) == b'{"Records": []}'
    client.ask(b"POST", RESPONSE, b'{"a": 1}')
    assert await client.answer() == (202, b'{"status":"OK"}\n')
    assert stage.session.outcome == Success(b'{"a": 1}')
    client.ask(b"GET", NEXT)  # on the same connection
    await until(lambda: stage.session.resting)
    assert stage.changes == 3


async def test_a_runtime_may_ask_before_it_is_served():
    stage = ApiStage()
    client = await stage.client()
    client.ask(b"GET", NEXT)
    await stage.api.serve(None)
    await until(lambda: stage.session.state == "idle")
    stage.api.close()
    client.close()
    await asyncio.sleep(0.01)


async def test_it_may_be_closed_before_it_serves_or_in_the_middle(make):
    stage = ApiStage()
    stage.api.close()
    await stage.api.serve(None)
    middle = ApiStage()
    serving = asyncio.create_task(middle.api.serve(None))
    await asyncio.sleep(0)
    middle.api.close()
    await serving
    another = await make()  # nothing stayed behind on the descriptors that are used again
    await another.waiting()


async def test_every_request_may_come_on_a_connection_of_its_own(stage):
    await stage.invoking()
    client = await stage.client()
    client.ask(b"POST", RESPONSE, b"null", b"Connection: close")
    assert (await client.answer())[0] == 202
    assert await client.is_closed()
    assert stage.session.outcome == Success(b"null")


async def test_a_client_of_http_1_0_is_served_once(stage):
    await stage.invoking()
    client = await stage.client()
    client.send(b"POST " + RESPONSE + b" HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    assert (await client.answer())[0] == 202
    assert await client.is_closed()


async def test_an_ordinary_http_client_is_served(stage):
    def talk():
        connection = http.client.HTTPConnection(stage.api.address, timeout=10)
        try:
            connection.request("GET", NEXT.decode())
            event = connection.getresponse().read()
            connection.request("POST", ERROR.decode(), b'{"errorMessage": "no", "errorType": "E"}')
            return event, connection.getresponse().status
        finally:
            connection.close()

    talking = asyncio.create_task(asyncio.to_thread(talk))
    await until(lambda: stage.session.state == "idle")
    stage.api.offer(invocation(b"[1]"))
    assert await talking == (b"[1]", 202)
    assert stage.session.outcome == FunctionError("exception", "E", "no")


async def test_an_init_error_is_heard(stage):
    client = await stage.client()
    client.ask(b"POST", INIT_ERROR, b"no module", b"Lambda-Runtime-Function-Error-Type: Runtime.NoModule")
    assert (await client.answer())[0] == 202
    assert stage.session.failure == FunctionError("init", "Runtime.NoModule", "no module")


async def test_what_may_not_be_said_now_is_refused_and_the_connection_goes_on(stage):
    client = await stage.client()
    client.ask(b"POST", RESPONSE, b"{}")
    assert await client.refusal() == (403, "InvalidStateTransition")
    client.ask(b"GET", NEXT)
    await until(lambda: stage.session.state == "idle")
    stage.api.offer(invocation())
    await client.answer()
    client.ask(b"POST", b"/2018-06-01/runtime/invocation/two/response", b"{}")
    assert await client.refusal() == (400, "InvalidRequestID")
    client.ask(b"GET", b"/2018-06-01/runtime/restore/next")
    assert await client.refusal() == (404, "NotFound")
    client.ask(b"PUT", NEXT, b"")
    assert await client.refusal() == (405, "MethodNotAllowed")
    assert stage.session.outcome is None
    client.ask(b"POST", RESPONSE, b"{}")
    assert (await client.answer())[0] == 202


async def test_an_unknown_response_mode_is_refused_and_a_failure(stage):
    client = await stage.invoking()
    client.ask(b"POST", RESPONSE, b"{}", b"Lambda-Runtime-Function-Response-Mode: telepathic")
    assert await client.refusal() == (400, "InvalidFunctionResponseMode")
    assert stage.session.outcome.error_type == "Runtime.InvalidResponseModeHeader"


# --- bodies


@pytest.mark.parametrize("body", [b"", b"null", "naïve \U0001f600".encode(), b"\xff not json"])
async def test_a_body_is_taken_as_it_is(stage, body):
    client = await stage.invoking()
    client.ask(b"POST", RESPONSE, body)
    assert (await client.answer())[0] == 202
    assert stage.session.outcome == Success(body)


STREAMED = (
    b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: localhost\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Transfer-Encoding: chunked\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n"
)


async def test_a_stream_is_an_answer_when_it_has_ended(stage):
    client = await stage.invoking()
    client.send(STREAMED)
    for piece in (b"4\r\n[1, \r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"):
        assert stage.session.outcome is None
        client.send(piece)
        await asyncio.sleep(0.005)
    assert (await client.answer())[0] == 202
    assert stage.session.outcome == Success(b"[1, 2]")


async def test_a_stream_that_says_in_its_trailers_that_it_failed_is_a_function_error(stage):
    client = await stage.invoking()
    body = base64.b64encode(b'{"errorMessage": "the disk is full", "errorType": "OSError", "stackTrace": ["f"]}')
    client.send(
        STREAMED + b"2\r\n[1\r\n0\r\nLambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n"
        b"Lambda-Runtime-Function-Error-Body: " + body + b"\r\n\r\n"
    )
    assert (await client.answer())[0] == 202
    assert stage.session.outcome == FunctionError("exception", "OSError", "the disk is full", ("f",))


@pytest.mark.parametrize(
    "cut_off",
    [
        STREAMED,
        STREAMED + b"4\r\n[1, \r\n",
        STREAMED + b"6\r\n[1, 2]\r\n",
        STREAMED + b"6\r\n[1, 2]\r\n0\r\n",
        b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n{}",
        b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n",
    ],
)
async def test_a_body_that_is_cut_off_is_no_answer_at_all(stage, cut_off):
    await stage.invoking()
    client = await stage.client()
    client.send(cut_off)
    await client.writer.drain()
    client.writer.write_eof()
    assert await client.is_closed()
    assert stage.session.outcome is None
    another = await stage.client()
    another.ask(b"POST", RESPONSE, b"{}")  # the runtime may try once more
    assert (await another.answer())[0] == 202


async def test_a_client_that_expects_it_is_told_to_continue(stage):
    client = await stage.invoking()
    head = b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    client.send(head)
    assert (await client.head())[0] == 100
    client.send(b"{}")
    assert (await client.answer())[0] == 202


async def test_a_client_that_expects_to_be_told_hears_a_refusal_instead(stage):
    client = await stage.client()
    head = b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    client.send(head)
    assert await client.refusal() == (403, "InvalidStateTransition")
    assert await client.is_closed()


async def test_the_longest_answer_is_taken(stage):
    client = await stage.invoking()
    body = b"x" * MAX_RESPONSE_BYTES
    client.ask(b"POST", RESPONSE, body)
    assert (await client.answer())[0] == 202
    assert stage.session.outcome == Success(body)


async def test_a_longer_one_is_refused_without_being_read(stage):
    client = await stage.invoking()
    client.send(
        b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (MAX_RESPONSE_BYTES + 1)
    )
    assert await client.refusal() == (413, "RequestEntityTooLarge")
    assert await client.is_closed()
    assert stage.session.outcome == RESPONSE_TOO_LARGE


async def test_a_stream_is_refused_as_soon_as_it_is_longer(stage):
    client = await stage.invoking()
    client.send(STREAMED + b"%x\r\n" % (MAX_RESPONSE_BYTES * 2))
    client.send(b"x" * (MAX_RESPONSE_BYTES + 1))
    assert await client.refusal() == (413, "RequestEntityTooLarge")
    assert stage.session.outcome == RESPONSE_TOO_LARGE


async def test_an_error_that_is_too_long_stays_an_error(stage):
    client = await stage.invoking()
    client.send(
        b"POST " + ERROR + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (MAX_RESPONSE_BYTES + 1)
    )
    assert (await client.refusal())[0] == 413
    assert stage.session.outcome == RESPONSE_TOO_LARGE


async def test_a_long_body_for_the_wrong_invocation_changes_nothing(stage):
    client = await stage.invoking()
    client.send(
        b"POST /2018-06-01/runtime/invocation/two/response HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: %d\r\n\r\n" % (MAX_RESPONSE_BYTES + 1)
    )
    assert await client.refusal() == (400, "InvalidRequestID")
    assert stage.session.outcome is None


async def test_a_long_init_error_or_question_is_refused(stage):
    for method, path in ((b"POST", INIT_ERROR), (b"GET", NEXT)):
        client = await stage.client()
        head = b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (MAX_RESPONSE_BYTES + 1)
        client.send(method + b" " + path + head)
        assert (await client.refusal())[0] == 413


async def test_a_6_mb_event_reaches_a_client_that_reads_slowly(stage):
    client = await stage.waiting()
    event = b'"' + bytes(range(97, 123)) * 240_000 + b'"'
    stage.api.offer(invocation(event))
    await asyncio.sleep(0.01)  # the socket is full, and the rest waits
    status, headers = await client.head()
    assert status == 200
    assert await client.reader.readexactly(int(headers["content-length"])) == event
    client.ask(b"POST", RESPONSE, b"{}")
    assert (await client.answer())[0] == 202


async def test_a_6_mb_event_reaches_a_client_whose_connection_ends_with_it(stage):
    client = await stage.client()
    client.ask(b"GET", NEXT, None, b"Connection: close")
    await until(lambda: stage.session.state == "idle")
    event = b"x" * 6_000_000
    stage.api.offer(invocation(event))
    assert await client.answer() == (200, event)
    assert await client.is_closed()


async def test_a_head_as_long_as_official_clients_send_is_read(stage):
    client = await stage.invoking()
    cause = b"Lambda-Runtime-Function-XRay-Error-Cause: " + b"x" * 1024 * 1024
    client.ask(b"POST", ERROR, b'{"errorType": "E", "errorMessage": ""}', cause)
    assert (await client.answer())[0] == 202
    assert stage.session.outcome == FunctionError("exception", "E", "")


async def test_a_longer_head_is_refused(stage):
    client = await stage.client()
    client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1))
    assert await client.refusal() == (431, "InvalidRequest")


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n", b"HELO\r\n\r\n"])
async def test_what_is_not_http_is_refused(stage, rubbish):
    client = await stage.client()
    client.send(rubbish)
    assert (await client.refusal())[0] == 400
    assert await client.is_closed()
