"""The routes of positions.

| request                                       | answer                                                            |
|-----------------------------------------------|-------------------------------------------------------------------|
| `GET /esmd/v1/mappings/{name}/checkpoint`     | the positions, as `esmd checkpoint export` writes them            |
| `POST /esmd/v1/mappings/{name}/checkpoint`    | what moves: `mapping`, `stream`, `moves`, and whether it is `done` |

A POST's body is one of `{"to": POSITION}`, `{"reset": true}` and `{"import": EXPORTED}`; the first two may have `shard`.
Nothing moves without `"yes": true`. With `pid` it is refused by any other process: the caller means the one that has a
certain state file.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from esmd.api.errors import refusal
from esmd.positions.change import Change
from esmd.positions.errors import PositionsError
from esmd.positions.files import document, from_document
from esmd.positions.live import LivePositions
from esmd.positions.plan import chosen
from esmd.positions.shown import PLANNED, planned_rows
from esmd.positions.targets import parse_target
from esmd.state.errors import StateError
from esmd.streams.build import start_of
from esmd.streams.positions import to_position

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.api.parts import ApiParts
    from esmd.config.schema import StreamMapping
    from esmd.positions.change import Planned
    from esmd.positions.files import Exported
    from esmd.state.position import Position

_PATH = "/esmd/v1/mappings/{name}/checkpoint"
_MEMBERS = {"to", "reset", "import", "shard", "yes", "pid"}


def routes(parts: ApiParts) -> list[web.RouteDef]:
    """The routes over a daemon's parts; they refuse where positions are not to be moved from here."""
    if parts.store is None:
        return [web.get(_PATH, _refuse), web.post(_PATH, _refuse)]
    live = LivePositions(parts.control, parts.store, parts.telemetry)

    async def show(request: web.Request) -> web.Response:
        settings = live.settings(request.match_info["name"])
        streams = await live.stored(settings.name)
        stored = chosen(streams, mapping=settings.name, arn=settings.event_source_arn)
        return web.json_response(document(settings.name, stored, now=time.time()))

    async def change(request: web.Request) -> web.Response:
        settings = live.settings(request.match_info["name"])
        body = _body(await request.read())
        if body.get("pid") not in {None, os.getpid()}:
            return refusal(
                409,
                "Conflict",
                f"this is process {os.getpid()}, and process {body['pid']} has the state file",
                hint="Name that daemon's API with --api, or stop it.",
            )
        wanted = Change(
            mapping=settings.name, arn=settings.event_source_arn, to=_target(body, settings), shard=body.get("shard")
        )
        done = body.get("yes") is True
        planned = await (live.move(wanted) if done else live.show(wanted))
        return web.json_response(_planned(settings.name, planned, done=done))

    return [web.get(_PATH, _said(show)), web.post(_PATH, _said(change))]


async def _refuse(_: web.Request) -> web.Response:
    return refusal(
        409,
        "Conflict",
        "a daemon of several processes does not move positions: each process goes on from what it has in memory",
        hint="Stop it, move them, and start it again. esmd checkpoint show works meanwhile.",
    )


def _said(
    handler: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler, with what it refuses as answers."""

    async def said(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except PositionsError as error:
            return refusal(400, "Invalid", error.message, hint=error.hint)
        except StateError as error:
            return refusal(503, "Unavailable", error.message, hint=error.hint)

    return said


def _body(data: bytes) -> dict[str, Any]:
    """A POST's body, checked as far as its members go."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PositionsError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict) or not set(body) <= _MEMBERS:
        raise PositionsError("the body is no object with " + ", ".join(sorted(_MEMBERS)) + " in it, or has others")
    if len({"to", "reset", "import"} & set(body)) != 1:
        raise PositionsError("the body has to have one of to, reset and import")
    if not isinstance(body.get("shard"), str | None) or ("import" in body and "shard" in body):
        raise PositionsError("shard is the id of one shard, and does not go with import")
    return body


def _target(body: dict[str, Any], settings: StreamMapping) -> Position | Exported:
    if "import" in body:
        return from_document(body["import"])
    if "to" in body:
        return parse_target(str(body["to"]), now=time.time())
    if body["reset"] is not True:
        raise PositionsError("reset is true, or is left out")
    return to_position(start_of(settings))


def _planned(mapping: str, planned: Planned, *, done: bool) -> dict[str, Any]:
    return {
        "mapping": mapping,
        "stream": {"arn": planned.identity.arn, "created_at": planned.identity.created_at},
        "moves": [dict(zip(PLANNED, row, strict=True)) for row in planned_rows(planned)],
        "done": done,
    }
