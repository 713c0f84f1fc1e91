"""The routes that pause, resume and reload.

| request                                   | answer                                                             |
|-------------------------------------------|--------------------------------------------------------------------|
| `GET /esmd/v1/mappings`                   | all mappings, each as below                                        |
| `POST /esmd/v1/mappings/{name}/pause`     | the mapping: `name`, `uuid`, `origin`, `state`, `paused`, `trouble` |
| `POST /esmd/v1/mappings/{name}/resume`    | the same                                                           |
| `POST /esmd/v1/reload`                    | the fields of `Reloaded`, diagnostics as text                      |

With `?wait` a mapping's answer comes when its state stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from esmd.control.protocol import NotFoundError

if TYPE_CHECKING:
    from esmd.api.parts import ApiParts
    from esmd.control.protocol import Entry, Reloaded


def routes(parts: ApiParts) -> list[web.RouteDef]:
    """The routes over a daemon's parts."""
    control = parts.control

    async def mappings(_: web.Request) -> web.Response:
        return web.json_response([_shown(entry) for entry in control.entries()])

    async def pause(request: web.Request) -> web.Response:
        return await answered(request, await control.pause(request.match_info["name"]))

    async def resume(request: web.Request) -> web.Response:
        return await answered(request, await control.resume(request.match_info["name"]))

    async def answered(request: web.Request, entry: Entry) -> web.Response:
        if "wait" not in request.query:
            return web.json_response(_shown(entry))
        settled = await control.settled(entry.name)
        if settled is None:
            raise NotFoundError(f"the mapping {entry.name} was deleted meanwhile")
        return web.json_response(_shown(settled))

    async def reload(_: web.Request) -> web.Response:
        return web.json_response(_reloaded(await control.reload()))

    return [
        web.get("/esmd/v1/mappings", mappings),
        web.post("/esmd/v1/mappings/{name}/pause", pause),
        web.post("/esmd/v1/mappings/{name}/resume", resume),
        web.post("/esmd/v1/reload", reload),
    ]


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "uuid": str(entry.uuid),
        "origin": entry.origin,
        "state": entry.state,
        "paused": entry.paused,
        "trouble": entry.trouble,
    }


def _reloaded(outcome: Reloaded) -> dict[str, Any]:
    return {
        "applied": outcome.applied,
        "added": list(outcome.added),
        "changed": list(outcome.changed),
        "removed": list(outcome.removed),
        "unchanged": outcome.unchanged,
        "functions": list(outcome.functions),
        "restart_needed": list(outcome.restart_needed),
        "diagnostics": [str(each) for each in outcome.diagnostics],
    }
