"""Whatever a client sends, the API answers as AWS would: never a traceback, never a status that is not meant."""

from __future__ import annotations

import asyncio
import contextlib
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esmd.api.lambda_api.answers import configuration
from esmd.api.lambda_api.errors import STATUSES, LambdaError
from esmd.api.lambda_api.mappings import created, updated
from esmd.api.lambda_api.members import read_object
from esmd.observe.lambda_api_events import RequestFailed

from support.fake_control import FakeControl, config_of
from support.functions import function_of
from support.lambda_stage import (
    FIFO,
    FUNCTIONS,
    MAPPINGS,
    QUEUE,
    STREAM,
    TABLE,
    LambdaStage,
    ScriptedInvoker,
    dynamodb_mapping,
    kinesis_mapping,
    sqs_mapping,
)

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
        st.sampled_from([QUEUE, FIFO, STREAM, TABLE, "process", "LATEST", '{"body": {"a": [1]}}', "", "\ud800"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.text(max_size=10),
                st.sampled_from(["Filters", "Pattern", "MaximumConcurrency", "OnFailure", "OnSuccess", "Destination"]),
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    [
        "EventSourceArn",
        "FunctionName",
        "Enabled",
        "BatchSize",
        "FilterCriteria",
        "MaximumBatchingWindowInSeconds",
        "ParallelizationFactor",
        "StartingPosition",
        "StartingPositionTimestamp",
        "DestinationConfig",
        "MaximumRecordAgeInSeconds",
        "BisectBatchOnFunctionError",
        "MaximumRetryAttempts",
        "Tags",
        "TumblingWindowInSeconds",
        "Topics",
        "SelfManagedEventSource",
        "FunctionResponseTypes",
        "ScalingConfig",
        "KMSKeyArn",
        "MetricsConfig",
        "LoggingConfig",
        "ProvisionedPollerConfig",
        "UUID",
    ]
)
BODIES = st.dictionaries(st.one_of(MEMBERS, st.text(max_size=10)), JSON, max_size=5)
SENSIBLE = st.fixed_dictionaries(
    {"EventSourceArn": st.sampled_from([QUEUE, FIFO, STREAM, TABLE]), "FunctionName": st.just("process")},
    optional={
        "StartingPosition": st.sampled_from(["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"]),
        "StartingPositionTimestamp": st.integers(0, 2_000_000_000),
        "BatchSize": st.integers(0, 20),
        "MaximumBatchingWindowInSeconds": st.integers(0, 301),
        "Enabled": st.booleans(),
        "MaximumRetryAttempts": st.integers(-2, 10_001),
        "ParallelizationFactor": st.integers(0, 11),
        "TumblingWindowInSeconds": st.integers(-1, 901),
        "FunctionResponseTypes": st.lists(st.just("ReportBatchItemFailures"), max_size=2),
        "ScalingConfig": st.one_of(st.just({}), st.builds(lambda n: {"MaximumConcurrency": n}, st.integers(0, 1001))),
        "FilterCriteria": st.one_of(st.just({}), st.just({"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]})),
        "DestinationConfig": st.one_of(st.just({}), st.just({"OnFailure": {"Destination": QUEUE}})),
        "ProvisionedPollerConfig": st.just({}),
        "Tags": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    },
)
SEGMENTS = st.one_of(
    st.sampled_from(
        [
            "2015-03-31",
            "2017-03-31",
            "event-source-mappings",
            "functions",
            "tags",
            "process",
            "orders",
            "invocations",
            "configuration",
            "versions",
            "arn:aws:lambda:eu-west-1:000000000000:function:process",
            "00000000-0000-4000-8000-000000000000",
        ]
    ),
    st.text(max_size=10),
)
PATHS = st.one_of(
    st.sampled_from(
        [MAPPINGS, f"{MAPPINGS}/orders", FUNCTIONS, f"{FUNCTIONS}/process/invocations", "/2017-03-31/tags/x"]
    ),
    st.builds(lambda name: f"{MAPPINGS}/{name}", SEGMENTS.map(lambda text: quote(text, safe=":$"))),
    st.builds(
        lambda parts: "/2015-03-31/" + "/".join(quote(part, safe=":$") for part in parts),
        st.lists(SEGMENTS, max_size=4),
    ),
    st.builds(lambda part: f"/2017-03-31/tags/{quote(part, safe='')}x", SEGMENTS),
)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(
            ["MaxItems", "Marker", "FunctionName", "EventSourceArn", "Qualifier", "FunctionVersion", "tagKeys"]
        ),
        st.one_of(st.text(max_size=10), st.integers().map(str), st.sampled_from([QUEUE, "process", "$LATEST"])),
    ),
    max_size=3,
).map(lambda pairs: "&".join(f"{name}={quote(value)}" for name, value in pairs))
RAW = st.one_of(st.binary(max_size=40), st.one_of(JSON, BODIES, SENSIBLE).map(lambda value: json.dumps(value).encode()))
TOLD = (
    "UUID",
    "FunctionArn",
    "LastModified",
    "State",
    "StateTransitionReason",
    "EventSourceMappingArn",
    "LastProcessingResult",
)
"""What an answer has and a request has not."""


def control():
    mappings = [sqs_mapping(), kinesis_mapping(), dynamodb_mapping()]
    functions = {"process": function_of(ScriptedInvoker())}
    return FakeControl(config_of("process", "other"), functions=functions, mappings=mappings)


@pytest.fixture(scope="module")
def served():
    """A stage in a loop of its own, for all examples, and what runs something there."""
    with asyncio.Runner() as runner:
        stage = LambdaStage(control())
        runner.run(stage.__aenter__())
        try:
            yield stage, runner.run
        finally:
            runner.run(stage.__aexit__())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    PATHS,
    QUERIES,
    RAW,
    st.sampled_from(["", "Event", "DryRun", "RequestResponse", "x"]),
)
def test_every_request_is_answered_as_aws_answers(served, method, path, query, body, kind):
    stage, run = served
    target = f"{path}?{query}" if query else path
    reply = run(stage.call(method, target, data=body, X_Amz_Invocation_Type=kind))
    assert reply.headers["x-amzn-RequestId"]
    if reply.status in (202, 204) and not reply.body:
        return
    document = reply.json
    if reply.status in (200, 202):
        assert "X-Amzn-ErrorType" not in reply.headers
    else:
        status, error_type, text = reply.error
        assert STATUSES[error_type] == status
        assert status < 500
        assert isinstance(text, str)
        assert set(document) <= {"message", "Message", "Type", "Reason"}
    assert b"Traceback" not in reply.body
    assert stage.telemetry.of(RequestFailed) == []


@given(RAW)
def test_a_body_is_an_object_or_refused(body):
    with contextlib.suppress(LambdaError):
        assert isinstance(read_object(body), dict)


def attempted(make, *arguments, **options):
    """What is made, or the error that refuses it, which is AWS's."""
    try:
        return make(*arguments, **options)
    except LambdaError as error:
        return error


@given(st.one_of(BODIES, SENSIBLE, st.builds(lambda a, b: a | b, SENSIBLE, BODIES)), st.uuids())
def test_a_create_makes_a_mapping_or_is_refused(document, uuid):
    made = attempted(created, json.loads(json.dumps(document)), uuid=uuid)
    if isinstance(made, LambdaError):
        assert STATUSES[made.error_type] == 400
        return
    mapping, tags = made
    assert mapping.name == str(uuid)
    assert mapping.event_source_arn == document["EventSourceArn"]
    assert tags == (document.get("Tags") or {})


@given(SENSIBLE, SENSIBLE, st.uuids())
def test_what_is_shown_of_a_mapping_can_be_sent_back_and_changes_nothing(document, other, uuid):
    made = attempted(created, document, uuid=uuid)
    if isinstance(made, LambdaError):
        return
    mapping, tags = made
    entry = asyncio.run(FakeControl(config_of("process")).create(mapping, uuid=uuid, tags=tags))
    shown = configuration(entry)
    assert updated(entry, {name: value for name, value in shown.items() if name not in TOLD}) == mapping
    changed = attempted(updated, entry, {name: value for name, value in other.items() if name in shown})
    if isinstance(changed, LambdaError):
        assert STATUSES[changed.error_type] == 400
    else:
        assert (changed.event_source_arn, changed.name) == (mapping.event_source_arn, mapping.name)
