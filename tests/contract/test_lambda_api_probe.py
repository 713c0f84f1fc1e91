"""What is asked of a source before a mapping of it is taken, on a real server."""

from __future__ import annotations

from functools import partial

import pytest

from esmd.api.lambda_api.probe import SourceProbe
from esmd.assembly import make_clients
from esmd.config.schema import AwsSettings

from support.lambda_stage import dynamodb_mapping, kinesis_mapping, sqs_mapping
from support.servers import make_queue, sqs_client

MISSING = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
    "SQS Error Message: The specified queue does not exist."
)


def probe_at(url: str) -> SourceProbe:
    return SourceProbe(partial(make_clients, AwsSettings(endpoint_url=url), {}), allow_remote=False)


@pytest.fixture
def probe(ministack):
    return probe_at(ministack)


@pytest.mark.parametrize(
    ("attribute", "longest", "said"),
    [
        ("2", 3.0, "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds"),
        ("2", 2.5, "Queue visibility timeout: 2 seconds is less than Function timeout: 2.5 seconds"),
        ("3", 3.0, None),
        ("2", None, None),
    ],
)
async def test_a_queue_has_to_hide_messages_as_long_as_the_function_may_run(ministack, probe, attribute, longest, said):
    async with sqs_client(ministack) as client:
        queue = await make_queue(client, VisibilityTimeout=attribute)
    assert await probe.objection(sqs_mapping(event_source_arn=queue.arn), longest=longest) == said


async def test_a_queue_that_is_not_there_is_told_in_awss_words(probe):
    arn = "arn:aws:sqs:us-east-1:000000000000:nowhere"
    assert await probe.objection(sqs_mapping(event_source_arn=arn), longest=3.0) == MISSING


@pytest.mark.parametrize(
    ("make", "arn"),
    [
        (kinesis_mapping, "arn:aws:kinesis:us-east-1:000000000000:stream/nowhere"),
        (
            dynamodb_mapping,
            "arn:aws:dynamodb:us-east-1:000000000000:table/nowhere/stream/2026-01-01T00:00:00.000",
        ),
        (dynamodb_mapping, "arn:aws:dynamodb:us-east-1:000000000000:table/nowhere/stream/latest"),
    ],
)
async def test_a_stream_that_is_not_there_is_told_in_awss_words(probe, make, arn):
    assert await probe.objection(make(event_source_arn=arn), longest=3.0) == f"Stream not found: {arn}"


@pytest.mark.parametrize("make", [sqs_mapping, kinesis_mapping, dynamodb_mapping])
async def test_a_service_that_does_not_answer_objects_to_nothing(make):
    assert await probe_at("http://127.0.0.1:9").objection(make(), longest=3.0) is None


async def test_a_profile_that_does_not_exist_objects_to_nothing():
    probe = SourceProbe(partial(make_clients, AwsSettings(profile="nobody"), {}), allow_remote=False)
    assert await probe.objection(sqs_mapping(), longest=3.0) is None


async def test_an_endpoint_that_is_not_local_is_not_asked_unless_that_is_allowed(ministack, monkeypatch):
    monkeypatch.setattr("esmd.api.lambda_api.probe.is_local", lambda url: False)
    arn = "arn:aws:sqs:us-east-1:000000000000:nowhere"
    for allowed, said in ((False, None), (True, MISSING)):
        clients = partial(make_clients, AwsSettings(endpoint_url=ministack), {})
        probe = SourceProbe(clients, allow_remote=allowed)
        assert await probe.objection(sqs_mapping(event_source_arn=arn), longest=3.0) == said
