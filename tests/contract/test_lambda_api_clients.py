"""The API as its clients see it: boto3, the aws-cli, and what Terraform's provider does.

Terraform itself cannot be had on every machine that runs these tests; what its resource `aws_lambda_event_source_mapping`
calls, waits for and tries again is done here by hand [specification D.5].
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.aws_clients import AwsCliError, aws, lambda_client
from support.fake_control import FILE, FakeControl, config_of
from support.functions import function_of
from support.lambda_stage import QUEUE, STREAM, LambdaStage, ScriptedInvoker, sqs_mapping

UNKNOWN = "00000000-0000-4000-8000-000000000000"
ORDERS = ("--function-name", "process", "--event-source-arn", QUEUE)


@pytest.fixture
async def stage():
    control = FakeControl(config_of("process", "other"), functions={"process": function_of(ScriptedInvoker())})
    async with LambdaStage(control) as stage:
        yield stage


@pytest.fixture
def boto(stage):
    """Calls boto3's client, in a thread of its own: the server lives in this one."""
    with lambda_client(stage.url) as client:

        async def call(operation, **arguments):
            return await asyncio.to_thread(getattr(client, operation), **arguments)

        call.exceptions = client.exceptions
        call.client = client
        yield call


# --- boto3


async def test_boto3_manages_a_mapping(stage, boto):
    made = await boto(
        "create_event_source_mapping",
        EventSourceArn=STREAM,
        FunctionName="process",
        StartingPosition="AT_TIMESTAMP",
        StartingPositionTimestamp=1_700_000_000,
        DestinationConfig={"OnFailure": {"Destination": QUEUE}},
        Tags={"team": "a"},
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert len(made["ResponseMetadata"]["RequestId"]) == 36
    assert made["State"] == "Creating"
    assert made["StartingPositionTimestamp"].timestamp() == 1_700_000_000
    assert made["LastModified"].tzinfo is not None
    stage.control.settle()
    uuid = made["UUID"]
    assert (await boto("get_event_source_mapping", UUID=uuid))["State"] == "Enabled"
    changed = await boto("update_event_source_mapping", UUID=uuid, BatchSize=5, Enabled=False)
    assert (changed["BatchSize"], changed["State"]) == (5, "Disabling")
    arn = made["EventSourceMappingArn"]
    await boto("tag_resource", Resource=arn, Tags={"b": "c"})
    await boto("untag_resource", Resource=arn, TagKeys=["team"])
    assert (await boto("list_tags", Resource=arn))["Tags"] == {"b": "c"}
    stage.control.settle()
    assert (await boto("delete_event_source_mapping", UUID=uuid))["State"] == "Deleting"
    stage.control.settle()
    with pytest.raises(boto.exceptions.ResourceNotFoundException) as missing:
        await boto("get_event_source_mapping", UUID=uuid)
    assert missing.value.response["Error"]["Message"] == "The resource you requested does not exist."
    assert missing.value.response["Message"] == "The resource you requested does not exist."
    assert missing.value.response["Type"] == "User"


@pytest.mark.parametrize(
    ("operation", "arguments", "code", "status"),
    [
        ("get_event_source_mapping", {"UUID": UNKNOWN}, "ResourceNotFoundException", 404),
        (
            "create_event_source_mapping",
            {"EventSourceArn": QUEUE, "FunctionName": "unknown"},
            "InvalidParameterValueException",
            400,
        ),
        (
            "create_event_source_mapping",
            {"EventSourceArn": QUEUE, "FunctionName": "process"},
            "ResourceConflictException",
            409,
        ),
        ("update_event_source_mapping", {"UUID": "ours", "BatchSize": 3}, "ResourceInUseException", 400),
        ("get_function", {"FunctionName": "unknown"}, "ResourceNotFoundException", 404),
    ],
)
async def test_boto3_raises_the_exceptions_it_knows(stage, boto, operation, arguments, code, status):
    made = await boto("create_event_source_mapping", EventSourceArn=QUEUE, FunctionName="process")
    arguments = {name: made["UUID"] if value == "ours" else value for name, value in arguments.items()}
    with pytest.raises(getattr(boto.exceptions, code)) as refused:
        await boto(operation, **arguments)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_boto3_sees_operations_that_are_not_served(boto):
    with pytest.raises(ClientError) as refused:
        await boto("publish_version", FunctionName="process")
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"
    assert "esmd does not serve" in refused.value.response["Error"]["Message"]


async def test_boto3s_paginators_see_everything():
    mappings = [sqs_mapping(f"m{n}", event_source_arn=f"{QUEUE}{n}") for n in range(205)]
    async with LambdaStage(FakeControl(config_of("process"), mappings=mappings)) as stage:
        with lambda_client(stage.url) as client:

            def everything():
                pages = client.get_paginator("list_event_source_mappings").paginate()
                return [each["UUID"] for page in pages for each in page["EventSourceMappings"]]

            found = await asyncio.to_thread(everything)
    assert len(found) == len(set(found)) == 205


async def test_boto3_reads_and_invokes_functions(boto):
    found = await boto("get_function", FunctionName="process")
    assert found["Configuration"]["Version"] == "$LATEST"
    listed = await boto("list_functions")
    assert [each["FunctionName"] for each in listed["Functions"]] == ["other", "process"]
    answer = await boto("invoke", FunctionName="process", Payload=b'{"a": 1}')
    payload = await asyncio.to_thread(answer["Payload"].read)
    assert (answer["StatusCode"], json.loads(payload), answer["ExecutedVersion"]) == (200, {"done": True}, "$LATEST")
    for kind, status in (("Event", 202), ("DryRun", 204)):
        answer = await boto("invoke", FunctionName="process", InvocationType=kind)
        assert answer["StatusCode"] == status
        assert await asyncio.to_thread(answer["Payload"].read) == b""


# --- the aws-cli


async def test_the_aws_cli_manages_a_mapping(stage):
    made = await aws(stage.url, "create-event-source-mapping", *ORDERS, "--batch-size", "5", "--tags", "team=a")
    assert (made["BatchSize"], made["State"]) == (5, "Creating")
    stage.control.settle()
    uuid = ("--uuid", made["UUID"])
    assert (await aws(stage.url, "get-event-source-mapping", *uuid))["State"] == "Enabled"
    changed = await aws(
        stage.url,
        "update-event-source-mapping",
        *uuid,
        "--no-enabled",
        "--scaling-config",
        "MaximumConcurrency=3",
        "--filter-criteria",
        '{"Filters": [{"Pattern": "{\\"body\\": {\\"a\\": [1]}}"}]}',
    )
    assert (changed["State"], changed["ScalingConfig"]) == ("Disabling", {"MaximumConcurrency": 3})
    assert changed["FilterCriteria"] == {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}
    listed = await aws(stage.url, "list-event-source-mappings", "--function-name", "process")
    assert [each["UUID"] for each in listed["EventSourceMappings"]] == [made["UUID"]]
    arn = made["EventSourceMappingArn"]
    assert (await aws(stage.url, "list-tags", "--resource", arn)) == {"Tags": {"team": "a"}}
    stage.control.settle()
    assert (await aws(stage.url, "delete-event-source-mapping", *uuid))["State"] == "Deleting"


async def test_the_aws_cli_shows_what_is_refused():
    async with LambdaStage(FakeControl(config_of("process"), mappings=[sqs_mapping()])) as stage:
        uuid = str(stage.control.entry("orders").uuid)
        with pytest.raises(AwsCliError) as failed:
            await aws(stage.url, "update-event-source-mapping", "--uuid", uuid, "--batch-size", "5")
    text = str(failed.value)
    assert (
        "An error occurred (InvalidParameterValueException) when calling the UpdateEventSourceMapping operation" in text
    )
    assert f"is written in {FILE}" in text


async def test_the_aws_cli_invokes_a_function(stage, tmp_path):
    answer = tmp_path / "answer.json"
    told = await aws(stage.url, "invoke", "--function-name", "process", "--payload", '{"a": 1}', str(answer))
    assert told == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
    assert json.loads(await asyncio.to_thread(Path(answer).read_text)) == {"done": True}


# --- Terraform


async def waited(boto, uuid, *, pending, target, step):
    """What the provider does: read the mapping until its state is none of `pending`; `step` lets time pass."""
    seen = []
    while True:
        state = (await boto("get_event_source_mapping", UUID=uuid))["State"]
        seen.append(state)
        if state in target:
            return seen
        assert state in pending, f"unexpected state {state}"
        step()


async def test_terraforms_life_of_a_mapping(stage, boto):
    made = await boto(
        "create_event_source_mapping",
        EventSourceArn=QUEUE,
        FunctionName="process",
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]},
        ScalingConfig={"MaximumConcurrency": 5},
        Tags={"managed": "yes"},
        Enabled=True,
    )
    uuid = made["UUID"]
    starting, settled = {"Creating", "Enabling", "Disabling"}, {"Enabled", "Disabled"}
    seen = await waited(boto, uuid, pending=starting, target=settled, step=stage.control.settle)
    assert seen == ["Creating", "Enabled"]
    read = await boto("get_event_source_mapping", UUID=uuid)
    assert {"UUID", "LastModified", "State", "FunctionArn", "EventSourceArn", "BatchSize"} <= set(read)
    assert (await boto("list_tags", Resource=read["EventSourceMappingArn"]))["Tags"] == {"managed": "yes"}

    # It clears blocks that were taken out of the configuration with empty ones.
    await boto("update_event_source_mapping", UUID=uuid, FilterCriteria={}, ScalingConfig={}, BatchSize=10)
    changing = {"Updating", *starting}
    seen = await waited(boto, uuid, pending=changing, target=settled, step=stage.control.settle)
    assert seen == ["Updating", "Enabled"]
    read = await boto("get_event_source_mapping", UUID=uuid)
    assert "FilterCriteria" not in read
    assert "ScalingConfig" not in read

    # It tries again what is refused because another change is under way, and waits until the mapping is not found.
    stage.control.move(uuid, "Updating")
    with pytest.raises(boto.exceptions.ResourceInUseException):
        await boto("delete_event_source_mapping", UUID=uuid)
    stage.control.settle()
    await boto("delete_event_source_mapping", UUID=uuid)
    assert (await boto("get_event_source_mapping", UUID=uuid))["State"] == "Deleting"
    stage.control.settle()
    with pytest.raises(boto.exceptions.ResourceNotFoundException):
        await boto("get_event_source_mapping", UUID=uuid)


async def test_nothing_that_terraform_tries_again_is_said_of_a_lasting_refusal(stage, boto):
    with pytest.raises(boto.exceptions.InvalidParameterValueException) as refused:
        await boto("create_event_source_mapping", EventSourceArn=QUEUE, FunctionName="unknown")
    text = refused.value.response["Error"]["Message"]
    again = ("cannot be assumed by Lambda", "execution role does not have permissions", "ensure the role can perform")
    assert not any(words in text for words in again)
