"""Invokes a function of Lambda, or of anything that has its Invoke API: LocalStack, MiniStack, moto, `sam local`.

| answer                                                              | outcome                                           |
|---------------------------------------------------------------------|---------------------------------------------------|
| 200, longer than Lambda allows; the rest is not read                | `FunctionError`                                   |
| 200 with `X-Amz-Function-Error`                                     | `FunctionError`, read from the body               |
| 200 with `X-Amz-Executed-Version`                                   | `Success` of that version                         |
| 200 without either, with a sign of `esmd.invoke.error_objects`      | `FunctionError`                                   |
| 200 without either                                                  | `Success`                                         |
| 413, `RequestTooLargeException`                                     | `Rejected`                                        |
| 429                                                                 | `Throttled`, with Lambda's reason                 |
| 501 to a request that asks for the log                              | none: the same again, and from then on without    |
| any other error, of Lambda or of the way to it                      | `Unreachable`                                     |

Other errors of the kind 4xx are about the function's name, its state, the permissions or the credentials: somebody can put
them right, and until then no record is to be given up for them.

The last 4 KB of the function's log come back with the answer, and are handler output. Lambda's own lines in it (`START`,
`END`, `REPORT` and the like) are left out: functions of other forms have none.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import re
from typing import TYPE_CHECKING, Any

from esmd.invoke.error_objects import read_emulator, read_error
from esmd.invoke.output import Lines
from esmd.invoke.protocol import LambdaSpec, StartFailed
from esmd.invoke.remote import Call, RemoteInvoker, read_at_most, response_too_large
from esmd.mappings.outcomes import LATEST, Outcome, Rejected, Success, Throttled, Unreachable
from esmd.observe.events import HandlerOutput
from esmd.pollers.errors import Failure, classify

if TYPE_CHECKING:
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

START_SECONDS = 10.0
"""How long the question whether the function exists may take; an unanswered one holds nothing up."""

_READ_BYTES = 65_536
_FILE_BYTES = 2**20
"""Above it the event is handed over as a file: aiohttp, below the client, warns of large bytes."""

_PLATFORM_LINE = re.compile(
    r"(START|END) RequestId: |REPORT RequestId: |INIT_START |INIT_REPORT |XRAY TraceId: "
    r'|\{"time":"[^"]*","type":"platform\.'
)
"""What Lambda itself writes into a function's log, as text or as JSON."""


class LambdaInvoker(RemoteInvoker[LambdaSpec]):
    """An `Invoker` whose function is one of Lambda; see the module's table.

    Args:
        spec: the function.
        clients: of the daemon.
        telemetry: where events go.
    """

    def __init__(self, spec: LambdaSpec, *, clients: LocalStackClients, telemetry: Telemetry) -> None:
        super().__init__(spec, telemetry=telemetry)
        self._clients = clients
        self._log_type = "Tail"
        self._endpoint = spec.endpoint_url or "Lambda"
        self._which = {"FunctionName": spec.target}
        if spec.qualifier is not None:
            self._which["Qualifier"] = spec.qualifier

    async def start(self) -> None:
        """Ask for the function's configuration, once. Only a clear no counts: not everything can be asked.

        Raises:
            StartFailed: there is no such function.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._look_up()
        except Exception as error:
            failure = classify(error)
            if failure.code == "ResourceNotFoundException":
                raise StartFailed(failure.code, self._trouble(failure)) from error

    async def _look_up(self) -> None:
        client = await self._client()
        try:
            await client.get_function_configuration(**self._which)
        except client.exceptions.ResourceNotFoundException as unknown:
            if self._spec.qualifier is None:
                raise
            try:  # LocalStack has no configuration of an alias
                await client.get_alias(FunctionName=self._spec.target, Name=self._spec.qualifier)
            except client.exceptions.ResourceNotFoundException:
                raise unknown from None

    @property
    def _place(self) -> str:
        return f"{self._endpoint} ({self._spec.region})"

    async def _client(self) -> Any:
        region, url = self._spec.region, self._spec.endpoint_url
        client, _ = await self._clients.client("lambda", region, endpoint_url=url)
        self._endpoint = client.meta.endpoint_url
        return client

    async def _call(self, call: Call) -> Outcome:
        try:
            client = await self._client()
            call.sent = True  # nobody tells how far it comes from here
            try:
                return await self._invoke(client, call)
            except Exception as error:
                if self._log_type == "None" or classify(error).status != 501:
                    raise
                self._log_type = "None"  # `sam local` refuses the log, and has run nothing
                return await self._invoke(client, call)
        except Exception as error:  # noqa: BLE001 - classified by its text
            return self._refusal(error)

    async def _invoke(self, client: Any, call: Call) -> Outcome:
        answer = await client.invoke(
            **self._which,
            InvocationType="RequestResponse",
            LogType=self._log_type,
            Payload=call.event if len(call.event) <= _FILE_BYTES else io.BytesIO(call.event),
        )
        async with answer["Payload"] as payload:
            body = await read_at_most(payload.iter_chunks(_READ_BYTES))
        self._show_log(answer.get("LogResult", ""), call.request_id)
        version = answer.get("ExecutedVersion")
        if body is None:
            return response_too_large(version or LATEST)
        if answer.get("FunctionError") is not None:
            return read_error(body, executed_version=version or LATEST)
        if version:
            return Success(body, version)
        return read_emulator(body) or Success(body)

    def _refusal(self, error: Exception) -> Outcome:
        failure = classify(error)
        if failure.status == 413 or failure.code == "RequestTooLargeException":
            return Rejected("RequestTooLargeException", failure.message)
        if failure.status == 429:
            return Throttled(getattr(error, "response", {}).get("Reason") or failure.code)
        return Unreachable(self._trouble(failure))

    def _trouble(self, failure: Failure) -> str:
        hint = ""
        if failure.code == "ResourceNotFoundException":
            hint = "; create it there, or look at the function's `lambda`, `endpoint_url` and region"
        return f"{self._place}: {failure.code}: {failure.message}{hint}"

    def _show_log(self, tail: str, request_id: str) -> None:
        lines = Lines(lambda line: self._printed(line, request_id))
        try:
            lines.feed(base64.b64decode(tail))
        except binascii.Error:  # an emulator that sends it as it is
            lines.feed(tail.encode())
        lines.flush()

    def _printed(self, line: str, request_id: str) -> None:
        if line.strip() and not _PLATFORM_LINE.match(line):
            event = HandlerOutput(function=self._spec.name, request_id=request_id, stream="stdout", message=line)
            self._telemetry.emit(event)

    async def _release(self) -> None:
        """The client belongs to the daemon."""
