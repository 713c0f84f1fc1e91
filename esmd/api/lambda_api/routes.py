"""Where the API is served: paths, bodies and headers; what is done stands in `operations`.

Whatever comes, the answer is AWS's: JSON, an `X-Amzn-ErrorType` on errors, a request id. A defect of ours is a
`ServiceException` and an event in the log, never a traceback for the client.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from esmd.api.lambda_api.errors import LambdaError, answer_error
from esmd.api.lambda_api.invoking import too_large
from esmd.api.lambda_api.operations import Call, LambdaApi
from esmd.api.lambda_api.probe import SourceProbe
from esmd.assembly import make_clients
from esmd.invoke.protocol import MAX_REQUEST_BYTES
from esmd.observe.ids import new_request_id
from esmd.observe.lambda_api_events import RequestFailed
from esmd.observe.stacks import stack_of

if TYPE_CHECKING:
    from esmd.api.lambda_api.errors import Answer
    from esmd.api.lambda_api.operations import Operation
    from esmd.api.parts import ApiParts
    from esmd.observe.telemetry import Telemetry

_MAPPINGS = "/2015-03-31/event-source-mappings"
_FUNCTIONS = "/2015-03-31/functions"
_TAGS = "/2017-03-31/tags/{arn:.+}"
_OTHERS = r"/{date:\d{4}-\d{2}-\d{2}}{rest:(?:/.*)?}"


OPERATIONS = (
    ("POST", _MAPPINGS, LambdaApi.create_mapping),
    ("GET", _MAPPINGS, LambdaApi.list_mappings),
    ("GET", f"{_MAPPINGS}/{{uuid}}", LambdaApi.get_mapping),
    ("PUT", f"{_MAPPINGS}/{{uuid}}", LambdaApi.update_mapping),
    ("DELETE", f"{_MAPPINGS}/{{uuid}}", LambdaApi.delete_mapping),
    ("GET", _TAGS, LambdaApi.list_tags),
    ("POST", _TAGS, LambdaApi.tag_resource),
    ("DELETE", _TAGS, LambdaApi.untag_resource),
    ("GET", _FUNCTIONS, LambdaApi.list_functions),
    ("GET", f"{_FUNCTIONS}/{{name}}", LambdaApi.get_function),
    ("GET", f"{_FUNCTIONS}/{{name}}/configuration", LambdaApi.get_function_configuration),
    ("GET", f"{_FUNCTIONS}/{{name}}/versions", LambdaApi.list_versions),
    ("POST", f"{_FUNCTIONS}/{{name}}/invocations", LambdaApi.invoke),
)
"""Method, path and operation of each request that is known."""


def lambda_api(parts: ApiParts) -> LambdaApi:
    """The operations on a daemon."""
    started = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
    settings = parts.config.aws
    probe = SourceProbe(partial(make_clients, settings, os.environ), allow_remote=settings.allow_remote)
    return LambdaApi(parts.control, telemetry=parts.telemetry, probe=probe, environ=os.environ, started=started)


def routes(parts: ApiParts) -> list[web.RouteDef]:
    """The routes of the API, those that answer unknown operations last."""
    return routes_of(lambda_api(parts), parts.telemetry)


def routes_of(api: LambdaApi, telemetry: Telemetry) -> list[web.RouteDef]:
    """The routes of given operations."""
    found = []
    for method, path, operation in OPERATIONS:
        handler = partial(_serve, getattr(api, operation.__name__), telemetry)
        found.append(web.route(method, path, handler))
        if path in (_MAPPINGS, _FUNCTIONS):  # some SDKs end them with a slash
            found.append(web.route(method, f"{path}/", handler))
    return [*found, web.route("*", _OTHERS, partial(_serve, api.unknown, telemetry))]


async def _serve(operation: Operation, telemetry: Telemetry, request: web.Request) -> web.Response:
    request_id = new_request_id()
    try:
        answer = await operation(await _call(request, request_id))
    except LambdaError as error:
        answer = answer_error(error)
    except Exception as error:  # noqa: BLE001 - a defect is said here and must not end the connection without an answer
        telemetry.emit(
            RequestFailed(
                operation=getattr(operation, "__name__", "unknown"),
                request_id=request_id,
                error_type=type(error).__name__,
                error_message=str(error),
                stack=stack_of(error),
            )
        )
        answer = answer_error(
            LambdaError("ServiceException", "An internal error occurred; the daemon's log tells more.")
        )
    return _response(answer, request_id)


async def _call(request: web.Request, request_id: str) -> Call:
    return Call(
        parts={**request.match_info, "method": request.method, "path": request.path},
        query=dict(request.query),
        tag_keys=request.query.getall("tagKeys", []),
        headers=request.headers,
        body=await _body(request),
        request_id=request_id,
    )


async def _body(request: web.Request) -> bytes:
    """The body, as far as a payload may be long.

    Raises:
        LambdaError: it is longer, or was not sent as its headers say.
    """
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(MAX_REQUEST_BYTES) from error
    except (web.RequestPayloadError, ConnectionResetError) as error:
        raise LambdaError("InvalidRequestContentException", f"Could not read the request body: {error}") from error
    if len(body) > MAX_REQUEST_BYTES:
        raise too_large(MAX_REQUEST_BYTES)
    return body


def _response(answer: Answer, request_id: str) -> web.Response:
    headers = {"x-amzn-RequestId": request_id, **answer.headers}
    if answer.body or answer.status == 200:
        headers["Content-Type"] = "application/json"
    return web.Response(status=answer.status, body=answer.body or None, headers=headers)
