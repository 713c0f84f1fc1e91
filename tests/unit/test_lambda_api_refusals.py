"""What CreateEventSourceMapping refuses: error types and texts as they were recorded, and ours where AWS has none."""

from __future__ import annotations

import pytest

from support.lambda_stage import FIFO, MAPPINGS, QUEUE, STREAM, TABLE, LambdaStage

SQS = {"EventSourceArn": QUEUE, "FunctionName": "process"}
KINESIS = {"EventSourceArn": STREAM, "FunctionName": "process", "StartingPosition": "LATEST"}
INVALID = "InvalidParameterValueException"
VALIDATION = "ValidationException"
SERIALIZATION = "SerializationException"
ONE = "1 validation error detected: Value"


@pytest.fixture
async def stage():
    async with LambdaStage() as stage:
        yield stage


REFUSED = {
    "no source": ({"FunctionName": "process"}, INVALID, "Unrecognized event source."),
    "a source of no service": (
        {"FunctionName": "process", "EventSourceArn": "arn:aws:s3:eu-west-1:000000000000:bucket"},
        INVALID,
        "Unrecognized event source.",
    ),
    "an unknown function": (SQS | {"FunctionName": "unknown"}, INVALID, "Function does not exist"),
    "no function": (
        {"EventSourceArn": QUEUE},
        VALIDATION,
        f"{ONE} null at 'functionName' failed to satisfy constraint: Member must not be null",
    ),
    "a large batch without a window": (
        SQS | {"BatchSize": 11},
        INVALID,
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
    ),
    "a window on a FIFO queue": (
        SQS | {"EventSourceArn": FIFO, "MaximumBatchingWindowInSeconds": 1},
        INVALID,
        "Batching window is not supported for FIFO queues",
    ),
    "a destination of a queue": (
        SQS | {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}},
        INVALID,
        "Unsupported DestinationConfig parameter for given event source mapping type.",
    ),
    "OnSuccess of a stream": (
        KINESIS | {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}},
        INVALID,
        "Unsupported DestinationConfig parameter for given event source mapping type.",
    ),
    "a bad pattern": (
        SQS | {"FilterCriteria": {"Filters": [{"Pattern": '{"body": 5}'}]}},
        INVALID,
        "Invalid filter pattern definition.",
    ),
    "no position": (
        {"EventSourceArn": STREAM, "FunctionName": "process"},
        INVALID,
        f"{ONE} null at 'startingPosition' failed to satisfy constraint: Member must not be null.",
    ),
    "an unknown position": (
        KINESIS | {"StartingPosition": "invalid"},
        VALIDATION,
        (
            f"{ONE} 'invalid' at 'startingPosition' failed to satisfy constraint: Member must satisfy enum value set: "
            "[LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
        ),
    ),
    "a time for a table": (
        KINESIS | {"EventSourceArn": TABLE, "StartingPosition": "AT_TIMESTAMP"},
        INVALID,
        f"Unsupported starting position for arn type: {TABLE}",
    ),
    "too small": (
        SQS | {"BatchSize": 0},
        VALIDATION,
        f"{ONE} '0' at 'batchSize' failed to satisfy constraint: Member must have value greater than or equal to 1",
    ),
    "too large": (
        KINESIS | {"ParallelizationFactor": 11},
        VALIDATION,
        (
            f"{ONE} '11' at 'parallelizationFactor' failed to satisfy constraint: Member must have value less than or equal "
            "to 10"
        ),
    ),
    "too large, inside": (
        SQS | {"ScalingConfig": {"MaximumConcurrency": 1001}},
        VALIDATION,
        (
            f"{ONE} '1001' at 'scalingConfig.maximumConcurrency' failed to satisfy constraint: Member must have value less "
            "than or equal to 1000"
        ),
    ),
    "two at once": (
        KINESIS | {"BatchSize": 0, "ParallelizationFactor": 0},
        VALIDATION,
        (
            "2 validation errors detected: Value '0' at 'batchSize' failed to satisfy constraint: Member must have value "
            "greater than or equal to 1; Value '0' at 'parallelizationFactor' failed to satisfy constraint: Member must "
            "have value greater than or equal to 1"
        ),
    ),
    "an unknown response type": (
        SQS | {"FunctionResponseTypes": ["Other"]},
        VALIDATION,
        (
            f"{ONE} 'Other' at 'functionResponseTypes.1.member' failed to satisfy constraint: Member must satisfy enum value "
            "set: [ReportBatchItemFailures]"
        ),
    ),
    "no pattern": (
        SQS | {"FilterCriteria": {"Filters": [{}, {"Pattern": "{}"}]}},
        VALIDATION,
        f"{ONE} null at 'filterCriteria.filters.1.member.pattern' failed to satisfy constraint: Member must not be null",
    ),
    "text for a number": (SQS | {"BatchSize": "5"}, SERIALIZATION, "STRING_VALUE can not be converted to an Integer"),
    "a number for text": (SQS | {"FunctionName": 5}, SERIALIZATION, "NUMBER_VALUE can not be converted to a String"),
    "text for a boolean": (SQS | {"Enabled": "yes"}, SERIALIZATION, "STRING_VALUE can not be converted to a Boolean"),
    "text for a structure": (SQS | {"ScalingConfig": "x"}, SERIALIZATION, "Expected a structure or map"),
    "an object for a list": (SQS | {"FunctionResponseTypes": {}}, SERIALIZATION, "Expected list or null"),
    "a list for a number": (SQS | {"BatchSize": []}, SERIALIZATION, "Start of list found where not expected"),
    "a member of other sources": (
        SQS | {"StartingPosition": "LATEST"},
        INVALID,
        "StartingPosition: belongs to stream mappings (Kinesis, DynamoDB Streams): an SQS mapping has no such setting",
    ),
    "a member of no source": (SQS | {"batch_size": 5}, INVALID, "batch_size: unknown member"),
    "a setting beyond AWS": (SQS | {"VisibilityHeartbeat": True}, INVALID, "VisibilityHeartbeat: unknown member"),
    "Kafka": (
        {"FunctionName": "process", "SelfManagedEventSource": {"Endpoints": {}}, "Topics": ["t"]},
        INVALID,
        "Kafka sources are not supported by this version, only SQS queues, Kinesis streams and DynamoDB streams are",
    ),
    "a version": (
        SQS | {"FunctionName": "process:3"},
        INVALID,
        'functionName: version or alias "3" cannot be chosen: the registered code is what runs, write the name alone',
    ),
    "reserved tags": (SQS | {"Tags": {"aws:x": "y"}}, INVALID, "keys that start with aws: are reserved by AWS"),
}


@pytest.mark.parametrize(("members", "kind", "text"), REFUSED.values(), ids=REFUSED)
async def test_create_refuses_in_awss_words(stage, members, kind, text):
    reply = await stage.call("POST", MAPPINGS, members)
    assert reply.error == (400, kind, text)
    assert stage.control.entries() == []


@pytest.mark.parametrize("name", ["FunctionName", "EventSourceArn"])
async def test_what_awss_patterns_refuse_is_refused_with_the_pattern(stage, name):
    reply = await stage.call("POST", MAPPINGS, SQS | {name: "no such thing!"})
    status, kind, text = reply.error
    assert (status, kind) == (400, VALIDATION)
    place = f"{name[0].lower()}{name[1:]}"
    start = f"{ONE} 'no such thing!' at '{place}' failed to satisfy constraint: Member must satisfy regular expression "
    assert text.startswith(start)


async def test_what_a_bad_pattern_is_stands_in_a_header(stage):
    reply = await stage.call("POST", MAPPINGS, SQS | {"FilterCriteria": {"Filters": [{"Pattern": '{"body": 5}'}]}})
    assert reply.headers["X-Esmd-Detail"]
    reply = await stage.call("POST", MAPPINGS, SQS | {"FunctionName": "prozess"})
    assert reply.headers["X-Esmd-Detail"] == "registered: other, process"


@pytest.mark.parametrize(
    ("arn", "text"),
    [
        (QUEUE, 'An event source mapping with SQS arn (" {arn} ") and function (" process ") already exists.'),
        (STREAM, 'The event source arn (" {arn} ") and function (" process ") provided mapping already exists.'),
        (TABLE, 'The event source arn (" {arn} ") and function (" process ") provided mapping already exists.'),
    ],
)
async def test_a_second_mapping_of_source_and_function_is_a_conflict(stage, arn, text):
    position = {} if arn == QUEUE else {"StartingPosition": "LATEST"}
    first = await stage.create(EventSourceArn=arn, **position)
    reply = await stage.call("POST", MAPPINGS, {"EventSourceArn": arn, "FunctionName": "process", **position})
    expected = f"{text.format(arn=arn)} Please update or delete the existing mapping with UUID {first['UUID']}"
    assert reply.error == (409, "ResourceConflictException", expected)
    assert reply.json["Type"] == "User"


@pytest.mark.parametrize(
    "text",
    [
        "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds",
        f"Stream not found: {STREAM}",
    ],
)
async def test_what_speaks_against_the_source_refuses_the_mapping(stage, text):
    stage.probe.says = text
    reply = await stage.call("POST", MAPPINGS, SQS)
    assert reply.error == (400, INVALID, text)
    assert stage.control.entries() == []
    [(mapping, longest)] = stage.probe.asked
    assert (mapping.event_source_arn, longest) == (QUEUE, 3.0)
