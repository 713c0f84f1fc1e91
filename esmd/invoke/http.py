"""Invokes a function behind a URL: the Runtime Interface Emulator of a Lambda container, or any web service.

What an answer means, first match:

| status                    | answer                                                            | outcome                       |
|---------------------------|-------------------------------------------------------------------|-------------------------------|
| 200 to 299                | longer than Lambda allows; the rest is not read                   | `FunctionError`               |
| 200 to 299                | with the header `X-Amz-Function-Error`                            | `FunctionError`               |
| 200 to 299                | with the header `X-Amz-Executed-Version`                          | `Success` of that version     |
| 200 to 299                | Lambda's error object and nothing else                            | `FunctionError`               |
| 200 to 299                | another sign of an emulator, at an Invoke path                    | `FunctionError`               |
| 200 to 299                | anything else, also nothing                                       | `Success`                     |
| `function_error_statuses` | anything                                                          | `FunctionError`               |
| 413                       | anything                                                          | `Rejected`                    |
| 429, 503                  | anything                                                          | `Throttled`                   |
| 400                       | nothing, at an Invoke path: an emulator that is busy              | `Throttled`                   |
| 400 to 499                | anything else                                                     | `FunctionError`               |
| 502                       | Lambda's error object: the emulator's word for a function's end   | `FunctionError`               |
| any other                 | anything                                                          | `Unreachable`                 |

An Invoke path is `/2015-03-31/functions/NAME/invocations`. The emulators' signs are those of `esmd.invoke.error_objects`.
Redirects are not followed, since a POST does not survive most of them. A connection that breaks before the answer is
complete is `Unreachable`, whatever was read.

Connections are kept and used again, but not after a second and a half without use: servers close idle ones (Gunicorn
after 2 s, Uvicorn and Node.js after 5 s), and an event that meets a closing connection is neither known to have arrived
nor known to be lost. That remains possible, and is `Unreachable` too: nothing is sent again from here.
"""

from __future__ import annotations

import http
import io
import os
import re
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined] # undocumented

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from esmd import __version__
from esmd.config.aws import is_local
from esmd.invoke.error_objects import read_emulator, read_error, read_error_object, text_of
from esmd.invoke.protocol import HttpSpec, StartFailed
from esmd.invoke.remote import Call, RemoteInvoker, read_at_most, response_too_large
from esmd.invoke.runtime import trace_header
from esmd.mappings.outcomes import LATEST, FunctionError, Outcome, Rejected, Success, Throttled, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.observe.telemetry import Telemetry

CONNECT_SECONDS = 5.0
"""How long a connection may take to be made, TLS included."""

KEEP_IDLE_SECONDS = 1.5
"""How long a connection that is not used is kept; see the module's text."""

EVENT_TYPE = "esmd.invocation"
"""`ce-type` of a CloudEvent: an invocation with Lambda's event. What is in it, its records say themselves."""

_INVOKE_PATH = re.compile(r"/2015-03-31/functions/[^/]+/invocations/?")

_WARN_BYTES = 2**20
"""Above it aiohttp wants a file, which it sends in pieces, and not bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer. `body` is None where it is longer than Lambda allows."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class HttpInvoker(RemoteInvoker[HttpSpec]):
    """An `Invoker` whose function is behind a URL. Its session is made when it is first used."""

    def __init__(self, spec: HttpSpec, *, telemetry: Telemetry) -> None:
        super().__init__(spec, telemetry=telemetry)
        self._url = URL(spec.url)
        self._proxy = proxy_of(self._url)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Read the certificates; nobody is asked whether the function is there.

        Raises:
            StartFailed: `ca_file` cannot be read, or holds no certificates.
        """
        try:
            self._open()
        except OSError as error:
            raise StartFailed("Http.InvalidCaFile", f"{self._spec.ca_file}: {error}") from error

    @property
    def _place(self) -> str:
        return place_of(self._url)

    async def _call(self, call: Call) -> Outcome:
        try:
            session = self._open()
            async with session.post(
                self._url,
                data=call.event if len(call.event) <= _WARN_BYTES else io.BytesIO(call.event),
                headers=request_headers(self._spec, call.request_id, now=time.time()),
                allow_redirects=False,
                proxy=self._proxy,
                trace_request_ctx=call,
            ) as response:
                body = await read_at_most(response.content.iter_any())
                answer = Answer(status=response.status, headers=response.headers, body=body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Unreachable(f"{self._place}: {_reason(error, sent=call.sent)}")
        return read_answer(self._spec, answer)

    def _open(self) -> aiohttp.ClientSession:
        """The session.

        Raises:
            OSError: `ca_file` cannot be read, or holds no certificates.
        """
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # places are counted here, and nothing may wait where nobody sees it
                    keepalive_timeout=KEEP_IDLE_SECONDS,
                    ssl=_tls(self._spec),
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),  # no invocation is to know of another
                trace_configs=[trace],
            )
        return self._session

    async def _release(self) -> None:
        if self._session is not None:
            await self._session.close()


def request_headers(spec: HttpSpec, request_id: str, *, now: float) -> CIMultiDict[str]:
    """The headers of a request; those of the user win, but for the content's type.

    Args:
        spec: the function.
        request_id: of the invocation.
        now: seconds since 1970.
    """
    headers = CIMultiDict(
        {
            "User-Agent": f"esmd/{__version__}",
            "Accept-Encoding": "identity",  # what is small or near gains nothing from being packed
            "X-Amzn-RequestId": request_id,
            "X-Amzn-Trace-Id": trace_header(request_id),
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((now + spec.timeout) * 1000)),
        }
    )
    if spec.payload == "cloudevents":
        headers["ce-specversion"] = "1.0"
        headers["ce-id"] = request_id
        headers["ce-type"] = EVENT_TYPE
        headers["ce-source"] = spec.arn
        headers["ce-time"] = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    headers.update(spec.headers)
    headers["Content-Type"] = "application/json"
    return headers


def read_answer(spec: HttpSpec, answer: Answer) -> Outcome:
    """What an answer means, by the module's table."""
    status, body = answer.status, answer.body or b""
    if 200 <= status <= 299:
        return _read_good(spec, answer)
    said = f"HTTP {status} {_phrase(status)}"
    if text := text_of(body):
        said = f"{said}: {text}"
    if status in spec.function_error_statuses:
        return _failure(body, status, said)
    if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Rejected("RequestTooLargeException", said)
    if status in {http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE}:
        return Throttled(_throttle_reason(body) or said)
    if status == http.HTTPStatus.BAD_REQUEST and not body and _at_invoke_path(spec.url):
        return Throttled("the emulator runs another invocation: set reserved_concurrency to 1")
    if 400 <= status <= 499:
        return _failure(body, status, said)
    if status == http.HTTPStatus.BAD_GATEWAY and (error := read_error_object(body)) is not None:
        return error
    if 300 <= status <= 399:
        target = answer.headers.get("Location", "nowhere")
        said = (
            f"HTTP {status} {_phrase(status)}: redirects are not followed; put the URL it leads to into `url`: {target}"
        )
    return Unreachable(f"{place_of(URL(spec.url))}: {said}")


def _read_good(spec: HttpSpec, answer: Answer) -> Outcome:
    version = answer.headers.get("X-Amz-Executed-Version")
    if answer.body is None:
        return response_too_large(version or LATEST)
    if "X-Amz-Function-Error" in answer.headers:
        return read_error(answer.body, executed_version=version or LATEST)
    if version is not None:
        return Success(answer.body, version)
    unmarked = read_emulator if _at_invoke_path(spec.url) else read_error_object
    return unmarked(answer.body) or Success(answer.body)


@cache
def _at_invoke_path(url: str) -> bool:
    return _INVOKE_PATH.fullmatch(URL(url).path) is not None


def _failure(body: bytes, status: int, said: str) -> FunctionError:
    """The handler's error object if there is one, else the status."""
    return read_error_object(body) or FunctionError("exception", f"Http.{status}", said)


def _throttle_reason(body: bytes) -> str | None:
    """`Reason` in Lambda's answer to an invocation that it throttles."""
    found = re.search(rb'"Reason"\s*:\s*"([A-Za-z]+)"', body)
    return found[1].decode() if found else None


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "(unknown)"


def place_of(url: URL) -> str:
    """A URL for messages, without what may be secret: user, password, query."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def proxy_of(url: URL, environ: Mapping[str, str] | None = None) -> str | None:
    """The proxy on the way to a URL: that of the environment, except for what is local and for `NO_PROXY`.

    Read here and not by aiohttp, which would also take a name and a password for the server from `~/.netrc`.
    """
    if is_local(str(url)):
        return None
    proxies = getproxies_environment() if environ is None else environ
    host = f"{url.host}:{url.port}"
    return None if proxy_bypass_environment(host, proxies) else proxies.get(url.scheme)


def _tls(spec: HttpSpec) -> ssl.SSLContext | bool:
    if not spec.verify_tls:
        return False
    return True if spec.ca_file is None else ssl.create_default_context(cafile=spec.ca_file)


async def _sent(_session: aiohttp.ClientSession, context: Any, _headers: aiohttp.TraceRequestHeadersSentParams) -> None:
    context.trace_request_ctx.sent = True


def _reason(error: Exception, *, sent: bool) -> str:
    """Why there is no answer, and whether the function may have run."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}; name its issuer in `ca_file`"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refuses: HTTP {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0  # asyncio puts the address in the place of the error's own text
        return f"cannot connect: {os.strerror(number) if number > 0 else error.os_error.strerror or error.os_error}"
    text = str(error) or type(error).__name__
    return f"the connection broke before an answer: {text}; the function may have run" if sent else text
