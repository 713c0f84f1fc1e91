"""Event source mappings through AWS's API: key sets, states, error types and texts as they were recorded."""

from __future__ import annotations

import pytest

from esmd.config.mapping_schema import MetricsConfig

from support.fake_control import FILE, FakeControl, config_of
from support.lambda_stage import (
    MAPPINGS,
    QUEUE,
    STREAM,
    TABLE,
    LambdaStage,
    kinesis_mapping,
    sqs_mapping,
)

SQS_KEYS = {
    "BatchSize",
    "EventSourceArn",
    "EventSourceMappingArn",
    "FunctionArn",
    "FunctionResponseTypes",
    "LastModified",
    "MaximumBatchingWindowInSeconds",
    "State",
    "StateTransitionReason",
    "UUID",
}
STREAM_KEYS = SQS_KEYS | {
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "LastProcessingResult",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
    "StartingPosition",
    "TumblingWindowInSeconds",
}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def stage():
    async with LambdaStage() as stage:
        yield stage


# --- key sets and defaults


async def test_an_sqs_mapping_has_awss_keys_and_defaults(stage):
    answer = await stage.create()
    assert set(answer) == SQS_KEYS
    assert answer["BatchSize"] == 10
    assert answer["MaximumBatchingWindowInSeconds"] == 0
    assert answer["FunctionResponseTypes"] == []
    assert answer["State"] == "Creating"
    assert answer["StateTransitionReason"] == "USER_INITIATED"
    assert answer["FunctionArn"] == "arn:aws:lambda:eu-west-1:000000000000:function:process"
    uuid = answer["UUID"]
    assert answer["EventSourceMappingArn"] == f"arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:{uuid}"
    assert isinstance(answer["LastModified"], float)


@pytest.mark.parametrize("arn", [STREAM, TABLE])
async def test_a_stream_mapping_has_awss_keys_and_defaults(stage, arn):
    answer = await stage.create(EventSourceArn=arn, StartingPosition="TRIM_HORIZON")
    assert set(answer) == STREAM_KEYS
    assert answer["State"] == "Creating"
    assert {key: answer[key] for key in STREAM_KEYS - SQS_KEYS} == {
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {"OnFailure": {}},
        "LastProcessingResult": "No records processed",
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "TRIM_HORIZON",
        "TumblingWindowInSeconds": 0,
    }
    assert answer["BatchSize"] == 100
    assert answer["StateTransitionReason"] == "User action"


async def test_what_is_set_is_shown_as_it_was_set(stage):
    pattern = '{"body": {"a": [1]}}'
    answer = await stage.create(
        BatchSize=15,
        MaximumBatchingWindowInSeconds=2,
        FilterCriteria={"Filters": [{"Pattern": pattern}]},
        ScalingConfig={"MaximumConcurrency": 2},
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MetricsConfig={"Metrics": ["EventCount"]},
        KMSKeyArn="arn:aws:kms:eu-west-1:000000000000:key/1",
    )
    assert set(answer) == SQS_KEYS | {"FilterCriteria", "ScalingConfig", "MetricsConfig", "KMSKeyArn"}
    assert answer["FilterCriteria"] == {"Filters": [{"Pattern": pattern}]}
    assert answer["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert answer["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert answer["MetricsConfig"] == {"Metrics": ["EventCount"]}


async def test_a_stream_shows_its_destination_and_its_time(stage):
    target = "arn:aws:sqs:eu-west-1:000000000000:failed"
    answer = await stage.create(
        EventSourceArn=STREAM,
        StartingPosition="AT_TIMESTAMP",
        StartingPositionTimestamp=1_700_000_000.5,
        DestinationConfig={"OnFailure": {"Destination": target}},
        MaximumRetryAttempts=3,
    )
    assert set(answer) == STREAM_KEYS | {"StartingPositionTimestamp"}
    assert answer["StartingPositionTimestamp"] == 1_700_000_000.5
    assert answer["DestinationConfig"] == {"OnFailure": {"Destination": target}}


async def test_provisioned_pollers_are_shown(stage):
    answer = await stage.create(ProvisionedPollerConfig={"MinimumPollers": 3})
    assert answer["ProvisionedPollerConfig"] == {"MinimumPollers": 3, "MaximumPollers": 200}


async def test_a_mapping_created_disabled_is_disabled_at_once(stage):
    assert (await stage.create(Enabled=False))["State"] == "Disabled"


async def test_tags_given_at_create_are_seen_by_list_tags_only(stage):
    answer = await stage.create(Tags={"team": "a"})
    assert set(answer) == SQS_KEYS
    reply = await stage.call("GET", f"/2017-03-31/tags/{answer['EventSourceMappingArn'].replace(':', '%3A')}")
    assert reply.json == {"Tags": {"team": "a"}}


INVALID = "InvalidParameterValueException"


# --- Get, List


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_unknown_uuid_is_not_found(stage, method):
    reply = await stage.call(method, f"{MAPPINGS}/{UNKNOWN}", {} if method == "PUT" else None)
    assert reply.error == (404, "ResourceNotFoundException", "The resource you requested does not exist.")
    assert reply.json == {"Type": "User", "Message": "The resource you requested does not exist."}


async def test_get_shows_what_create_showed_once_it_is_enabled(stage):
    created = await stage.create()
    stage.control.settle()
    reply = await stage.call("GET", f"{MAPPINGS}/{created['UUID']}")
    assert reply.status == 200
    assert reply.json == created | {"State": "Enabled"}
    assert (await stage.call("GET", f"{MAPPINGS}/{created['UUID'].upper()}")).json["UUID"] == created["UUID"]


async def test_the_result_of_a_stream_is_shown(stage):
    created = await stage.create(EventSourceArn=STREAM, StartingPosition="LATEST")
    stage.control.change(created["UUID"], last_result="PROBLEM: Function call failed")
    reply = await stage.call("GET", f"{MAPPINGS}/{created['UUID']}")
    assert reply.json["LastProcessingResult"] == "PROBLEM: Function call failed"


async def test_lists_are_narrowed_by_source_and_function(stage):
    one = await stage.create()
    two = await stage.create(FunctionName="other")
    three = await stage.create(EventSourceArn=STREAM, StartingPosition="LATEST")

    async def listed(query):
        return {each["UUID"] for each in (await stage.call("GET", f"{MAPPINGS}{query}")).json["EventSourceMappings"]}

    assert await listed("") == await listed("/") == {one["UUID"], two["UUID"], three["UUID"]}
    assert await listed(f"?EventSourceArn={QUEUE}") == {one["UUID"], two["UUID"]}
    assert await listed("?FunctionName=other") == {two["UUID"]}
    assert await listed(f"?FunctionName={two['FunctionArn']}") == {two["UUID"]}
    assert await listed("?FunctionName=000000000000:function:process") == {one["UUID"], three["UUID"]}
    assert await listed("?FunctionName=unknown") == set()
    assert await listed(f"?FunctionName=process&EventSourceArn={STREAM}") == {three["UUID"]}


async def test_a_page_has_at_most_100_mappings_and_none_is_missed_or_shown_twice():
    mappings = [sqs_mapping(f"m{n}", event_source_arn=f"{QUEUE}{n}") for n in range(230)]
    control = FakeControl(config_of("process"), mappings=mappings)
    async with LambdaStage(control) as stage:
        seen, marker, sizes = [], "", []
        while True:
            reply = await stage.call("GET", f"{MAPPINGS}?MaxItems=5000&Marker={marker}")
            page = reply.json["EventSourceMappings"]
            sizes.append(len(page))
            seen += [each["UUID"] for each in page]
            if "NextMarker" not in reply.json:
                break
            marker = reply.json["NextMarker"]
    assert sizes == [100, 100, 30]
    assert set(seen) == {str(entry.uuid) for entry in control.entries()}
    assert len(seen) == 230


@pytest.mark.parametrize(
    ("size", "kind", "text"),
    [
        ("0", "ValidationException", "Member must have value greater than or equal to 1"),
        ("10001", "ValidationException", "Member must have value less than or equal to 10000"),
        ("many", "SerializationException", "STRING_VALUE can not be converted to an Integer"),
    ],
)
async def test_a_size_of_a_page_out_of_range_is_refused(stage, size, kind, text):
    reply = await stage.call("GET", f"{MAPPINGS}?MaxItems={size}")
    assert reply.error[:2] == (400, kind)
    assert reply.error[2].endswith(text)


# --- Update


async def updated(stage, uuid, **members):
    reply = await stage.call("PUT", f"{MAPPINGS}/{uuid}", members)
    assert reply.status == 202, reply
    stage.control.settle()
    return reply.json


async def test_an_update_changes_what_it_names_and_nothing_else(stage):
    created = await stage.create(ScalingConfig={"MaximumConcurrency": 5})
    stage.control.settle()
    answer = await updated(stage, created["UUID"], BatchSize=7)
    assert answer == created | {"BatchSize": 7, "State": "Updating", "LastModified": answer["LastModified"]}
    answer = await updated(stage, created["UUID"], FunctionName="other", BatchSize=None)
    assert answer["FunctionArn"] == created["FunctionArn"]
    assert stage.control.entry(created["UUID"]).mapping.function_name == "other"
    assert answer["BatchSize"] == 7


async def test_enabled_goes_off_and_on(stage):
    uuid = (await stage.create())["UUID"]
    stage.control.settle()
    assert (await updated(stage, uuid, Enabled=False))["State"] == "Disabling"
    assert (await stage.call("GET", f"{MAPPINGS}/{uuid}")).json["State"] == "Disabled"
    assert (await updated(stage, uuid, BatchSize=3))["State"] == "Updating"
    assert stage.control.entry(uuid).mapping.enabled is False, "an update that says nothing of it does not enable"
    assert (await updated(stage, uuid, Enabled=True))["State"] == "Enabling"


@pytest.mark.parametrize(
    ("member", "value", "empty"),
    [
        ("FilterCriteria", {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}, {}),
        ("FilterCriteria", {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}, {"Filters": []}),
        ("ScalingConfig", {"MaximumConcurrency": 2}, {}),
        ("ProvisionedPollerConfig", {"MinimumPollers": 3}, {}),
        ("MetricsConfig", {"Metrics": ["EventCount"]}, {}),
        ("MetricsConfig", {"Metrics": ["EventCount"]}, {"Metrics": []}),
        ("KMSKeyArn", "arn:aws:kms:eu-west-1:000000000000:key/1", ""),
    ],
)
async def test_an_empty_member_clears(stage, member, value, empty):
    created = await stage.create(**{member: value})
    assert member in created
    stage.control.settle()
    assert set(await updated(stage, created["UUID"], **{member: empty})) == SQS_KEYS
    assert set(await stage.create(FunctionName="other", **{member: empty})) == SQS_KEYS, "on Create too"


async def test_an_empty_destination_clears(stage):
    destination = {"OnFailure": {"Destination": QUEUE}}
    created = await stage.create(EventSourceArn=STREAM, StartingPosition="LATEST", DestinationConfig=destination)
    stage.control.settle()
    answer = await updated(stage, created["UUID"], DestinationConfig={})
    assert answer["DestinationConfig"] == {"OnFailure": {}}


@pytest.mark.parametrize(
    ("member", "same", "other"),
    [
        ("EventSourceArn", STREAM, f"{STREAM}2"),
        ("StartingPosition", "AT_TIMESTAMP", "LATEST"),
        ("StartingPositionTimestamp", 1_700_000_000.0, 1_700_000_001.0),
        ("Tags", {"a": "b"}, {"a": "c"}),
    ],
)
async def test_what_only_create_has_cannot_be_changed(stage, member, same, other):
    created = await stage.create(
        EventSourceArn=STREAM,
        StartingPosition="AT_TIMESTAMP",
        StartingPositionTimestamp=1_700_000_000,
        Tags={"a": "b"},
    )
    stage.control.settle()
    before = stage.control.entry(created["UUID"]).mapping
    reply = await stage.call("PUT", f"{MAPPINGS}/{created['UUID']}", {member: other, "BatchSize": 3})
    text = f"{member} cannot be changed: delete the event source mapping and create another one."
    assert reply.error == (400, INVALID, text)
    assert stage.control.entry(created["UUID"]).mapping == before
    assert (await updated(stage, created["UUID"], **{member: same, "BatchSize": 3}))["BatchSize"] == 3


async def test_an_update_is_judged_as_a_create_is(stage):
    created = await stage.create()
    stage.control.settle()
    path = f"{MAPPINGS}/{created['UUID']}"
    window = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    assert (await stage.call("PUT", path, {"BatchSize": 15})).error == (400, INVALID, window)
    reply = await stage.call("PUT", path, {"FunctionName": "unknown"})
    assert reply.error == (400, INVALID, "Function does not exist")
    stage.probe.says = "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds"
    assert (await stage.call("PUT", path, {"BatchSize": 5})).error == (400, INVALID, stage.probe.says)
    assert stage.control.entry(created["UUID"]).mapping.batch_size == 10


async def test_an_update_that_meets_another_mapping_is_a_conflict(stage):
    first = await stage.create()
    second = await stage.create(FunctionName="other")
    stage.control.settle()
    reply = await stage.call("PUT", f"{MAPPINGS}/{second['UUID']}", {"FunctionName": "process"})
    assert reply.error[:2] == (409, "ResourceConflictException")
    assert reply.error[2].endswith(f"UUID {first['UUID']}")


@pytest.mark.parametrize(("method", "verb"), [("PUT", "update"), ("DELETE", "delete")])
async def test_a_change_while_another_is_under_way_is_refused(stage, method, verb):
    created = await stage.create()
    reply = await stage.call(method, f"{MAPPINGS}/{created['UUID']}", {"BatchSize": 3} if verb == "update" else None)
    text = f"Cannot {verb} the event source mapping because it is in use."
    assert reply.error == (400, "ResourceInUseException", text)
    assert set(reply.json) == {"Type", "Message"}


# --- Delete


async def test_a_deleted_mapping_is_deleting_and_then_gone(stage):
    created = await stage.create()
    stage.control.settle()
    path = f"{MAPPINGS}/{created['UUID']}"
    reply = await stage.call("DELETE", path)
    assert reply.status == 202
    assert reply.json == created | {"State": "Deleting"}
    assert (await stage.call("GET", path)).json["State"] == "Deleting"
    stage.control.settle()
    assert (await stage.call("GET", path)).status == 404


# --- mappings of files


async def test_mappings_of_files_are_listed_read_and_never_changed():
    metrics = MetricsConfig(metrics=("EventCount",))
    mappings = [sqs_mapping(metrics_config=metrics, tags={"a": "b"}), kinesis_mapping()]
    async with LambdaStage(FakeControl(config_of("process"), mappings=mappings)) as stage:
        listed = (await stage.call("GET", MAPPINGS)).json["EventSourceMappings"]
        assert {each["EventSourceArn"] for each in listed} == {QUEUE, STREAM}
        one = (await stage.call("GET", f"{MAPPINGS}/orders")).json
        assert one in listed
        assert (await stage.call("GET", f"{MAPPINGS}/{one['UUID']}")).json == one
        text = f"The event source mapping orders is written in {FILE} and cannot be changed through the API: change it there."
        tags = f"/2017-03-31/tags/{one['EventSourceMappingArn']}"
        assert (await stage.call("GET", tags)).json == {"Tags": {"a": "b"}}
        for method, path, body in (
            ("PUT", f"{MAPPINGS}/{one['UUID']}", {"BatchSize": 5}),
            ("DELETE", f"{MAPPINGS}/{one['UUID']}", None),
            ("POST", tags, {"Tags": {"c": "d"}}),
            ("DELETE", f"{tags}?tagKeys=a", None),
        ):
            assert (await stage.call(method, path, body)).error == (400, INVALID, text)
        twin = await stage.call("POST", MAPPINGS, {"EventSourceArn": QUEUE, "FunctionName": "process"})
        assert twin.error[1] == "ResourceConflictException"
        assert twin.headers["X-Esmd-Detail"] == f"it is the mapping orders of {FILE}"
