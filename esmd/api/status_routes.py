"""How a daemon is, for programs: its status as JSON, and the two questions of whoever keeps it running.

| path                    | answers                                                                                        |
|-------------------------|------------------------------------------------------------------------------------------------|
| `/esmd/v1/status`       | everything (`esmd.status.model.Snapshot`)                                                      |
| `/esmd/v1/status/NAME`  | one mapping, by name or UUID: its status, its function's, its failures                         |
| `/livez`                | 200 as long as the event loop answers                                                          |
| `/readyz`               | 200 once every mapping runs or has said why it cannot; until then, and while it drains, 503    |
| `/readyz?strict=true`   | as that, and 503 while a mapping that is enabled cannot run                                    |
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from esmd.status.model import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esmd.api.parts import ApiParts
    from esmd.control.protocol import Entry
    from esmd.status.model import Snapshot

STARTING = frozenset({"Creating", "Enabling"})
"""States in which a mapping has not been tried yet."""


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
        reasons = unready(parts.control.entries(), strict=strict)
        if getattr(parts.status, "draining", False):
            reasons["daemon"] = "it is draining"
        return answer({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

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
    if parts.status is None:
        raise refusal(web.HTTPServiceUnavailable, "Unavailable", "this daemon keeps no status", hint="")
    try:
        async with asyncio.timeout(_LONGEST):
            snapshot: Snapshot = await parts.status.snapshot()
    except TimeoutError:
        text = f"the daemon did not tell within {_LONGEST:g} s"
        raise refusal(web.HTTPServiceUnavailable, "Unavailable", text, hint="ask again") from None
    return snapshot


_LONGEST = 15.0
"""Seconds a snapshot may take; far more than it is meant to."""


def unready(entries: Sequence[Entry], *, strict: bool) -> dict[str, str]:
    """Why the daemon is not ready, by mapping; see the module's table."""
    reasons = {}
    for entry in entries:
        if entry.state in STARTING and entry.trouble is None:
            reasons[entry.name] = f"it is {entry.state}"
        elif strict and entry.trouble is not None:
            reasons[entry.name] = entry.trouble
    return reasons


def answer(value: Any, *, status: int = 200) -> web.Response:
    """JSON that nobody keeps."""
    return web.json_response(value, status=status, headers={"Cache-Control": "no-store"}, dumps=_dumps)


def refusal(kind: type[web.HTTPError], error: str, message: str, *, hint: str) -> web.HTTPError:
    """An error of ours, as all routes below `/esmd/` spell it."""
    body: Mapping[str, str] = {"error": error, "message": message, "hint": hint}
    return kind(text=_dumps(body), content_type="application/json")


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
