"""The forms a function can have, each made from the same handlers, and what cannot be said of a form, with the reason.

| form      | what runs                                                                                         |
|-----------|---------------------------------------------------------------------------------------------------|
| `worker`  | `EnvironmentPool` of our own Python workers                                                       |
| `inline`  | `InlineInvoker`, in this process                                                                  |
| `command` | `EnvironmentPool` of processes of the official Python runtime client, over the Runtime API        |
| `http`    | `HttpInvoker`, to a server that answers as the Runtime Interface Emulator, with workers behind it |
| `lambda`  | `LambdaInvoker`, to a server that answers as Lambda's Invoke API, with workers behind it          |

A claim names the abilities it needs; for a form that lacks one it is skipped, with the form's reason.

| ability       | what it takes                                                                     |
|---------------|-----------------------------------------------------------------------------------|
| `processes`   | the handler runs in processes of its own, which can crash and be killed           |
| `at hand`     | nothing stands between the invoker and the handler, so that it sees all of it     |
| `async`       | handlers may be async                                                             |
| `our runtime` | the handler is loaded, called and complained about by `esmd.invoke.runtime`       |
| `our id`      | the handler is told the request id that the invoker was given                     |
| `empty`       | an answer without a body is an answer                                             |
| `output`      | what the handler prints comes back                                                |
| `all output`  | all of it, whole, each line with its stream, also between invocations             |
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from esmd.invoke.command import CommandEnvironment
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.http import HttpInvoker
from esmd.invoke.inline import InlineInvoker
from esmd.invoke.lambda_api import LambdaInvoker
from esmd.invoke.pool import EnvironmentPool
from esmd.invoke.protocol import HttpSpec, LambdaSpec
from esmd.pollers.localstack import Connection, LocalStackClients

from support.function_servers import FunctionServer
from support.invocations import Recorder, command, function

if TYPE_CHECKING:
    from esmd.invoke.protocol import Invoker

FAR_TIMEOUT = 60.0
"""Seconds that a daemon waits for a function behind a connection, whose own timeout comes first."""


@dataclass
class Stage:
    """Where the functions of one test live; everything on it is closed in the end, the newest first.

    Attributes:
        said: what the invokers under test said.
        said_there: what was said where the handlers' processes are: the same, or the server's own record.
        invokers: all that were made, those of servers too.
    """

    said: Recorder = field(default_factory=Recorder)
    said_there: Recorder = field(default_factory=Recorder)
    invokers: list[Invoker] = field(default_factory=list)
    _closing: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def keep(self, invoker: Invoker) -> Invoker:
        """See to it that the invoker is closed."""
        self.invokers.append(invoker)
        self._closing.push_async_callback(invoker.close)
        return invoker

    async def serve(self, server: contextlib.AbstractAsyncContextManager[Any]) -> Any:
        """Start a server; it is stopped before what was made earlier is closed."""
        return await self._closing.enter_async_context(server)

    async def clear(self) -> None:
        await self._closing.aclose()


class Form:
    """One form."""

    name: ClassVar[str]
    lacks: ClassVar[dict[str, str]] = {}

    def has(self, ability: str) -> bool:
        return ability not in self.lacks

    def stage(self) -> Stage:
        """A stage on which the invoker's own telemetry tells of the processes as well."""
        said = Recorder()
        return Stage(said, said)

    async def make(self, stage: Stage, handler: str, **changes: Any) -> Invoker:
        """An invoker of `handler` (`module:callable`) with these changes to its specification; nothing runs yet."""
        raise NotImplementedError


class Worker(Form):
    name = "worker"

    async def make(self, stage: Stage, handler: str, **changes: Any) -> Invoker:
        return stage.keep(_workers(stage, handler, changes))


class Inline(Form):
    name = "inline"
    lacks: ClassVar = {
        "processes": "an inline handler shares the daemon's process",
        "output": "what an inline handler prints goes where the daemon's own output goes",
        "all output": "what an inline handler prints goes where the daemon's own output goes",
    }

    async def make(self, stage: Stage, handler: str, **changes: Any) -> Invoker:
        stop = {"stop_seconds": changes.pop("stop_seconds")} if "stop_seconds" in changes else {}
        return stage.keep(InlineInvoker(function(handler, **changes), telemetry=stage.said, **stop))


class Command(Form):
    name = "command"
    lacks: ClassVar = {
        "async": "the official runtime client does not await what a handler returns",
        "our runtime": "the official runtime client has words and ways of its own",
    }

    async def make(self, stage: Stage, handler: str, **changes: Any) -> Invoker:
        folders = changes.pop("python_path", ())
        if folders:
            changes["working_directory"] = folders[0]  # where the client looks for the handler
        name = handler.replace(":", ".")
        spec = command((sys.executable, "-m", "awslambdaric", name), handler=name, **changes)
        return stage.keep(EnvironmentPool(spec, launch=CommandEnvironment.launch, telemetry=stage.said))


class _Remote(Form):
    style: ClassVar[Literal["rie", "lambda"]]

    def stage(self) -> Stage:
        """A stage with two records: what the daemon's invoker says, and what is said behind the server."""
        return Stage()

    async def make(self, stage: Stage, handler: str, **changes: Any) -> Invoker:
        """As for every form; `patience` is the daemon's own timeout, else far behind that of the function."""
        shared = {
            "name": changes.get("name", "orders"),
            "timeout": changes.pop("patience", FAR_TIMEOUT),
            "concurrency": changes.get("concurrency", 1),
            "region": "eu-west-1",
            "account_id": "000000000000",
        }
        behind = stage.keep(_workers(stage, handler, changes))
        server = FunctionServer(behind, style=self.style, telemetry=stage.said_there)
        return stage.keep(await self.connect(stage, await stage.serve(server), shared))

    async def connect(self, stage: Stage, server: FunctionServer, shared: dict[str, Any]) -> Invoker:
        raise NotImplementedError


class Http(_Remote):
    name = "http"
    style = "rie"
    lacks: ClassVar = {
        "at hand": "its processes are those of the server",
        "empty": "an emulator whose runtime has ended answers with nothing",
        "output": "an HTTP answer carries no output",
        "all output": "an HTTP answer carries no output",
    }

    async def connect(self, stage: Stage, server: FunctionServer, shared: dict[str, Any]) -> Invoker:
        return HttpInvoker(HttpSpec(url=server.url, **shared), telemetry=stage.said)


class Lambda(_Remote):
    name = "lambda"
    style = "lambda"
    lacks: ClassVar = {
        "at hand": "its processes are those of the service",
        "our id": "Lambda gives every invocation an id of its own",
        "all output": "Lambda sends the last 4 KB of the log",
    }

    async def connect(self, stage: Stage, server: FunctionServer, shared: dict[str, Any]) -> Invoker:
        def connection(_service: str, region: str | None, endpoint_url: str | None = None, /) -> Connection:
            return Connection(endpoint_url=endpoint_url, region=region, dummy_credentials=True)

        clients = await stage.serve(LocalStackClients(connection, profile=None, pool=10))
        spec = LambdaSpec(target="function", endpoint_url=server.url, **shared)
        return LambdaInvoker(spec, clients=clients, telemetry=stage.said)


def _workers(stage: Stage, handler: str, changes: dict[str, Any]) -> Invoker:
    return EnvironmentPool(function(handler, **changes), launch=PythonEnvironment.launch, telemetry=stage.said_there)


_NEEDS_CLIENT = pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None, reason="pip install awslambdaric (Linux)"
)
FORMS: list[Form] = [Worker(), Inline(), Command(), Http(), Lambda()]


def params(*names: str, lacking: tuple[str, ...] = ()) -> list[Any]:
    """The forms of these names, all if none is given; those that lack an ability are skipped with their reason."""
    return [_param(form, lacking) for form in FORMS if not names or form.name in names]


def needs(*abilities: str) -> pytest.MarkDecorator:
    """Only for the forms that have these abilities."""
    return pytest.mark.parametrize("form", params(lacking=abilities))


def only(*names: str) -> pytest.MarkDecorator:
    """Only for the forms of these names: the claim is about what is special in them."""
    return pytest.mark.parametrize("form", params(*names))


def _param(form: Form, abilities: tuple[str, ...]) -> Any:
    reasons = [form.lacks[ability] for ability in abilities if ability in form.lacks]
    marks = [pytest.mark.skip(reason=f"{form.name}: {reasons[0]}")] if reasons else []
    if form.name == "command":
        marks.append(_NEEDS_CLIENT)
    return pytest.param(form, id=form.name, marks=marks)
