"""Functions of Lambda: what is asked, what an answer means, and what becomes of the log."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web

from esmd.assembly import connect
from esmd.config.schema import AwsSettings
from esmd.invoke.lambda_api import LambdaInvoker
from esmd.invoke.protocol import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, LambdaSpec, StartFailed
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.observe.events import HandlerOutput, HandlerTimeout
from esmd.pollers.localstack import Connection, LocalStackClients

from support.invocations import Recorder

ID = "8f3c5d0e-0000-4000-8000-000000000001"
ERROR = b'{"errorMessage": "no stock", "errorType": "ValueError", "stackTrace": ["line 1"]}'
VERSION = {"X-Amz-Executed-Version": "$LATEST"}
FAILED = {**VERSION, "X-Amz-Function-Error": "Unhandled"}
HINT = "; create it there, or look at the function's `lambda`, `endpoint_url` and region"


class FakeLambda:
    """Says to every request what `answer` says; keeps the requests."""

    def __init__(self):
        self.requests: list[web.Request] = []
        self.events: list[bytes] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"null", headers=VERSION)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.events.append(await request.read())
        return await self.answer(request)

    def always(self, status: int = 200, body: bytes = b"null", **headers: str) -> None:
        async def answer(request):
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, body=body, headers=given)

        self.answer = answer


@pytest.fixture
async def server():
    fake = FakeLambda()
    application = web.Application(client_max_size=2 * MAX_REQUEST_BYTES)
    application.router.add_route("*", "/{any:.*}", fake.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    yield fake
    await runner.cleanup()


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture
async def make(server, telemetry):
    made = []

    def lead(service, region, endpoint_url=None):
        return Connection(endpoint_url=endpoint_url or server.url, region=region, dummy_credentials=True)

    async with LocalStackClients(lead, profile=None, pool=1) as clients:

        def build(**changes: Any) -> LambdaInvoker:
            values: dict[str, Any] = {
                "name": "orders",
                "target": "orders-function",
                "timeout": 20.0,
                "concurrency": 10,
                "region": "eu-west-1",
                "account_id": "000000000000",
            }
            invoker = LambdaInvoker(LambdaSpec(**{**values, **changes}), clients=clients, telemetry=telemetry)
            made.append(invoker)
            return invoker

        yield build
        for invoker in made:
            await invoker.close()
            assert invoker.running == 0


def call(invoker, event=b'{"a": 1}'):
    return invoker.invoke(event, request_id=ID)


# --- what is asked


async def test_the_event_is_sent_as_it_is_and_answered_while_we_wait(make, server):
    assert await call(make(), '{"name": "Zoë"}'.encode()) == Success(b"null")
    [request] = server.requests
    assert (request.method, request.path_qs) == ("POST", "/2015-03-31/functions/orders-function/invocations")
    assert request.headers["X-Amz-Invocation-Type"] == "RequestResponse"
    assert request.headers["X-Amz-Log-Type"] == "Tail"
    assert "/eu-west-1/lambda/" in request.headers["Authorization"]
    assert server.events == ['{"name": "Zoë"}'.encode()]


async def test_a_version_or_alias_is_asked_for(make, server):
    server.always(X_Amz_Executed_Version="7")
    assert await call(make(qualifier="live")) == Success(b"null", "7")
    assert server.requests[0].path_qs == "/2015-03-31/functions/orders-function/invocations?Qualifier=live"


async def test_a_function_may_be_named_by_its_arn(make, server):
    arn = "arn:aws:lambda:eu-west-1:000000000000:function:orders-function"
    assert await call(make(target=arn)) == Success(b"null")
    assert server.requests[0].path == f"/2015-03-31/functions/{arn}/invocations"


async def test_a_function_may_be_at_an_endpoint_of_its_own(make, server):
    assert await call(make(endpoint_url="http://127.0.0.1:1")) == Unreachable(
        'http://127.0.0.1:1 (eu-west-1): EndpointConnectionError: Could not connect to the endpoint URL: "http://127.0.0.1:1'
        '/2015-03-31/functions/orders-function/invocations"'
    )
    assert server.requests == []


@pytest.mark.parametrize(
    ("elsewhere", "endpoint_url", "dummy"),
    [
        (None, "http://127.0.0.1:4566", True),
        ("http://127.0.0.1:4566", "https://lambda.eu-west-1.amazonaws.com", False),
        ("https://aws.example.com", "http://127.0.0.1:3001", True),
    ],
)
def test_an_endpoint_of_its_own_decides_on_the_credentials_too(elsewhere, endpoint_url, dummy):
    settings = AwsSettings(endpoint_url=elsewhere)
    assert connect("lambda", "eu-west-1", endpoint_url, settings=settings, environ={}) == Connection(
        endpoint_url=endpoint_url, region="eu-west-1", dummy_credentials=dummy
    )
    assert connect("lambda", "eu-west-1", settings=settings, environ={}).endpoint_url == elsewhere


# --- what an answer means

MEANINGS = {
    "answer": [
        (200, b'{"a": 1}', VERSION, Success(b'{"a": 1}')),
        (200, b"", VERSION, Success(b"")),
        (200, ERROR, {"X-Amz-Executed-Version": "3"}, Success(ERROR, "3")),
        (200, b"not json", VERSION, Success(b"not json")),
    ],
    "function error": [
        (200, ERROR, FAILED, FunctionError("exception", "ValueError", "no stock", ("line 1",))),
        (200, b"no json", FAILED, FunctionError("exception", "Unhandled", "no json")),
        (200, b"", FAILED, FunctionError("exception", "Unhandled", "The function failed and did not say why.")),
        (
            200,
            b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 1 Error: Task timed out after 1.00 seconds"}',
            {**FAILED, "X-Amz-Executed-Version": "3"},
            FunctionError(
                "timeout", "Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 1.00 seconds", (), "3"
            ),
        ),
    ],
    "an emulator without marks": [
        (200, b'{"a": 1}', {}, Success(b'{"a": 1}')),
        (200, ERROR, {}, FunctionError("exception", "ValueError", "no stock", ("line 1",))),
        (
            200,
            b"",
            {},
            FunctionError(
                "exit", "Runtime.ExitError", "The function answered nothing, not even null: it ended or timed out."
            ),
        ),
    ],
    "throttled": [
        (429, b'{"Reason": "CallerRateLimitExceeded", "message": "Rate Exceeded."}', {}, "CallerRateLimitExceeded"),
        (429, b'{"message": "slow down"}', {"x-amzn-errortype": "ThrottlingException"}, "ThrottlingException"),
        (429, b"", {}, "429"),
    ],
    "too large": [
        (
            413,
            b'{"message": "Request must be smaller"}',
            {"x-amzn-errortype": "RequestTooLargeException"},
            Rejected("RequestTooLargeException", "Request must be smaller"),
        ),
    ],
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("status", "body", "headers", "outcome"), [case for cases in MEANINGS.values() for case in cases]
)
async def test_an_answer_means_what_the_table_says(make, server, status, body, headers, outcome):
    if status == 429 and headers == {} and body:
        headers = {"x-amzn-errortype": "TooManyRequestsException"}
    server.always(status, body, **headers)
    expected = Throttled(outcome) if isinstance(outcome, str) else outcome
    assert await call(make()) == expected
    assert len(server.requests) == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidParameterValueException"),
        (400, "InvalidRequestContentException"),
        (400, "ExpiredTokenException"),
        (403, "AccessDeniedException"),
        (403, "InvalidSignatureException"),
        (404, "ResourceNotFoundException"),
        (409, "ResourceConflictException"),
        (415, "UnsupportedMediaTypeException"),
        (500, "ServiceException"),
        (501, "NotImplemented"),
        (502, "EC2ThrottledException"),
        (502, "KMSDisabledException"),
        (503, "ServiceUnavailable"),
        (504, "GatewayTimeout"),
    ],
)
async def test_every_other_refusal_is_put_right_by_somebody_and_gives_up_no_record(make, server, status, code):
    server.always(status, b'{"message": "no"}', x_amzn_errortype=code)
    hint = HINT if status == 404 else ""
    assert await call(make()) == Unreachable(f"{server.url} (eu-west-1): {code}: no{hint}")


async def test_an_answer_that_breaks_off_is_no_success(make, server):
    async def answer(request):
        response = web.StreamResponse(headers={**VERSION, "Content-Length": "50"})
        await response.prepare(request)
        await response.write(b"{}")
        request.transport.close()
        return response

    server.answer = answer
    outcome = await call(make())
    assert isinstance(outcome, Unreachable)


async def test_nothing_is_sent_twice(make, server):
    server.always(500, b"{}")
    await call(make())
    assert len(server.requests) == 1


async def test_a_service_that_refuses_to_send_the_log_is_asked_without_from_then_on(make, server):
    async def answer(request):
        if request.headers["X-Amz-Log-Type"] != "None":
            return web.json_response({"Message": "log-type: Tail is not supported."}, status=501)
        return web.Response(body=b"null")

    server.answer = answer
    invoker = make()
    assert await call(invoker) == Success(b"null")
    assert await call(invoker) == Success(b"null")
    assert [request.headers["X-Amz-Log-Type"] for request in server.requests] == ["Tail", "None", "None"]


# --- limits


async def test_a_6_mb_event_is_sent_and_a_larger_one_is_not(make, server):
    invoker = make()
    event = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
    assert await call(invoker, event) == Success(b"null")
    assert isinstance(await call(invoker, event + b" "), Rejected)
    assert server.events == [event]


async def test_an_answer_may_be_as_long_as_lambda_allows_and_no_longer(make, server):
    server.always(200, b" " * MAX_RESPONSE_BYTES, X_Amz_Executed_Version="7")
    longest = await call(make())
    assert isinstance(longest, Success)
    assert len(longest.payload) == MAX_RESPONSE_BYTES
    server.always(200, b" " * (MAX_RESPONSE_BYTES + 1), X_Amz_Executed_Version="7")
    assert await call(make()) == FunctionError(
        "exception",
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        (),
        "7",
    )


async def test_many_invocations_run_at_once_and_a_burst_beyond_is_throttled(make, server):
    gate = asyncio.Event()

    async def answer(request):
        await gate.wait()
        return web.Response(body=await request.read(), headers=VERSION)

    server.answer = answer
    invoker = make(concurrency=100)
    events = [str(number).encode() for number in range(100)]
    running = [asyncio.create_task(call(invoker, event)) for event in events]
    async with asyncio.timeout(20):
        while len(server.requests) < 100:
            await asyncio.sleep(0.01)
    assert (invoker.limit, invoker.running) == (100, 100)
    assert await call(invoker) == Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    gate.set()
    assert await asyncio.gather(*running) == [Success(event) for event in events]
    assert len(server.requests) == 100


# --- time, and the end


async def test_our_own_timeout_drops_the_connection(make, server, telemetry):
    given_up = asyncio.Event()

    async def answer(request):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.set()
            raise

    assert await call(make()) == Success(b"null")  # making the first client takes longer than the timeout
    server.answer = answer
    assert await call(make(timeout=0.05)) == FunctionError(
        "timeout", "Sandbox.Timedout", f"RequestId: {ID} Error: Task timed out after 0.05 seconds"
    )
    await asyncio.wait_for(given_up.wait(), 10)
    assert telemetry.events == [HandlerTimeout(function="orders", request_id=ID, timeout_s=0.05, pid=None)]


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_what_runs_is_cut_off(make, server, end):
    begun, given_up = asyncio.Event(), asyncio.Event()

    async def answer(request):
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.set()
            raise

    server.answer = answer
    invoker = make()
    running = asyncio.create_task(call(invoker))
    await begun.wait()
    if end == "close":
        await invoker.close()
        assert await running == Unreachable("Function orders is shutting down.")
    else:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert invoker.running == 0
    await asyncio.wait_for(given_up.wait(), 10)


# --- the start


async def test_the_start_asks_for_the_function_once_and_runs_nothing(make, server):
    server.always(200, b"{}")
    await make(qualifier="live").start()
    [request] = server.requests
    assert (request.method, request.path_qs) == (
        "GET",
        "/2015-03-31/functions/orders-function/configuration?Qualifier=live",
    )


async def test_an_alias_counts_also_where_it_has_no_configuration(make, server):
    async def answer(request):
        if request.path.endswith("/aliases/live"):
            return web.json_response({"Name": "live"})
        return web.json_response({}, status=404, headers={"x-amzn-errortype": "ResourceNotFoundException"})

    server.answer = answer
    await make(qualifier="live").start()
    with pytest.raises(StartFailed):
        await make(qualifier="dead").start()
    with pytest.raises(StartFailed):
        await make().start()


async def test_a_function_that_is_not_there_cannot_start(make, server):
    server.always(404, b'{"Message": "Function not found: arn"}', x_amzn_errortype="ResourceNotFoundException")
    with pytest.raises(StartFailed) as caught:
        await make().start()
    assert caught.value.error_type == "ResourceNotFoundException"
    assert str(caught.value) == (f"{server.url} (eu-west-1): ResourceNotFoundException: Function not found: arn{HINT}")


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "PathNotFoundLocally"), (403, "AccessDeniedException"), (500, "ServiceException"), (501, "NotImplemented")],
)
async def test_a_service_that_cannot_tell_does_not_stop_the_start(make, server, status, code):
    server.always(status, b"{}", x_amzn_errortype=code)
    await make().start()
    assert len(server.requests) == 1


async def test_a_service_that_is_not_there_does_not_stop_the_start(make):
    await make(endpoint_url="http://127.0.0.1:1").start()


# --- the log


async def test_the_functions_output_comes_with_the_answer_and_lambdas_own_lines_do_not(make, server, telemetry):
    log = (
        "INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn\n"
        f"START RequestId: {ID} Version: $LATEST\n"
        "received 7 orders\r\n"
        "\n"
        "START of the work\n"
        "[ERROR] ValueError: naïve\nTraceback (most recent call last):\n"
        '{"time":"2026-01-01T00:00:00Z","type":"platform.report","record":{}}\n'
        '{"time":"2026-01-01T00:00:00Z","level":"INFO"}\n'
        f"END RequestId: {ID}\n"
        f"REPORT RequestId: {ID}\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\t\n"
        "XRAY TraceId: 1-2-3\tSegmentId: 4\tSampled: true\n"
        "no end"
    )
    server.always(200, ERROR, **FAILED, X_Amz_Log_Result=base64.b64encode(log.encode()).decode())
    assert isinstance(await call(make()), FunctionError)
    assert telemetry.events == [
        HandlerOutput(function="orders", request_id=ID, stream="stdout", message=message)
        for message in (
            "received 7 orders",
            "START of the work",
            "[ERROR] ValueError: naïve",
            "Traceback (most recent call last):",
            '{"time":"2026-01-01T00:00:00Z","level":"INFO"}',
            "no end",
        )
    ]


@pytest.mark.parametrize(
    ("sent", "shown"), [("%%% as it is", "%%% as it is"), (base64.b64encode(b"\xaf!").decode(), "�!")]
)
async def test_a_log_that_is_cut_or_not_packed_harms_no_answer(make, server, telemetry, sent, shown):
    server.always(200, b"7", X_Amz_Executed_Version="1", X_Amz_Log_Result=sent)
    assert await call(make()) == Success(b"7", "1")
    assert [event.message for event in telemetry.of(HandlerOutput)] == [shown]


def test_the_arn_names_the_function_itself():
    values: dict[str, Any] = {"name": "o", "timeout": 1, "concurrency": 1, "region": "r-1", "account_id": "0" * 12}
    arn = "arn:aws:lambda:r-1:000000000000:function:f"
    assert LambdaSpec(target="f", **values).arn == arn
    assert LambdaSpec(target="f", qualifier="live", **values).arn == f"{arn}:live"
    assert LambdaSpec(target=arn, **values).arn == arn
