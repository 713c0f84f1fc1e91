"""How a daemon is, for programs: its status as JSON, and the two questions of whoever keeps it running.

| path                    | answers                                                                                        |
|-------------------------|------------------------------------------------------------------------------------------------|
| `/esmd/v1/status`       | everything (`esmd.status.model.Snapshot`)                                                      |
| `/esmd/v1/status/NAME`  | one mapping, by name or UUID: its status, its function's, its failures                         |
| `/livez`                | 200 as long as the event loop answers                                                          |
| `/readyz`               | 200 once every mapping runs or has said why it cannot; until then, and while it drains, 503    |
| `/readyz?strict=true`   | as that, and 503 while a mapping that is enabled cannot run                                    |

The last two are answered without the token that others need; then `/readyz` does not say why.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from esmd.api.security import is_local
from esmd.status.model import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.api.parts import ApiParts, StatusSource
    from esmd.status.model import Snapshot


def routes(parts: ApiParts) -> list[web.RouteDef]:
    """The routes of this module."""

    async def status(_: web.Request) -> web.Response:
        return answer(to_json(await snapshot_of(parts)))

    async def one(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        snapshot = await snapshot_of(parts)
        mapping = snapshot.mapping(name)
        if mapping is None:
            known = ", ".join(each.name for each in snapshot.mappings) or "none"
            raise refusal(web.HTTPNotFound, "NotFound", f"there is no mapping {name!r}", hint=f"there are: {known}")
        return answer(
            {
                "at": snapshot.at,
                "mapping": to_json(mapping),
                "function": next((to_json(f) for f in snapshot.functions if f.name == mapping.function), None),
                "failures": [to_json(f) for f in snapshot.failures if mapping.concerned_by(f.mapping, f.function)],
            }
        )

    async def live(_: web.Request) -> web.Response:
        return answer({"alive": True})

    async def ready(request: web.Request) -> web.Response:
        strict = request.query.get("strict", "") in {"1", "true"}
        reasons = source_of(parts).unready(strict=strict)
        told = {"reasons": reasons} if parts.config.api.token is None or is_local(request) else {}
        return answer({"ready": not reasons, **told}, status=503 if reasons else 200)

    return [
        web.get("/esmd/v1/status", status),
        web.get("/esmd/v1/status/{name}", one),
        web.get("/livez", live),
        web.get("/readyz", ready),
    ]


async def snapshot_of(parts: ApiParts) -> Snapshot:
    """A snapshot, within a bound: whatever hangs must not hang whoever wants to see it.

    Raises:
        web.HTTPServiceUnavailable: there is none.
    """
    try:
        async with asyncio.timeout(_LONGEST):
            return await source_of(parts).snapshot()
    except TimeoutError:
        text = f"the daemon did not tell within {_LONGEST:g} s"
        raise refusal(web.HTTPServiceUnavailable, "Unavailable", text, hint="ask again") from None


def source_of(parts: ApiParts) -> StatusSource:
    """Who knows how the daemon is.

    Raises:
        web.HTTPServiceUnavailable: nobody does.
    """
    if parts.status is None:
        raise refusal(web.HTTPServiceUnavailable, "Unavailable", "this daemon keeps no status", hint="")
    return parts.status


_LONGEST = 15.0
"""Seconds a snapshot may take; far more than it is meant to."""


def answer(value: Any, *, status: int = 200) -> web.Response:
    """JSON that nobody keeps."""
    return web.json_response(value, status=status, headers={"Cache-Control": "no-store"}, dumps=_dumps)


def refusal(kind: type[web.HTTPError], error: str, message: str, *, hint: str) -> web.HTTPError:
    """An error of ours, as all routes below `/esmd/` spell it."""
    body: Mapping[str, str] = {"error": error, "message": message, "hint": hint}
    return kind(text=_dumps(body), content_type="application/json")


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
