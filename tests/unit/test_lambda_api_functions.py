"""Functions through AWS's API: read, listed, invoked."""

from __future__ import annotations

import asyncio
import sys

import pytest

from esmd.api.lambda_api.invoking import MAX_BACKGROUND, MAX_EVENT_BYTES
from esmd.config.schema import CommandFunction, Config, HttpFunction, PythonFunction
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.observe.lambda_api_events import BackgroundFailed, BackgroundInvoked

from support.fake_control import FILE, FakeControl, config_of
from support.functions import function_of
from support.lambda_stage import FUNCTIONS, STARTED, LambdaStage, ScriptedInvoker, sqs_mapping

ARN = "arn:aws:lambda:eu-west-1:000000000000:function:process"
INVOKE = f"{FUNCTIONS}/process/invocations"


@pytest.fixture
async def stage():
    async with LambdaStage() as stage:
        yield stage


@pytest.fixture
def invoker():
    return ScriptedInvoker()


@pytest.fixture
async def running(invoker):
    """A stage whose function `process` is `invoker`."""
    control = FakeControl(config_of("process"), functions={"process": function_of(invoker)})
    async with LambdaStage(control) as stage:
        yield stage


# --- reading


async def test_a_python_function_is_shown_as_far_as_it_is_known(stage):
    document = (await stage.call("GET", f"{FUNCTIONS}/process")).json
    assert set(document) == {"Configuration", "Code"}
    configuration = document["Configuration"]
    assert configuration == (await stage.call("GET", f"{FUNCTIONS}/process/configuration")).json
    revision = configuration.pop("RevisionId")
    assert len(revision) == 36
    assert configuration == {
        "FunctionName": "process",
        "FunctionArn": ARN,
        "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Handler": "process.handle",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": STARTED,
        "Version": "$LATEST",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "CodeSize": 0,
        "Description": "",
        "TracingConfig": {"Mode": "PassThrough"},
    }


async def test_other_forms_are_images_and_secrets_are_not_shown():
    functions = {
        "tool": CommandFunction(
            command=("tool", "--key=secret"),
            handler="main",
            environment={"TOKEN": "secret"},
            timeout=1.5,
            memory_size=512,
            reserved_concurrency=4,
            directory=FILE.parent,
        ),
        "web": HttpFunction(
            url="http://u:secret@127.0.0.1:1", headers={"Authorization": "secret"}, directory=FILE.parent
        ),
    }
    async with LambdaStage(FakeControl(Config(functions=functions))) as stage:
        reply = await stage.call("GET", f"{FUNCTIONS}/tool")
        configuration = reply.json["Configuration"]
        assert (configuration["PackageType"], configuration["Handler"]) == ("Image", "main")
        assert (configuration["Timeout"], configuration["MemorySize"]) == (2, 512), "whole seconds, rounded up"
        assert "Runtime" not in configuration
        assert reply.json["Concurrency"] == {"ReservedConcurrentExecutions": 4}
        replies = [reply, await stage.call("GET", f"{FUNCTIONS}/web"), await stage.call("GET", FUNCTIONS)]
    assert not any(b"secret" in each.body for each in replies)


async def test_the_revision_changes_with_the_settings_and_not_with_secrets():
    revisions = {}
    for name, changes in {
        "plain": {},
        "again": {},
        "slower": {"timeout": 5.0},
        "secret": {"environment": {"A": "1"}},
    }.items():
        config = Config(functions={"f": PythonFunction(handler="a:b", directory=FILE.parent, **changes)})
        async with LambdaStage(FakeControl(config)) as stage:
            revisions[name] = (await stage.call("GET", f"{FUNCTIONS}/f/configuration")).json["RevisionId"]
    assert revisions["plain"] == revisions["again"] == revisions["secret"] != revisions["slower"]


@pytest.mark.parametrize(
    "name",
    ["process", "process:$LATEST", "000000000000:function:process", ARN, f"{ARN}:$LATEST", ARN.replace(":", "%3A")],
)
async def test_a_function_is_found_by_any_of_its_names(stage, name):
    assert (await stage.call("GET", f"{FUNCTIONS}/{name}/configuration")).json["FunctionArn"] == ARN


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("unknown", "unknown"),
        ("process:3", "process:3"),
        ("process?Qualifier=live", "process:live"),
        ("unknown/configuration", "unknown"),
        ("unknown/versions", "unknown"),
    ],
)
async def test_an_unknown_function_or_version_is_not_found(stage, path, shown):
    text = f"Function not found: arn:aws:lambda:eu-west-1:000000000000:function:{shown}"
    assert (await stage.call("GET", f"{FUNCTIONS}/{path}")).error == (404, "ResourceNotFoundException", text)


async def test_two_qualifiers_that_differ_are_refused(stage):
    reply = await stage.call("GET", f"{FUNCTIONS}/process:$LATEST?Qualifier=3")
    text = "The derived qualifier from the function name does not match the specified qualifier."
    assert reply.error == (400, "InvalidParameterValueException", text)


async def test_what_is_no_name_of_a_function_is_refused(stage):
    assert (await stage.call("GET", f"{FUNCTIONS}/no%20name")).error[:2] == (400, "ValidationException")


async def test_functions_are_listed_in_pages():
    async with LambdaStage(FakeControl(config_of(*(f"f{n:03}" for n in range(120))))) as stage:
        names, marker, sizes = [], "", []
        while marker is not None:
            document = (await stage.call("GET", f"{FUNCTIONS}/?Marker={marker}")).json
            names += [each["FunctionName"] for each in document["Functions"]]
            sizes.append(len(document["Functions"]))
            marker = document.get("NextMarker")
    assert names == [f"f{n:03}" for n in range(120)]
    assert sizes == [50, 50, 20]


async def test_versions_are_latest_alone(stage):
    [version] = (await stage.call("GET", f"{FUNCTIONS}/process/versions")).json["Versions"]
    assert (version["FunctionArn"], version["Version"]) == (f"{ARN}:$LATEST", "$LATEST")
    [_, listed] = (await stage.call("GET", f"{FUNCTIONS}?FunctionVersion=ALL")).json["Functions"]
    assert listed == version
    assert (await stage.call("GET", f"{FUNCTIONS}?FunctionVersion=1")).error[1] == "ValidationException"


async def test_a_function_is_where_its_mappings_are():
    arn = "arn:aws:sqs:us-west-2:123456789012:orders"
    control = FakeControl(config_of("process"), mappings=[sqs_mapping(event_source_arn=arn)])
    async with LambdaStage(control) as stage:
        found = (await stage.call("GET", f"{FUNCTIONS}/process/configuration")).json["FunctionArn"]
    assert found == "arn:aws:lambda:us-west-2:123456789012:function:process"


# --- Invoke


async def test_an_invocation_gets_the_payload_and_gives_the_answer(running, invoker):
    reply = await running.call("POST", INVOKE, data=b'{"a": 1}')
    assert (reply.status, reply.body) == (200, b'{"done": true}')
    assert reply.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert "X-Amz-Function-Error" not in reply.headers
    assert invoker.events == [b'{"a": 1}']
    assert invoker.ids == [reply.headers["x-amzn-RequestId"]]


async def test_no_payload_is_an_empty_object(running, invoker):
    assert (await running.call("POST", INVOKE)).status == 200
    assert invoker.events == [b"{}"]


async def test_a_failing_function_answers_with_lambdas_error_object(running, invoker):
    invoker.outcome = FunctionError("exception", "ValueError", "no", stack=("line",))
    reply = await running.call("POST", INVOKE, {})
    assert reply.status == 200
    assert reply.headers["X-Amz-Function-Error"] == "Unhandled"
    request_id = reply.headers["x-amzn-RequestId"]
    assert reply.json == {
        "errorMessage": "no",
        "errorType": "ValueError",
        "requestId": request_id,
        "stackTrace": ["line"],
    }


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Throttled(), (429, "TooManyRequestsException", "Rate Exceeded.")),
        (Unreachable("no route"), (500, "ServiceException", "The function could not be reached: no route")),
        (Rejected("RequestTooLargeException", "too large"), (413, "RequestTooLargeException", "too large")),
    ],
)
async def test_what_was_not_run_is_an_error_of_the_api(running, invoker, outcome, error):
    invoker.outcome = outcome
    reply = await running.call("POST", INVOKE, {})
    assert reply.error == error
    if isinstance(outcome, Throttled):
        assert reply.json["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        assert reply.json["Type"] == "User"


async def test_a_function_without_a_free_place_throttles(running, invoker):
    invoker.limit = 0
    assert (await running.call("POST", INVOKE, {})).error[:2] == (429, "TooManyRequestsException")
    assert invoker.events == []


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
async def test_a_payload_that_is_not_json_is_refused(running, invoker, kind):
    reply = await running.call("POST", INVOKE, data=b"{'a'}", X_Amz_Invocation_Type=kind)
    assert reply.error[:2] == (400, "InvalidRequestContentException")
    assert reply.error[2].startswith("Could not parse request body into json: ")
    assert invoker.events == []


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
async def test_an_unknown_function_is_invoked_in_no_way(running, kind):
    reply = await running.call("POST", f"{FUNCTIONS}/unknown/invocations", {}, X_Amz_Invocation_Type=kind)
    text = "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:unknown:$LATEST"
    assert reply.error == (404, "ResourceNotFoundException", text)


async def test_a_function_that_may_not_be_invoked_is_refused(stage):
    reply = await stage.call("POST", INVOKE, {})
    assert reply.error == (400, "InvalidParameterValueException", "the function process: its endpoint is not local")
    assert reply.headers["X-Esmd-Detail"] == "allow it"


async def test_a_dry_run_runs_nothing(running, invoker):
    reply = await running.call("POST", INVOKE, {}, X_Amz_Invocation_Type="DryRun")
    assert (reply.status, reply.body, invoker.events) == (204, b"", [])


async def test_an_unknown_type_of_invocation_is_refused(running, invoker):
    reply = await running.call("POST", INVOKE, {}, X_Amz_Invocation_Type="Later")
    assert reply.error == (
        400,
        "ValidationException",
        (
            "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must "
            "satisfy enum value set: [Event, RequestResponse, DryRun]"
        ),
    )


async def test_a_client_context_is_refused_rather_than_lost(running, invoker):
    reply = await running.call("POST", INVOKE, {}, X_Amz_Client_Context="e30=")
    assert reply.error == (400, "InvalidParameterValueException", "ClientContext is not supported by esmd.")
    assert invoker.events == []


# --- in the background


async def said(stage, kind):
    """The event of that kind, once there is one."""
    while not (events := stage.telemetry.of(kind)):
        await asyncio.sleep(0)
    [event] = events
    return event


async def test_an_event_is_accepted_at_once_and_run_in_the_background(running, invoker):
    invoker.gate = asyncio.Event()
    reply = await running.call("POST", INVOKE, {"a": 1}, X_Amz_Invocation_Type="Event")
    assert (reply.status, reply.body) == (202, b"")
    assert running.telemetry.events == []
    invoker.gate.set()
    event = await said(running, BackgroundInvoked)
    assert (event.function, event.request_id) == ("process", reply.headers["x-amzn-RequestId"])
    assert invoker.events == [b'{"a": 1}']


@pytest.mark.parametrize(
    ("outcome", "name", "message"),
    [
        (FunctionError("exception", "ValueError", "no"), "function_error", "ValueError: no"),
        (Throttled(), "throttled", "ReservedFunctionConcurrentInvocationLimitExceeded"),
        (Unreachable("no route"), "unreachable", "no route"),
        (Rejected("RequestTooLargeException", "too large"), "rejected", "too large"),
    ],
)
async def test_an_event_that_fails_is_said(running, invoker, outcome, name, message):
    invoker.outcome = outcome
    assert (await running.call("POST", INVOKE, {}, X_Amz_Invocation_Type="Event")).status == 202
    event = await said(running, BackgroundFailed)
    assert (event.outcome, event.message) == (name, message)


async def test_events_wait_for_a_place_up_to_a_bound_and_end_with_the_daemon(running, invoker):
    invoker.limit = 1
    invoker.gate = asyncio.Event()
    for _ in range(MAX_BACKGROUND):
        assert (await running.call("POST", INVOKE, {}, X_Amz_Invocation_Type="Event")).status == 202
    reply = await running.call("POST", INVOKE, {}, X_Amz_Invocation_Type="Event")
    assert reply.error[:2] == (429, "TooManyRequestsException")
    assert len(invoker.events) == 1
    await running.api.close()
    assert [event.outcome for event in running.telemetry.of(BackgroundFailed)] == ["cancelled"] * MAX_BACKGROUND


async def test_an_event_may_be_smaller_than_a_request(running, invoker):
    body = b'"%b"' % (b"x" * MAX_EVENT_BYTES)
    invoker.outcome = Success(b"null")
    assert (await running.call("POST", INVOKE, data=body)).status == 200
    reply = await running.call("POST", INVOKE, data=body, X_Amz_Invocation_Type="Event")
    text = "Request must be smaller than 1048576 bytes for the InvokeFunction operation"
    assert reply.error == (413, "RequestTooLargeException", text)
