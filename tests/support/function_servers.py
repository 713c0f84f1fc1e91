"""A server in front of any invoker, that answers as Lambda's places do: the way to a function from outside.

| the invoker says  | style `rie`: the Runtime Interface Emulator   | style `lambda`: the Invoke API                       |
|-------------------|-----------------------------------------------|------------------------------------------------------|
| `Success`         | 200 and the payload                           | the same with `X-Amz-Executed-Version`               |
| `FunctionError`   | 200 and the error object, without any mark    | the same with `X-Amz-Function-Error` and the version |
| ... a timeout     | 200 and `Task timed out after N seconds`      | as every error                                       |
| ... an exit, init | 502 and the error object                      | as every error                                       |
| `Throttled`       | 429 with the reason                           | 429 with the reason                                  |
| `Rejected`        | 413                                           | 413                                                  |
| `Unreachable`     | 500                                           | 500                                                  |

A request that is given up cancels the invocation, as a container that is stopped does.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Literal, Self

from aiohttp import web

from esmd.mappings.outcomes import FunctionError, Outcome, Rejected, Success, Throttled, Unreachable
from esmd.observe.events import HandlerOutput

if TYPE_CHECKING:
    import ssl

    from esmd.invoke.protocol import Invoker

    from support.invocations import Recorder

INVOKE_PATH = "/2015-03-31/functions/{name}/invocations"
_MOST_BYTES = 16 * 1024 * 1024


class FunctionServer:
    """Serves `invoker` under the path of Lambda's Invoke API on a free port of this host; start and close that yourself.

    Args:
        invoker: what runs the events.
        style: how it answers, see the module's table.
        name: the function's name; others do not exist. The emulator's is always `function`.
        telemetry: what `invoker` tells; its handler output becomes the log of style `lambda`.
        tls: serves HTTPS.

    Attributes:
        url: of the emulator's path (style `rie`) or of the service's endpoint (style `lambda`).
        requests: the headers of each invocation's request, and `:query` with the rest of its URL.
    """

    def __init__(
        self,
        invoker: Invoker,
        *,
        style: Literal["rie", "lambda"],
        name: str = "function",
        telemetry: Recorder | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._invoker = invoker
        self._style = style
        self._name = name
        self._telemetry = telemetry
        self._tls = tls
        self.requests: list[dict[str, str]] = []
        self.url = ""
        application = web.Application(client_max_size=_MOST_BYTES)
        application.router.add_post(INVOKE_PATH, self._invoke)
        application.router.add_get("/2015-03-31/functions/{name}/configuration", self._configuration)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        scheme = "http" if self._tls is None else "https"
        path = INVOKE_PATH.format(name=self._name) if self._style == "rie" else ""
        self.url = f"{scheme}://{host}:{port}{path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _configuration(self, request: web.Request) -> web.Response:
        if self._style == "rie" or not self._knows(request):
            return self._unknown(request)
        return web.json_response({"FunctionName": self._name, "Version": "$LATEST", "State": "Active"})

    async def _invoke(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return self._unknown(request)
        self.requests.append({**request.headers, ":query": request.query_string})
        # The emulator lets nobody choose the id; here it is taken over, so that a test knows what to look for.
        request_id = request.headers.get("X-Amzn-RequestId") or str(uuid.uuid4())
        event = await request.read()
        response = self._answer(await self._invoker.invoke(event, request_id=request_id))
        response.headers["X-Amzn-RequestId"] = request_id
        if self._style == "lambda" and request.headers.get("X-Amz-Log-Type") == "Tail":
            response.headers["X-Amz-Log-Result"] = self._log(request_id)
        return response

    def _answer(self, outcome: Outcome) -> web.Response:
        rie = self._style == "rie"
        match outcome:
            case Success(payload, version):
                headers = {} if rie else {"X-Amz-Executed-Version": version}
                return _json(200, payload, headers)
            case FunctionError() if rie and outcome.kind == "timeout":
                return web.Response(text=outcome.message[outcome.message.index("Task timed out") :])
            case FunctionError():
                headers = {"X-Amz-Executed-Version": outcome.executed_version, "X-Amz-Function-Error": "Unhandled"}
                status = 502 if rie and outcome.kind in {"exit", "init"} else 200
                return _json(status, _error_object(outcome), {} if rie else headers)
            case Throttled(reason):
                body = {"Reason": reason, "Type": "User", "message": "Rate Exceeded."}
                return _refusal(429, "TooManyRequestsException", body)
            case Rejected():
                return _refusal(413, outcome.error_type, {"Type": "User", "message": outcome.message})
            case Unreachable(message):
                return _refusal(500, "ServiceException", {"Type": "Service", "Message": message})

    def _knows(self, request: web.Request) -> bool:
        return request.match_info["name"].rpartition("function:")[2] == self._name

    def _unknown(self, request: web.Request) -> web.Response:
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{request.match_info['name']}:$LATEST"
        body = {"Type": "User", "Message": f"Function not found: {arn}"}
        return _refusal(404, "ResourceNotFoundException", body)

    def _log(self, request_id: str) -> str:
        said = [] if self._telemetry is None else self._telemetry.of(HandlerOutput)
        lines = [
            f"START RequestId: {request_id} Version: $LATEST",
            *(each.message for each in said if each.request_id == request_id),
            f"END RequestId: {request_id}",
            f"REPORT RequestId: {request_id}\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB",
        ]
        return base64.b64encode("".join(f"{line}\n" for line in lines).encode()[-4096:]).decode()


def _error_object(error: FunctionError) -> bytes:
    document = {"errorMessage": error.message, "errorType": error.error_type}
    return json.dumps(document | ({"stackTrace": list(error.stack)} if error.stack else {})).encode()


def _json(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **headers})


def _refusal(status: int, error_type: str, body: dict[str, str]) -> web.Response:
    return _json(status, json.dumps(body).encode(), {"x-amzn-ErrorType": error_type})
