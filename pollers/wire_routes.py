"""Where an aiobotocore client would send a call, and what forbids sending it there by other means.

The client itself is asked: it prepares a call, endpoint rules and all, and the call is kept back before it leaves.

| obstacle                                             | because                                               |
|------------------------------------------------------|-------------------------------------------------------|
| a proxy of the environment applies to the endpoint   | the lean client speaks to services only               |
| another signature than version 4, or none            | it knows no other                                     |
| a query or user in the endpoint's URL                | neither is signed by it                               |
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from esmd.pollers.wire import Route

_HANDLER = "esmd-keeps-it-back"
_asking: ContextVar[dict[str, Any] | None] = ContextVar("_asking", default=None)


class Obstacle(Exception):  # noqa: N818 - says what is in the way
    """The lean client cannot be used for this endpoint; the text says why, for a person."""


class _KeptBack:
    """Stands for the HTTP answer of a call that was kept back."""

    status_code = 200


def _keep_back(
    *, params: dict[str, Any], request_signer: Any, context: dict[str, Any], **_: Any
) -> tuple[_KeptBack, dict[str, Any]] | None:
    seen = _asking.get()
    if seen is None:  # someone else's call on the shared client
        return None
    seen.update(url=params["url"], signer=request_signer, context=context)
    return _KeptBack(), {}


async def route_of(client: Any, operation: str, **parameters: Any) -> Route:
    """How `client` would make a call.

    Args:
        client: of aiobotocore. Nothing is sent.
        operation: the method's name, for example `receive_message`.
        parameters: of the call; some decide on the endpoint.

    Raises:
        Obstacle: the lean client cannot make it.
        botocore.exceptions.BotoCoreError: nor can botocore.
    """
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_last(f"before-call.{service}", _keep_back, unique_id=_HANDLER)
    seen: dict[str, Any] = {}
    token = _asking.set(seen)
    try:
        await getattr(client, operation)(**parameters)
    finally:
        _asking.reset(token)
    signing = seen["context"].get("signing", {})
    route = Route(
        url=seen["url"],
        region=signing.get("region") or seen["signer"].region_name,
        service=signing.get("signing_name") or seen["signer"].signing_name,
        signed=_is_signed(seen["context"].get("auth_type") or seen["signer"].signature_version),
    )
    _check_url(route.url)
    return route


def _is_signed(version: Any) -> bool:
    from botocore import UNSIGNED  # noqa: PLC0415 - loaded by the client already; not by who only imports this

    if version is UNSIGNED or version == "none":
        return False
    if version != "v4":
        raise Obstacle(f"requests are signed by {version}, and only v4 is known here")
    return True


def _check_url(url: str) -> None:
    from botocore.utils import get_environ_proxies  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    if parts.query or parts.username:
        raise Obstacle("the endpoint's URL has a query or a user in it")
    proxy = get_environ_proxies(url).get(parts.scheme)
    if proxy:
        where = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        raise Obstacle(f"the environment sends it through the proxy {where.hostname}")
