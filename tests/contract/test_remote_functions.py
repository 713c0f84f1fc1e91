"""Functions that live elsewhere, on real servers: MiniStack's Lambda, LocalStack's, and a container's emulator."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.http import HttpInvoker
from esmd.invoke.lambda_api import LambdaInvoker
from esmd.invoke.pool import EnvironmentPool
from esmd.invoke.protocol import HttpSpec, LambdaSpec, StartFailed
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.observe.events import EnvironmentStarted, HandlerOutput
from esmd.pollers.localstack import Connection, LocalStackClients

from support.function_servers import FunctionServer
from support.invocations import Recorder, function, is_running, until
from support.servers import LOCALSTACK_LAMBDA

if TYPE_CHECKING:
    from types_aiobotocore_lambda import LambdaClient

ID = "8f3c5d0e-0000-4000-8000-000000000001"
PLACE: dict[str, Any] = {"timeout": 60.0, "concurrency": 10, "region": "us-east-1", "account_id": "000000000000"}

HANDLER = """
import os, sys, time

def handler(event, context):
    print("received", event["do"])
    match event["do"]:
        case "raise":
            raise ValueError("no stock")
        case "exit":
            sys.exit(3)
        case "sleep":
            time.sleep(60)
        case "version":
            return context.function_version
        case "nothing":
            return None
    return event
"""


_SHARED: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """A server with Lambda, and what it makes of errors.

    Attributes:
        url: its endpoint.
        client: of its Lambda.
        exact: whether it keeps an error's type and stack, as Lambda does.
    """

    url: str
    clients: LocalStackClients
    client: LambdaClient
    exact: bool

    async def any(self) -> str:
        """A function for who only reads it: made once for each server."""
        if self.url not in _SHARED:
            _SHARED[self.url] = await self.create()
        return _SHARED[self.url]

    async def create(self, code: str = HANDLER, **more: Any) -> str:
        """A function of its own, ready; its name."""
        name = f"f-{uuid.uuid4().hex[:12]}"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.py", code)
        await self.client.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/any",
            Handler="app.handler",
            Code={"ZipFile": packed.getvalue()},
            **{"Timeout": 10, **more},
        )
        await self.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        return name


@pytest.fixture(params=["ministack", "localstack"])
async def place(request):
    url = request.getfixturevalue(request.param)
    if request.param == "localstack" and not LOCALSTACK_LAMBDA.exists():
        pytest.skip("LocalStack's Lambda has nothing to run functions with: make localstack")

    def connect(service, region, endpoint_url=None):
        return Connection(endpoint_url=endpoint_url or url, region=region, dummy_credentials=True)

    async with LocalStackClients(connect, profile=None, pool=10) as clients:
        client, _ = await clients.client("lambda", "us-east-1")
        yield Place(url, clients, client, exact=request.param == "localstack")


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture
async def make(place, telemetry):
    made = []

    def build(target, **changes):
        spec = LambdaSpec(**{"name": "orders", "target": target, **PLACE, **changes})
        made.append(LambdaInvoker(spec, clients=place.clients, telemetry=telemetry))
        return made[-1]

    yield build
    for invoker in made:
        await invoker.close()


async def call(invoker, do, **more):
    return await invoker.invoke(json.dumps({"do": do, **more}).encode(), request_id=ID)


# --- Lambda's Invoke API


async def test_a_function_of_lambda_answers(place, make):
    invoker = make(await place.any())
    await invoker.start()
    outcome = await call(invoker, "echo", name="Zoë \U0001f600")
    assert isinstance(outcome, Success)
    assert json.loads(outcome.payload) == {"do": "echo", "name": "Zoë \U0001f600"}
    assert await call(invoker, "nothing") == Success(b"null")


async def test_its_exception_is_a_function_error_with_type_and_stack(place, make):
    outcome = await call(make(await place.any()), "raise")
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.message) == ("exception", "no stock")
    if place.exact:
        assert outcome.error_type == "ValueError"
        assert 'raise ValueError("no stock")' in outcome.stack[-1]
    else:
        assert outcome.error_type == "Runtime.HandlerError", "MiniStack's workers keep types to themselves"


async def test_its_timeout_and_its_end_are_function_errors(place, make):
    invoker = make(await place.create(Timeout=1))
    late = await call(invoker, "sleep")
    assert isinstance(late, FunctionError)
    assert (late.kind, late.error_type) == ("timeout", "Sandbox.Timedout")
    assert late.message.endswith("Task timed out after 1.00 seconds")
    ended = await call(invoker, "exit")
    assert isinstance(ended, FunctionError)
    if place.exact:
        assert (ended.kind, ended.error_type) == ("exit", "Runtime.ExitError")
        assert ended.message.endswith("Runtime exited with error: exit status 3")
    assert isinstance(await call(invoker, "echo"), Success), "the next one has a new process"


async def test_a_module_that_does_not_import_is_a_function_error(place, make):
    outcome = await call(make(await place.create("import nothing_there")), "echo")
    assert isinstance(outcome, FunctionError)
    assert "nothing_there" in outcome.message
    if place.exact:
        assert (outcome.kind, outcome.error_type) == ("init", "Runtime.ImportModuleError")


async def test_a_version_and_an_alias_run_what_they_stand_for(place, make):
    name = await place.any()
    version = (await place.client.publish_version(FunctionName=name))["Version"]
    await place.client.get_waiter("function_active_v2").wait(FunctionName=name, Qualifier=version)
    await place.client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    arn = (await place.client.get_function_configuration(FunctionName=name))["FunctionArn"]
    assert await call(make(name), "version") == Success(b'"$LATEST"')
    for target, qualifier in ((name, version), (name, "live"), (arn, "live")):
        invoker = make(target, qualifier=qualifier)
        await invoker.start()
        assert await call(invoker, "version") == Success(f'"{version}"'.encode(), version)
        failed = await call(invoker, "raise")
        assert isinstance(failed, FunctionError)
        assert failed.executed_version == version


async def test_what_it_prints_is_shown_and_what_lambda_adds_is_not(place, make, telemetry):
    assert isinstance(await call(make(await place.any()), "echo"), Success)
    assert telemetry.events == [
        HandlerOutput(function="orders", request_id=ID, stream="stdout", message="received echo")
    ]


async def test_a_function_without_concurrency_throttles_with_lambdas_reason(place, make):
    name = await place.create()
    await place.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert await call(make(name), "echo") == Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    await place.client.delete_function_concurrency(FunctionName=name)
    assert isinstance(await call(make(name), "echo"), Success)


@pytest.mark.parametrize("qualifier", [None, "7"])
async def test_a_function_that_is_not_there_does_not_start_and_is_unreachable(place, make, qualifier):
    target = "nobody" if qualifier is None else await place.any()
    invoker = make(target, qualifier=qualifier)
    with pytest.raises(StartFailed, match="Function not found"):
        await invoker.start()
    outcome = await call(invoker, "echo")
    assert isinstance(outcome, Unreachable)
    assert outcome.message.startswith(
        f"{place.url} (us-east-1): ResourceNotFoundException: Function not found: arn:aws:"
    )


async def test_a_function_created_later_starts_then(place, make):
    invoker = make("later")
    with pytest.raises(StartFailed):
        await invoker.start()
    name = await place.create()
    await make(name).start()


async def test_lambdas_own_url_works_as_a_url_as_well(place, telemetry):
    name = await place.any()
    spec = HttpSpec(name="orders", url=f"{place.url}/2015-03-31/functions/{name}/invocations", **PLACE)
    invoker = HttpInvoker(spec, telemetry=telemetry)
    assert await call(invoker, "version") == Success(b'"$LATEST"')
    failed = await call(invoker, "raise")
    assert isinstance(failed, FunctionError)
    assert failed.message == "no stock"
    await invoker.close()


# --- the stand-in servers, which the suite of all forms relies on


class Stage:
    """A pool of workers behind a server, and the invoker that calls it."""

    def __init__(self, style, handler, telemetry, **changes):
        self.there = Recorder()
        self.pool = EnvironmentPool(
            function(handler, **{"concurrency": 10, **changes}), launch=PythonEnvironment.launch, telemetry=self.there
        )
        self.server = FunctionServer(self.pool, style=style, telemetry=self.there)
        self.telemetry = telemetry

    async def __aenter__(self):
        server = await self.server.__aenter__()

        def connect(service, region, endpoint_url=None):
            return Connection(endpoint_url=server.url, region=region, dummy_credentials=True)

        self.clients = LocalStackClients(connect, profile=None, pool=1)
        if server.url.endswith("/invocations"):
            self.invoker = HttpInvoker(HttpSpec(name="orders", url=server.url, **PLACE), telemetry=self.telemetry)
        else:
            spec = LambdaSpec(name="orders", target="function", **PLACE)
            self.invoker = LambdaInvoker(spec, clients=self.clients, telemetry=self.telemetry)
        return self

    async def __aexit__(self, *_):
        await self.invoker.close()
        await self.clients.__aexit__(None, None, None)
        await self.server.__aexit__()
        await self.pool.close()


@pytest.fixture(params=["rie", "lambda"])
async def stage(request, telemetry):
    stages = []

    async def build(handler, **changes):
        made = Stage(request.param, handler, telemetry, **changes)
        stages.append(await made.__aenter__())
        return made

    build.style = request.param
    yield build
    for made in stages:
        await made.__aexit__()


async def ask(invoker, event):
    return await invoker.invoke(json.dumps(event).encode(), request_id=ID)


async def test_the_stand_in_runs_the_event_it_is_sent(stage):
    made = await stage("answering:echo")
    await made.invoker.start()
    assert await ask(made.invoker, {"a": 1}) == Success(b'{"a": 1}')


async def test_the_stand_in_tells_of_errors_as_the_real_ones_do(stage):
    made = await stage("failing:refuse")
    outcome = await ask(made.invoker, None)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "exception"
    assert outcome.stack


async def test_a_timeout_of_the_stand_in_is_a_timeout(stage):
    made = await stage("failing:hang", timeout=0.3)
    outcome = await ask(made.invoker, 60)
    assert isinstance(outcome, FunctionError)
    assert (outcome.kind, outcome.error_type) == ("timeout", "Sandbox.Timedout")


async def test_the_stand_in_throttles_with_a_reason(stage):
    made = await stage("answering:echo", concurrency=0)
    assert await ask(made.invoker, None) == Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")


async def test_what_is_given_up_here_is_ended_there(stage):
    made = await stage("failing:hang")
    running = asyncio.create_task(ask(made.invoker, 60))
    await until(lambda: made.there.of(HandlerOutput))
    pid = made.there.of(EnvironmentStarted)[0].pid
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not is_running(pid))


async def test_a_stand_in_knows_one_function_only(stage, telemetry):
    made = await stage("answering:echo")
    if stage.style == "rie":
        spec = HttpSpec(name="orders", url=made.server.url.replace("/function/", "/other/"), **PLACE)
        other = HttpInvoker(spec, telemetry=telemetry)
        outcome = await ask(other, None)
        await other.close()
        assert isinstance(outcome, FunctionError)
        assert outcome.error_type == "Http.404"
    else:
        other = LambdaInvoker(
            LambdaSpec(name="orders", target="other", **PLACE), clients=made.clients, telemetry=telemetry
        )
        with pytest.raises(StartFailed, match="other"):
            await other.start()
        assert isinstance(await ask(other, None), Unreachable)


async def test_an_event_above_the_limit_is_not_sent(stage):
    made = await stage("answering:echo")
    assert isinstance(await made.invoker.invoke(b" " * 6_291_457, request_id=ID), Rejected)
    assert made.server.requests == []
