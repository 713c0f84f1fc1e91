"""Who may use the API, and how much of the daemon's time and memory a request may take.

| request                                            | over the Unix socket | over TCP                            |
|----------------------------------------------------|----------------------|-------------------------------------|
| `Host` is a name that is not ours                  | -                    | 403: a page that rebound its DNS    |
| `Origin` is not the `Host`                         | -                    | 403: a page of somebody else        |
| a token is configured, and not shown               | -                    | 401; but `/livez` and `/readyz`     |
| ... nor is the request signed with it (SigV4)      | -                    | 403 or 400, in AWS's words          |
| ... as the password of a browser                   | -                    | taken for GET, refused for changes  |
| a body above 1 MiB, above 7 MiB to invoke          | 413                  | 413                                 |
| a body that takes longer than 20 seconds           | 408                  | 408                                 |
| a body that is not encoded as its headers say      | 400                  | 400                                 |

The Unix socket is guarded by its mode. AWS's tools sign their requests: with the access key `esmd` and the token as its secret.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from esmd.api.errors import refusal
from esmd.api.sigv4_check import ALGORITHM, SignatureRefused, SignedRequest, check_signature
from esmd.config.api_schema import host_and_port

if TYPE_CHECKING:
    from esmd.config.schema import ApiSettings

BODY_LIMIT = 1024 * 1024
"""Bytes of a body."""

INVOKE_LIMIT = 7 * 1024 * 1024
"""Bytes of an event to invoke with: Lambda takes 6 MB; what is above that has to be told so in Lambda's words."""

BODY_SECONDS = 20.0
"""Seconds in which a body has to be here."""

ACCESS_KEY = "esmd"
"""The access key whose secret is the token."""

_OPEN = frozenset({"/livez", "/readyz"})
"""What probes may ask without a token: the answer is yes or no."""

_INVOKE = re.compile(r"/2015-03-31/functions/[^/]+/invocations/?")


class Guard:
    """Judges requests by the settings of the API."""

    def __init__(self, settings: ApiSettings) -> None:
        self._token = None if settings.token is None else settings.token.get_secret_value().encode()
        self._hosts = {"localhost", *(name.lower() for name in settings.hosts)}
        if settings.listen is not None:
            self._hosts.add(host_and_port(settings.listen)[0].lower())

    def refuses(self, request: web.Request) -> web.Response | None:
        """The answer to a request that may not be carried out; None where it may."""
        if is_local(request):
            return None
        if not self.knows(request.headers.get("Host", "")):
            return refusal(
                403, "ForeignHost", "this is not the name of a host that is served here", hint="add it to api.hosts"
            )
        origin = request.headers.get("Origin")
        if origin is not None and _host_of(origin) != request.headers["Host"].lower():
            return refusal(403, "ForeignOrigin", "requests from pages of other sites are refused")
        if self._token is not None and request.path not in _OPEN and not (self._shown(request) or _is_signed(request)):
            answer = refusal(
                401, "Unauthorized", "a token is needed", hint="send Authorization: Bearer TOKEN (ESMD_API_TOKEN)"
            )
            # A browser asks its user, for the page alone: programs are to send what the hint says.
            answer.headers["WWW-Authenticate"] = 'Basic realm="esmd"' if request.path == "/" else "Bearer"
            return answer
        return None

    async def refuses_signature(self, request: web.Request) -> web.Response | None:
        """The answer to a request, its body read, that is signed and not with the token; None for any other."""
        if self._token is None or is_local(request) or request.path in _OPEN or not _is_signed(request):
            return None
        headers = [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in request.raw_headers
        ]
        signed = SignedRequest(
            method=request.method, target=request.raw_path, headers=headers, body=await request.read()
        )
        try:
            check_signature(signed, secrets={ACCESS_KEY: self._token.decode()}, now=datetime.now(UTC))
        except SignatureRefused as error:
            return refusal(error.status, error.error_type, error.message)
        return None

    def knows(self, host: str) -> bool:
        """Whether the value of a `Host` header is ours: an address, which no DNS can rebind, or a name that we have."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts or name.endswith(".localhost")
        return True

    def _shown(self, request: web.Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        if kind.lower() == "basic" and request.method == "GET":
            given = _password(given)
        elif kind.lower() != "bearer":
            return False
        return self._token is not None and hmac.compare_digest(given, self._token)


def _password(credentials: bytes) -> bytes:
    """The password of what a browser sends; the user's name means nothing. Not for requests that change something."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _host_of(origin: str) -> str | None:
    """Host and port of an `Origin` header; None where that is no URL."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_signed(request: web.Request) -> bool:
    return request.headers.get("Authorization", "").startswith(ALGORITHM)


def is_local(request: web.Request) -> bool:
    """Whether a request came over the Unix socket."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return isinstance(name, str | bytes)


async def with_body(request: web.Request) -> web.Request | web.Response:
    """The request with its whole body in memory; or what to answer, where that is too large or too slow."""
    limit = INVOKE_LIMIT if _INVOKE.fullmatch(request.path) else BODY_LIMIT
    too_large = refusal(413, "TooLarge", f"a body may have {limit} bytes here")
    if (request.content_length or 0) > limit:
        return too_large
    bounded = request.clone(client_max_size=limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await bounded.read()
    except web.HTTPRequestEntityTooLarge:
        return too_large
    except (web.RequestPayloadError, ConnectionResetError) as error:
        return refusal(400, "UnreadableBody", f"the body could not be read: {error}")
    except TimeoutError:
        return refusal(408, "TooSlow", f"the body was not here within {BODY_SECONDS:g} seconds")
    return bounded
