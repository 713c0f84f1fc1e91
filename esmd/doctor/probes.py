"""What stands at an endpoint, by one plain GET: LocalStack, MiniStack, moto, AWS, or something else that speaks HTTP.

| asked                     | answered                              | it is                                   |
|---------------------------|---------------------------------------|-----------------------------------------|
| `/_ministack/health`      | an object with `edition`              | MiniStack                               |
| `/_localstack/health`     | an object with `services`             | LocalStack, with its version            |
| `/moto-api/data.json`     | an object                             | moto                                    |
| `/`                       | anything                              | whatever its `Server` says              |

The first answer also gives the server's clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from esmd.pollers.errors import classify

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS: Final = 5.0
"""Longest wait for an answer."""

MOST_BYTES: Final = 262_144
"""Most of an answer that is read."""

_HEALTH: Final = ("/_ministack/health", "/_localstack/health", "/moto-api/data.json", "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What an endpoint answered.

    Attributes:
        error: why nobody answered; None where somebody did.
        product: what stands there, with its version if it says one.
        skew: seconds by which its clock is ahead of ours; None where it told none.
    """

    error: str | None = None
    product: str = ""
    skew: float | None = None


async def probe(url: str) -> Probe:
    """Ask an endpoint; never raises for what it does."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    found = Probe()
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for path in _HEALTH:
                if path != "/" and ".amazonaws.com" in url:
                    continue
                async with session.get(url.rstrip("/") + path, allow_redirects=False) as answer:
                    body = await answer.content.read(MOST_BYTES)
                    skew = found.skew if found.skew is not None else skew_of(answer.headers, now=time.time())
                    found = replace(found, skew=skew)
                    product = product_of(path, answer.status, body, answer.headers)
                if product:
                    return replace(found, product=product)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        if isinstance(error, TimeoutError):
            return Probe(error=f"no answer within {SECONDS:g} s")
        return Probe(error=classify(error).message)
    return found


def product_of(path: str, status: int, body: bytes, headers: Mapping[str, str]) -> str:
    """What an answer gives away, by the module's table; empty where it tells nothing."""
    import json  # noqa: PLC0415

    server = headers.get("Server", "")
    if path == "/":
        return f"something that answers HTTP {status}" + (f" ({server[:60]})" if server else "")
    try:
        health: Any = json.loads(body)
    except ValueError:
        return ""
    if status != 200 or not isinstance(health, dict):
        return ""
    version = f" {str(health['version'])[:40]}" if health.get("version") else ""
    if path == "/_ministack/health":
        return f"MiniStack{version}" if "edition" in health else ""
    if path == "/_localstack/health":
        return f"LocalStack{version}" if "services" in health else ""
    return "moto"


def skew_of(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds by which the server's clock is ahead, to the second; None where it tells no time."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
