"""Who may use the API, and how much of the daemon's time and memory a request may take.

| request                                            | over the Unix socket | over TCP                            |
|----------------------------------------------------|----------------------|-------------------------------------|
| `Host` is a name that is not ours                  | -                    | 403: a page that rebound its DNS    |
| `Origin` is not the `Host`                         | -                    | 403: a page of somebody else        |
| a token is configured, and not shown               | -                    | 401; but `/livez` and `/readyz`     |
| a body above 1 MiB, above 7 MiB to invoke          | 413                  | 413                                 |
| a body that takes longer than 20 seconds           | 408                  | 408                                 |

The Unix socket is guarded by its mode.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from esmd.api.errors import refusal
from esmd.config.api_schema import host_and_port

if TYPE_CHECKING:
    from esmd.config.schema import ApiSettings

BODY_LIMIT = 1024 * 1024
"""Bytes of a body."""

INVOKE_LIMIT = 7 * 1024 * 1024
"""Bytes of an event to invoke with: Lambda takes 6 MB; what is above that has to be told so in Lambda's words."""

BODY_SECONDS = 20.0
"""Seconds in which a body has to be here."""

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
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers["Host"].lower():
            return refusal(403, "ForeignOrigin", "requests from pages of other sites are refused")
        if self._token is not None and request.path not in _OPEN and not self._shown(request):
            answer = refusal(
                401, "Unauthorized", "a token is needed", hint="send Authorization: Bearer TOKEN (ESMD_API_TOKEN)"
            )
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
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
        return kind.lower() == "bearer" and self._token is not None and hmac.compare_digest(given, self._token)


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
    except TimeoutError:
        return refusal(408, "TooSlow", f"the body was not here within {BODY_SECONDS:g} seconds")
    return bounded
