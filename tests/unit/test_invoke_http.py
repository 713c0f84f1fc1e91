"""Functions behind a URL: what is sent, what an answer means, and what becomes of connections."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from esmd import __version__
from esmd.invoke import http
from esmd.invoke.http import Answer, HttpInvoker, place_of, proxy_of, read_answer, request_headers
from esmd.invoke.protocol import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, HttpSpec, StartFailed
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.observe.events import HandlerTimeout

from support.invocations import Recorder

ID = "8f3c5d0e-0000-4000-8000-000000000001"
INVOKE_PATH = "/2015-03-31/functions/function/invocations"
PLAIN = "http://127.0.0.1:1/orders"
EMULATOR = f"http://127.0.0.1:1{INVOKE_PATH}"
ERROR = b'{"errorMessage": "no stock", "errorType": "ValueError", "stackTrace": ["line 1", "line 2"]}'
TLS = Path(__file__).parents[1] / "data" / "tls"

TOO_LARGE = FunctionError(
    "exception",
    "Function.ResponseSizeTooLarge",
    "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
)


def spec(url: str = PLAIN, **changes: Any) -> HttpSpec:
    values: dict[str, Any] = {
        "name": "orders",
        "url": url,
        "timeout": 20.0,
        "concurrency": 10,
        "region": "eu-west-1",
        "account_id": "000000000000",
    }
    return HttpSpec(**{**values, **changes})


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture
async def make(telemetry):
    made = []

    def build(url, **changes):
        invoker = HttpInvoker(spec(url, **changes), telemetry=telemetry)
        made.append(invoker)
        return invoker

    yield build
    for invoker in made:
        await invoker.close()
        assert invoker.running == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def serve():
    """Serves handlers of aiohttp.web, each on a port of its own."""
    runners = []

    async def start(handle, *, tls=None, path="/"):
        application = web.Application(client_max_size=2 * MAX_REQUEST_BYTES)
        application.router.add_route("*", "/{any:.*}", handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        return f"{'https' if tls else 'http'}://{host}:{port}{path}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def listen():
    """Serves bytes: `talk(reader, writer)` has each connection."""
    servers = []

    async def start(talk):
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


def call(invoker, event=b'{"a": 1}'):
    return invoker.invoke(event, request_id=ID)


# --- what an answer means


def answer(status, body: bytes | None = b"", **headers) -> Answer:
    return Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


def error(error_type="ValueError", message="no stock", stack=("line 1", "line 2"), **more):
    return FunctionError(more.pop("kind", "exception"), error_type, message, stack, **more)


MEANINGS: dict[str, list[tuple[HttpSpec, Answer, object]]] = {
    "200 to 299 | longer than Lambda allows; the rest is not read": [(spec(), answer(200, None), TOO_LARGE)],
    "200 to 299 | with the header `X-Amz-Function-Error`": [
        (spec(), answer(200, ERROR, X_Amz_Function_Error="Unhandled"), error()),
        (
            spec(),
            answer(200, ERROR, X_Amz_Function_Error="Unhandled", X_Amz_Executed_Version="7"),
            error(executed_version="7"),
        ),
        (spec(), answer(200, b"oh no", X_Amz_Function_Error="Handled"), error("Unhandled", "oh no", ())),
    ],
    "200 to 299 | with the header `X-Amz-Executed-Version`": [
        (spec(), answer(200, b"1", X_Amz_Executed_Version="7"), Success(b"1", "7")),
        (spec(EMULATOR), answer(200, ERROR, X_Amz_Executed_Version="7"), Success(ERROR, "7")),
    ],
    "200 to 299 | Lambda's error object and nothing else": [
        (spec(), answer(200, ERROR), error()),
        (spec(EMULATOR), answer(200, ERROR), error()),
    ],
    "200 to 299 | another sign of an emulator, at an Invoke path": [
        (
            spec(EMULATOR),
            answer(200, b"Task timed out after 3.00 seconds"),
            error("Sandbox.Timedout", "Task timed out after 3.00 seconds", (), kind="timeout"),
        ),
        (
            spec(EMULATOR),
            answer(200, b""),
            error(
                "Runtime.ExitError",
                "The function answered nothing, not even null: it ended or timed out.",
                (),
                kind="exit",
            ),
        ),
    ],
    "200 to 299 | anything else, also nothing": [
        (spec(EMULATOR), answer(200, b"null"), Success(b"null")),
        (spec(), answer(200, b'{"batchItemFailures": []}'), Success(b'{"batchItemFailures": []}')),
        (spec(), answer(200, b"Task timed out after 3.00 seconds"), Success(b"Task timed out after 3.00 seconds")),
        (spec(), answer(201, b""), Success(b"")),
        (spec(), answer(204, b""), Success(b"")),
        (spec(), answer(299, b"not json"), Success(b"not json")),
    ],
    "`function_error_statuses` | anything": [
        (
            spec(function_error_statuses=frozenset({500})),
            answer(500, b"boom"),
            error("Http.500", "HTTP 500 Internal Server Error: boom", ()),
        ),
        (spec(function_error_statuses=frozenset({500})), answer(500, ERROR), error()),
        (
            spec(function_error_statuses=frozenset({503})),
            answer(503),
            error("Http.503", "HTTP 503 Service Unavailable", ()),
        ),
    ],
    "413 | anything": [
        (
            spec(),
            answer(413, b"10 KB at most"),
            Rejected("RequestTooLargeException", f"HTTP 413 {HTTPStatus(413).phrase}: 10 KB at most"),
        ),
    ],
    "429, 503 | anything": [
        (spec(), answer(429), Throttled("HTTP 429 Too Many Requests")),
        (spec(), answer(503, b"be\nback"), Throttled("HTTP 503 Service Unavailable: be back")),
        (
            spec(EMULATOR),
            answer(429, b'{"Reason":"CallerRateLimitExceeded","Type":"User"}'),
            Throttled("CallerRateLimitExceeded"),
        ),
    ],
    "400 | nothing, at an Invoke path: an emulator that is busy": [
        (
            spec(EMULATOR),
            answer(400),
            Throttled("the emulator runs another invocation: set reserved_concurrency to 1"),
        ),
    ],
    "400 to 499 | anything else": [
        (spec(), answer(400), error("Http.400", "HTTP 400 Bad Request", ())),
        (spec(EMULATOR), answer(400, b"what?"), error("Http.400", "HTTP 400 Bad Request: what?", ())),
        (spec(), answer(404, b"no such page"), error("Http.404", "HTTP 404 Not Found: no such page", ())),
        (spec(), answer(422, ERROR), error()),
        (spec(), answer(499), error("Http.499", "HTTP 499 (unknown)", ())),
    ],
    "502 | Lambda's error object: the emulator's word for a function's end": [
        (
            spec(EMULATOR),
            answer(502, b'{"errorType": "Runtime.ExitError", "errorMessage": "exit status 1"}'),
            error("Runtime.ExitError", "exit status 1", (), kind="exit"),
        ),
    ],
    "any other | anything": [
        (spec(), answer(500, b"boom"), Unreachable(f"{PLAIN}: HTTP 500 Internal Server Error: boom")),
        (spec(), answer(500, None), Unreachable(f"{PLAIN}: HTTP 500 Internal Server Error")),
        (spec(), answer(502, b"<html>"), Unreachable(f"{PLAIN}: HTTP 502 Bad Gateway: <html>")),
        (spec(EMULATOR), answer(504), Unreachable(f"{EMULATOR}: HTTP 504 Gateway Timeout")),
        (spec(), answer(599), Unreachable(f"{PLAIN}: HTTP 599 (unknown)")),
        (
            spec(),
            answer(308, Location="/orders/"),
            Unreachable(
                f"{PLAIN}: HTTP 308 Permanent Redirect: redirects are not followed; put the URL it leads to into `url`:"
                " /orders/"
            ),
        ),
        (spec(), answer(700), Unreachable(f"{PLAIN}: HTTP 700 (unknown)")),
    ],
}


@pytest.mark.parametrize(
    ("settings", "given", "outcome"),
    [pytest.param(*case, id=f"{row}-{number}") for row, cases in MEANINGS.items() for number, case in enumerate(cases)],
)
def test_an_answer_means_what_the_table_says(settings, given, outcome):
    assert read_answer(settings, given) == outcome


def test_the_table_and_its_test_have_the_same_rows():
    rows = re.findall(r"^\| (.+?) +\| (.+?) +\| .+ \|$", http.__doc__ or "", re.MULTILINE)
    assert [" | ".join(row) for row in rows if row[0] not in {"status", "-" * 25} and "---" not in row[0]] == [
        *MEANINGS
    ]


@pytest.mark.parametrize("settings", [spec(), spec(EMULATOR), spec(function_error_statuses=frozenset({500, 503}))])
@pytest.mark.parametrize("body", [b"", b"null", ERROR, b'{"batchItemFailures": []}'])
def test_no_status_but_those_of_200_is_ever_a_success(settings, body):
    meanings = [read_answer(settings, answer(status, body)) for status in range(300, 600)]
    assert not [meaning for meaning in meanings if isinstance(meaning, Success)]


# --- what is sent


async def test_the_event_is_posted_as_it_is_with_what_lambda_tells_a_runtime(make, serve):
    seen = []

    async def handle(request):
        seen.append((request.method, request.headers.copy(), await request.read()))
        return web.Response(body=b'"done"')

    invoker = make(await serve(handle))
    assert await call(invoker, '{"name": "Zoë"}'.encode()) == Success(b'"done"')
    [(method, headers, body)] = seen
    assert (method, body) == ("POST", '{"name": "Zoë"}'.encode())
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == f"esmd/{__version__}"
    assert headers["X-Amzn-RequestId"] == headers["Lambda-Runtime-Aws-Request-Id"] == ID
    assert headers["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert "ce-id" not in headers


def test_the_deadline_is_told_in_milliseconds_since_1970():
    assert request_headers(spec(timeout=2.5), ID, now=1_700_000_000.25)["Lambda-Runtime-Deadline-Ms"] == "1700000002750"


def test_headers_of_the_user_win_but_for_the_contents_type():
    given = {"user-agent": "mine", "Authorization": "Bearer x", "content-type": "text/plain", "x-amzn-trace-id": "t"}
    headers = request_headers(spec(headers=given), ID, now=0)
    assert (headers.getall("User-Agent"), headers["Authorization"]) == (["mine"], "Bearer x")
    assert headers.getall("X-Amzn-Trace-Id") == ["t"]
    assert headers.getall("Content-Type") == ["application/json"]


def test_a_cloudevent_is_the_same_event_with_headers_around_it():
    headers = request_headers(spec(payload="cloudevents"), ID, now=1_700_000_000.25)
    assert {name: value for name, value in headers.items() if name.startswith("ce-")} == {
        "ce-specversion": "1.0",
        "ce-id": ID,
        "ce-type": "esmd.invocation",
        "ce-source": "arn:aws:lambda:eu-west-1:000000000000:function:orders",
        "ce-time": "2023-11-14T22:13:20.250+00:00",
    }
    assert headers["Content-Type"] == "application/json"


async def test_user_and_password_of_the_url_are_sent_and_never_said(make, serve):
    async def handle(request):
        return web.Response(status=500, text=request.headers["Authorization"])

    url = (await serve(handle, path="/a?code=secret")).replace("://", "://me:word@")
    outcome = await call(make(url))
    assert isinstance(outcome, Unreachable)
    assert "Basic bWU6d29yZA==" in outcome.message
    assert outcome.message.startswith("http://127.0.0.1:")
    assert "word@" not in outcome.message
    assert "secret" not in outcome.message


async def test_a_server_that_sets_a_cookie_does_not_get_it_back(make, serve):
    cookies = []

    async def handle(request):
        cookies.append(dict(request.cookies))
        response = web.Response(body=b"null")
        response.set_cookie("session", "1")
        return response

    invoker = make(await serve(handle))
    await call(invoker)
    await call(invoker)
    assert cookies == [{}, {}]


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://orders.example.com/", {"http": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://orders.example.com/", {"https": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://orders.example.com/", {"http": "http://proxy:3128"}, None),
        ("http://orders.example.com/", {"http": "http://proxy:3128", "no": ".example.com"}, None),
        ("http://orders.example.com:81/", {"http": "http://proxy:3128", "no": "orders.example.com:81"}, None),
        ("http://127.0.0.1:9000/", {"http": "http://proxy:3128"}, None),
        ("http://localhost:9000/", {"http": "http://proxy:3128"}, None),
        ("http://orders:8080/", {"http": "http://proxy:3128"}, None),
        ("http://10.1.2.3:8080/", {"http": "http://proxy:3128"}, None),
        ("http://orders.example.com/", {}, None),
    ],
)
def test_a_proxy_of_the_environment_is_used_for_what_is_not_local(url, environ, proxy):
    assert proxy_of(URL(url), environ) == proxy


def test_the_proxies_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert proxy_of(URL("http://orders.example.com/")) == "http://proxy:3128"


async def test_the_servers_of_this_host_are_reached_past_a_proxy(make, serve, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert await call(make(await serve(echo))) == Success(b'{"a": 1}')


# --- limits


async def test_a_6_mb_event_is_sent_and_a_larger_one_is_not(make, serve):
    posts = []

    async def handle(request):
        posts.append(len(await request.read()))
        return web.Response(body=b"null")

    invoker = make(await serve(handle))
    event = b'"' + b"x" * (MAX_REQUEST_BYTES - 2) + b'"'
    assert await call(invoker, event) == Success(b"null")
    assert isinstance(await call(invoker, event + b" "), Rejected)
    assert posts == [MAX_REQUEST_BYTES]


async def test_an_answer_may_be_as_long_as_lambda_allows_and_no_longer(make, serve):
    async def handle(request):
        return web.Response(body=b" " * int(request.query["bytes"]))

    url = await serve(handle)
    longest = await call(make(f"{url}?bytes={MAX_RESPONSE_BYTES}"))
    assert isinstance(longest, Success)
    assert len(longest.payload) == MAX_RESPONSE_BYTES
    assert await call(make(f"{url}?bytes={MAX_RESPONSE_BYTES + 1}")) == TOO_LARGE


async def test_an_answer_without_an_end_is_not_read_to_its_end(make, serve):
    async def handle(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 2**20)

    assert await call(make(await serve(handle))) == TOO_LARGE


async def test_a_burst_beyond_the_limit_is_throttled_at_once_and_never_sent(make, serve):
    gate, posts = asyncio.Event(), []

    async def handle(request):
        posts.append(await request.read())
        await gate.wait()
        return web.Response(body=b"null")

    invoker = make(await serve(handle), concurrency=2)
    running = [asyncio.create_task(call(invoker)) for _ in range(2)]
    while len(posts) < 2:
        await asyncio.sleep(0)
    assert (invoker.limit, invoker.running) == (2, 2)
    assert await call(invoker) == Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    gate.set()
    assert await asyncio.gather(*running) == [Success(b"null")] * 2
    assert len(posts) == 2
    assert invoker.running == 0


# --- time, and the end


async def test_an_invocation_ends_at_its_timeout_and_so_does_its_connection(make, serve, telemetry):
    given_up = asyncio.Event()

    async def handle(request):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.set()
            raise

    invoker = make(await serve(handle), timeout=0.05)
    assert await call(invoker) == FunctionError(
        "timeout", "Sandbox.Timedout", f"RequestId: {ID} Error: Task timed out after 0.05 seconds"
    )
    await asyncio.wait_for(given_up.wait(), 10)
    assert telemetry.of(HandlerTimeout) == [HandlerTimeout(function="orders", request_id=ID, timeout_s=0.05, pid=None)]


async def test_an_answer_that_does_not_end_in_time_is_a_timeout_as_well(make, serve):
    async def handle(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"batchItemFailures": []}')
        await asyncio.sleep(60)
        return response

    outcome = await call(make(await serve(handle), timeout=0.05))
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "timeout"


@pytest.mark.looptime
async def test_a_server_that_takes_no_connection_in_time_has_not_run_anything(make, monkeypatch):
    async def for_ever(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohttp.TCPConnector._create_connection", for_ever)
    assert await call(make(PLAIN, timeout=3.0)) == Unreachable(f"{PLAIN}: no connection within 3 s")


async def test_a_cancelled_invocation_drops_its_connection(make, serve):
    begun, given_up = asyncio.Event(), asyncio.Event()

    async def handle(request):
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.set()
            raise

    invoker = make(await serve(handle))
    running = asyncio.create_task(call(invoker))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert invoker.running == 0
    await asyncio.wait_for(given_up.wait(), 10)


async def test_close_cuts_off_what_runs_which_is_nobodys_failure(make, serve, telemetry):
    begun = asyncio.Event()

    async def handle(request):
        begun.set()
        await asyncio.sleep(60)

    invoker = make(await serve(handle))
    running = asyncio.create_task(call(invoker))
    await begun.wait()
    await asyncio.gather(invoker.close(), invoker.close())
    assert invoker.running == 0
    assert await running == Unreachable("Function orders is shutting down.")
    assert await call(invoker) == Unreachable("Function orders is shutting down.")
    assert telemetry.events == []


# --- connections


async def test_connections_are_used_again(make, serve):
    ports = set()

    async def handle(request):
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response(body=b"null")

    invoker = make(await serve(handle))
    for _ in range(5):
        assert await call(invoker) == Success(b"null")
    assert len(ports) == 1


@pytest.mark.thorough
async def test_a_thousand_invocations_at_once_are_answered_each_with_its_own(make, serve, monkeypatch):
    monkeypatch.setattr(http, "CONNECT_SECONDS", 60.0)  # one loop makes both ends of them all
    invoker = make(await serve(echo), concurrency=1000)
    events = [str(number).encode() for number in range(1000)]
    assert await asyncio.gather(*(call(invoker, event) for event in events)) == [Success(event) for event in events]


async def reply_once(reader, writer, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull"):
    """Answer one request properly, and leave the connection open."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    await reader.readexactly(int(length[1]))
    writer.write(answer)
    await writer.drain()


async def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used_again(make, listen):
    connections = 0
    closed = asyncio.Event()

    async def talk(reader, writer):
        nonlocal connections
        connections += 1
        await reply_once(reader, writer)
        writer.close()
        await writer.wait_closed()
        closed.set()

    invoker = make(await listen(talk))
    for number in range(1, 4):
        closed.clear()
        assert await call(invoker) == Success(b"null")
        await closed.wait()
        await asyncio.sleep(0)  # the loop sees the end of the connection
        assert connections == number


async def test_an_event_that_meets_a_closing_connection_is_neither_lost_nor_sent_twice(make, listen):
    requests = 0

    async def talk(reader, writer):
        nonlocal requests
        await reply_once(reader, writer)
        requests += 1
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.close()  # with a second request in its hands
        await writer.wait_closed()

    invoker = make(await listen(talk))
    assert await call(invoker) == Success(b"null")
    outcome = await call(invoker)
    assert isinstance(outcome, Unreachable)
    assert "the connection broke before an answer" in outcome.message
    assert outcome.message.endswith("; the function may have run")
    assert requests == 2
    assert await call(invoker) == Success(b"null")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_is_no_success(make, listen, answer):
    async def talk(reader, writer):
        await reply_once(reader, writer, answer)
        writer.close()
        await writer.wait_closed()

    outcome = await call(make(await listen(talk)))
    assert isinstance(outcome, Unreachable)
    assert outcome.message.endswith("; the function may have run")


async def test_nobody_listens(make):
    assert await call(make(PLAIN)) == Unreachable(f"{PLAIN}: cannot connect: Connection refused")


async def test_a_host_without_an_address(make):
    outcome = await call(make("http://orders.invalid/"))
    assert isinstance(outcome, Unreachable)
    assert outcome.message.startswith("http://orders.invalid/: cannot connect: ")


async def test_a_redirect_is_not_followed(make, serve):
    paths = []

    async def handle(request):
        paths.append(request.path)
        raise web.HTTPFound("/elsewhere")

    outcome = await call(make(await serve(handle)))
    assert isinstance(outcome, Unreachable)
    assert outcome.message.endswith("put the URL it leads to into `url`: /elsewhere")
    assert paths == ["/"]


async def test_nobody_is_asked_at_the_start(make):
    invoker = make(PLAIN)
    await invoker.start()
    await invoker.start()


# --- TLS


def server_tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused(make, serve):
    url = await serve(echo, tls=server_tls())
    outcome = await call(make(url))
    assert isinstance(outcome, Unreachable)
    assert outcome.message.startswith(f"{url}: its certificate is not trusted: ")
    assert outcome.message.endswith("; name its issuer in `ca_file`")


async def test_a_certificate_of_the_configured_issuer_is_accepted(make, serve):
    url = await serve(echo, tls=server_tls())
    assert await call(make(url, ca_file=str(TLS / "certificate.pem"))) == Success(b'{"a": 1}')


async def test_the_name_in_the_certificate_is_checked_as_well(make, serve):
    url = (await serve(echo, tls=server_tls())).replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - leads here
    outcome = await call(make(url, ca_file=str(TLS / "certificate.pem")))
    assert isinstance(outcome, Unreachable)
    assert "IP address mismatch" in outcome.message


async def test_verification_can_be_switched_off(make, serve):
    assert await call(make(await serve(echo, tls=server_tls()), verify_tls=False)) == Success(b'{"a": 1}')


async def test_a_server_without_tls_is_unreachable_by_https(make, serve):
    outcome = await call(make((await serve(echo)).replace("http", "https")))
    assert isinstance(outcome, Unreachable)
    assert "cannot connect" in outcome.message


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_said_at_the_start(make, tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    invoker = make("https://127.0.0.1:1/", ca_file=str(file))
    with pytest.raises(StartFailed, match=re.escape(str(file))) as caught:
        await invoker.start()
    assert caught.value.error_type == "Http.InvalidCaFile"
    assert isinstance(await call(invoker), Unreachable)


def test_a_url_in_a_message_has_no_secrets():
    assert place_of(URL("https://me:word@h:8443/a/b?code=1#f")) == "https://h:8443/a/b"


async def test_a_header_that_cannot_be_sent_is_no_crash(make, serve):
    outcome = await call(make(await serve(echo), headers={"X-Mine": "a\r\nX-Injected: b"}))
    assert isinstance(outcome, Unreachable)


async def test_answers_that_are_packed_all_the_same_are_unpacked(make, serve):
    async def handle(request):
        response = web.Response(body=json.dumps({"batchItemFailures": []}).encode())
        response.enable_compression(web.ContentCoding.gzip)
        return response

    assert await call(make(await serve(handle))) == Success(b'{"batchItemFailures": []}')
