"""`/esmd/v1/trace/ID`: what the daemon remembers of one record or invocation (`esmd.trace.life.Life`)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from aiohttp import web

from esmd.api.status_routes import answer, refusal
from esmd.trace.trail import stamp

if TYPE_CHECKING:
    from esmd.api.parts import ApiParts


def routes(parts: ApiParts) -> list[web.RouteDef]:
    """The routes of this module."""

    async def trace(request: web.Request) -> web.Response:
        if parts.trail is None:
            raise refusal(web.HTTPServiceUnavailable, "Unavailable", "this daemon remembers no records", hint="")
        wanted = request.match_info["id"]
        life, since = await parts.trail.trace(wanted)
        if life is None:
            how_far = "all of its life" if since is None else f"what happened since {stamp(since)}"
            hint = f"the daemon remembers {how_far}; its log may know more: esmd trace {wanted[:200]} LOGFILE"
            raise refusal(web.HTTPNotFound, "NotFound", f"nothing is known of {wanted[:200]!r}", hint=hint)
        return answer(dataclasses.asdict(life))

    return [web.get("/esmd/v1/trace/{id}", trace)]
