"""Good stream mappings: every spelling, the defaults, what is made of ARNs and times, and the warnings that stop nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from esmd.config import mapping_rules
from esmd.config.loader import Loaded, load
from esmd.config.schema import AnyMapping, DynamoDbMapping, KinesisMapping, StreamMapping
from esmd.config.values import StreamArn, stream_arn
from esmd.mappings.policy import RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM

KINESIS = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"
DYNAMODB = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2024-01-01T00:00:00.000"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:orders"
FUNCTIONS = "functions: {f: {handler: orders.process}, g: {handler: clicks.count}}\n"
BOTH = pytest.mark.parametrize("arn", [KINESIS, DYNAMODB])

Read = Callable[[str], Loaded]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Load a text that holds the mappings of a file."""
    monkeypatch.chdir(tmp_path)

    def _read(mappings: str) -> Loaded:
        Path("esmd.yaml").write_text(f"{FUNCTIONS}mappings:\n{mappings}", encoding="utf-8")
        return load([Path("esmd.yaml")], environ={"ARN": KINESIS})

    return _read


def lines(loaded: Loaded) -> list[str]:
    return [str(each) for each in loaded.diagnostics]


def mapping(read: Read, settings: str, *, arn: str = KINESIS, start: str = "TRIM_HORIZON") -> AnyMapping:
    """The one mapping of a configuration without any diagnostics."""
    text = f"  m:\n    event_source_arn: {arn}\n    function_name: f\n    starting_position: {start}\n"
    loaded = read(text + "".join(f"    {line}\n" for line in settings.splitlines()))
    assert loaded.config is not None, lines(loaded)
    assert lines(loaded) == []
    return loaded.config.mappings["m"]


def stream(read: Read, settings: str, *, arn: str = KINESIS, start: str = "TRIM_HORIZON") -> StreamMapping:
    found = mapping(read, settings, arn=arn, start=start)
    assert isinstance(found, StreamMapping)
    return found


# --- kinds


def test_the_service_of_the_arn_chooses_the_kind(read: Read) -> None:
    kinesis, dynamodb = mapping(read, ""), mapping(read, "", arn=DYNAMODB)
    assert (type(kinesis), kinesis.source) == (KinesisMapping, "kinesis")
    assert (type(dynamodb), dynamodb.source) == (DynamoDbMapping, "dynamodb")


def test_the_arn_may_come_from_a_variable(read: Read) -> None:
    assert type(mapping(read, "", arn="${ARN}")) is KinesisMapping


def test_all_kinds_stand_in_one_file(read: Read) -> None:
    loaded = read(
        f"  a: {{Queue: '{QUEUE}', FunctionName: f}}\n"
        f"  b: {{Stream: '{KINESIS}', FunctionName: f, StartingPosition: LATEST}}\n"
        f"  c: {{Stream: '{DYNAMODB}', FunctionName: f, StartingPosition: LATEST}}\n"
    )
    assert loaded.config is not None
    assert [each.source for each in loaded.config.mappings.values()] == ["sqs", "kinesis", "dynamodb"]


def test_one_stream_may_feed_two_functions(read: Read) -> None:
    loaded = read(
        f"  a: {{Stream: '{KINESIS}', FunctionName: f, StartingPosition: LATEST}}\n"
        f"  b: {{Stream: '{KINESIS}', FunctionName: g, StartingPosition: LATEST}}\n"
    )
    assert loaded.config is not None, lines(loaded)
    assert {each.function_name for each in loaded.config.mappings.values()} == {"f", "g"}


# --- defaults and names


@BOTH
def test_what_is_left_out_has_the_defaults_of_aws(read: Read, arn: str) -> None:
    found = stream(read, "", arn=arn)
    assert (found.name, found.function_name, found.event_source_arn, found.enabled) == ("m", "f", arn, True)
    assert (found.batch_size, found.maximum_batching_window_in_seconds) == (100, 0)
    assert not found.report_batch_item_failures
    assert found.filter_criteria.patterns == ()
    assert (found.starting_position, found.starting_position_timestamp) == ("TRIM_HORIZON", None)
    assert (found.parallelization_factor, found.tumbling_window_in_seconds) == (1, 0)
    assert (found.maximum_record_age_in_seconds, found.maximum_retry_attempts) == (-1, -1)
    assert not found.bisect_batch_on_function_error
    assert found.on_failure is None
    assert (found.retry_backoff, found.poll_interval) == (None, None)
    assert (found.on_destination_failure, found.failure_payload) == ("block", "string")


SNAKE = f"""\
  m:
    event_source_arn: {KINESIS}
    function_name: f
    enabled: false
    batch_size: 10000
    maximum_batching_window_in_seconds: 300
    function_response_types: [ReportBatchItemFailures]
    starting_position: AT_TIMESTAMP
    starting_position_timestamp: 1700000000.5
    parallelization_factor: 10
    maximum_record_age_in_seconds: 604800
    maximum_retry_attempts: 10000
    bisect_batch_on_function_error: true
    destination_config: {{on_failure: {{destination: "arn:aws:sqs:us-east-1:000000000000:dlq"}}}}
    filter_criteria: {{filters: [{{pattern: {{data: {{kind: [order]}}}}}}]}}
    tags: {{team: shop}}
"""
API = f"""\
  m:
    EventSourceArn: {KINESIS}
    FunctionName: arn:aws:lambda:us-east-1:000000000000:function:f
    Enabled: false
    BatchSize: 10000
    MaximumBatchingWindowInSeconds: 300
    FunctionResponseTypes: [ReportBatchItemFailures]
    StartingPosition: AT_TIMESTAMP
    StartingPositionTimestamp: 1700000000.5
    ParallelizationFactor: 10
    MaximumRecordAgeInSeconds: 604800
    MaximumRetryAttempts: 10000
    BisectBatchOnFunctionError: true
    DestinationConfig: {{OnFailure: {{Destination: "arn:aws:sqs:us-east-1:000000000000:dlq"}}}}
    FilterCriteria: {{Filters: [{{Pattern: '{{"data":{{"kind":["order"]}}}}'}}]}}
    Tags: {{team: shop}}
"""
CLOUDFORMATION = API.replace("Tags: {team: shop}", "Tags: [{Key: team, Value: shop}]")
SAM = API.replace("EventSourceArn", "Stream")


@pytest.mark.parametrize("text", [SNAKE, API, CLOUDFORMATION, SAM], ids=["snake_case", "API", "CloudFormation", "SAM"])
def test_every_spelling_gives_the_same_mapping(read: Read, text: str) -> None:
    loaded = read(text)
    assert loaded.config is not None, lines(loaded)
    assert lines(loaded) == []
    found = loaded.config.mappings["m"]
    assert isinstance(found, KinesisMapping)
    assert (found.event_source_arn, found.function_name, found.enabled) == (KINESIS, "f", False)
    assert (found.batch_size, found.maximum_batching_window_in_seconds) == (10_000, 300)
    assert found.report_batch_item_failures
    assert (found.starting_position, found.starting_position_timestamp) == ("AT_TIMESTAMP", 1_700_000_000.5)
    assert (found.parallelization_factor, found.bisect_batch_on_function_error) == (10, True)
    assert (found.maximum_record_age_in_seconds, found.maximum_retry_attempts) == (604_800, 10_000)
    assert str(found.on_failure) == "arn:aws:sqs:us-east-1:000000000000:dlq"
    assert found.filter_criteria.patterns == ('{"data":{"kind":["order"]}}',)
    assert found.tags == {"team": "shop"}


@BOTH
@pytest.mark.parametrize("name", ["tumbling_window_in_seconds", "TumblingWindowInSeconds"])
def test_both_spellings_of_the_window_work(read: Read, arn: str, name: str) -> None:
    assert stream(read, f"{name}: 900", arn=arn).tumbling_window_in_seconds == 900


def test_a_large_batch_needs_no_window(read: Read) -> None:
    assert stream(read, "BatchSize: 10000").maximum_batching_window_in_seconds == 0


def test_what_goes_beyond_aws_is_read(read: Read) -> None:
    found = stream(
        read,
        "retry_backoff: {initial: 250ms, maximum: 5m}\non_destination_failure: drop\nfailure_payload: object\n"
        "poll_interval: 500ms\nmaximum_retry_attempts: 2\n"
        "destination_config: {on_failure: {destination: 'arn:aws:s3:::failures'}}",
    )
    assert found.retry_backoff is not None
    assert (found.retry_backoff.initial, found.retry_backoff.maximum) == (0.25, 300.0)
    assert (found.on_destination_failure, found.failure_payload, found.poll_interval) == ("drop", "object", 0.5)
    assert found.on_failure is not None
    assert (found.on_failure.service, found.on_failure.name) == ("s3", "failures")


def test_what_a_backoff_leaves_out_is_what_the_policy_would_do(read: Read) -> None:
    backoff = stream(read, "retry_backoff: {}").retry_backoff
    assert backoff is not None
    assert (backoff.initial, backoff.maximum) == (RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM)


@pytest.mark.parametrize(
    "written",
    ["{}", "{OnFailure: {}}", '{OnFailure: {Destination: ""}}', "{on_failure: {destination: }}", "~"],
)
def test_every_way_to_write_no_destination_works(read: Read, written: str) -> None:
    assert stream(read, f"destination_config: {written}").on_failure is None


@pytest.mark.parametrize("service", ["sqs", "sns"])
def test_a_queue_or_a_topic_may_be_the_destination(read: Read, service: str) -> None:
    arn = f"arn:aws:{service}:eu-west-1:111111111111:failures"
    found = stream(read, f"maximum_retry_attempts: 1\nDestinationConfig: {{OnFailure: {{Destination: '{arn}'}}}}")
    assert found.on_failure is not None
    assert (found.on_failure.service, str(found.on_failure)) == (service, arn)


def test_patterns_are_judged_for_their_source(read: Read) -> None:
    pattern = "filter_criteria: {filters: [{pattern: {dynamodb: {NewImage: {id: {S: [a]}}}}}]}"
    assert stream(read, pattern, arn=DYNAMODB).filter_criteria.patterns
    loaded = read(
        f"  m: {{Stream: '{KINESIS}', FunctionName: f, StartingPosition: LATEST,"
        " FilterCriteria: {Filters: [{Pattern: {kinesis: {data: {a: [1]}}}}]}}\n"
    )
    (warning,) = loaded.diagnostics
    assert (warning.severity, warning.path) == (
        "warning",
        "mappings.m.FilterCriteria.Filters[0].Pattern.kinesis.data.a",
    )
    assert warning.message.startswith('nothing is found under "kinesis"')


# --- ARNs and times


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (KINESIS, "kinesis", StreamArn("aws", "us-east-1", "000000000000", "kinesis", "clicks")),
        (
            "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a.b_c-D",
            "kinesis",
            StreamArn("aws-cn", "cn-north-1", "123456789012", "kinesis", "a.b_c-D"),
        ),
        (
            DYNAMODB,
            "dynamodb",
            StreamArn("aws", "us-east-1", "000000000000", "dynamodb", "orders", "2024-01-01T00:00:00.000"),
        ),
        (
            "arn:aws:dynamodb:ddblocal:000000000000:table/orders/stream/2024-01-01T00:00:00.000",
            "dynamodb",
            StreamArn("aws", "ddblocal", "000000000000", "dynamodb", "orders", "2024-01-01T00:00:00.000"),
        ),
    ],
)
def test_a_streams_arn_is_taken_apart_and_put_together(text: str, kind: str, expected: StreamArn) -> None:
    found = stream_arn(text, kind=expected.kind)
    assert (found, found.kind, str(found)) == (expected, kind, text)


@pytest.mark.parametrize(("text", "kind"), [(KINESIS, "dynamodb"), (DYNAMODB, "kinesis"), (QUEUE, "kinesis")])
def test_a_model_takes_no_arn_of_another_kind(text: str, kind: str) -> None:
    model = {"kinesis": KinesisMapping, "dynamodb": DynamoDbMapping}[kind]
    with pytest.raises(ValueError, match="must be a stream's ARN"):
        model.model_validate(
            {"name": "m", "event_source_arn": text, "function_name": "f", "starting_position": "LATEST"}
        )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("0", 0.0),
        ("1700000000", 1_700_000_000.0),
        ("1700000000.25", 1_700_000_000.25),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000.0),
        ("'2023-11-14 22:13:20.25Z'", 1_700_000_000.25),
        ("2023-11-14T22:13:20", 1_700_000_000.0),
        ("2023-11-14", 1_699_920_000.0),
    ],
)
def test_a_time_is_unix_seconds_or_iso_8601_and_utc_without_an_offset(read: Read, written: str, seconds: float) -> None:
    found = stream(read, f"starting_position_timestamp: {written}", start="AT_TIMESTAMP")
    assert found.starting_position_timestamp == seconds


# --- rules


def test_the_table_of_the_rules_lists_them_all_with_what_they_read() -> None:
    text = mapping_rules.__doc__ or ""
    short = dict(re.findall(r"\b([A-Z_]+) (?:is )?([a-z]+(?:_[a-z]+)+)", text.replace("\n", " ")))
    rows = [
        (rule, group, ", ".join(short.get(name, name) for name in reads.split(", ")))
        for rule, group, reads in re.findall(r"^\| `(\w+)` +\| (\w+) +\| ([^|]+?) +\|", text, re.MULTILINE)
    ]
    groups = (
        ("all", mapping_rules._SHARED_RULES),
        ("SQS", mapping_rules._SQS_RULES),
        ("streams", mapping_rules._STREAM_RULES),
    )
    assert rows == [
        (rule.__name__.removeprefix("_"), group, ", ".join(reads)) for group, rules in groups for rule, reads in rules
    ]


DLQ = "destination_config: {on_failure: {destination: 'arn:aws:sqs:us-east-1:000000000000:dlq'}}"
BUCKET = "destination_config: {on_failure: {destination: 'arn:aws:s3:::failures'}}"


@pytest.mark.parametrize(
    ("arn", "settings", "warning"),
    [
        (
            KINESIS,
            "maximum_record_age_in_seconds: 59",
            "7:36: warning: mappings.m.maximum_record_age_in_seconds: 59 works here, but AWS's minimum is 60",
        ),
        (
            DYNAMODB,
            "MaximumRecordAgeInSeconds: 86401",
            (
                "7:32: warning: mappings.m.MaximumRecordAgeInSeconds: has no effect above 86400:"
                " DynamoDB keeps stream records for 24 hours"
            ),
        ),
        (
            KINESIS,
            "BisectBatchOnFunctionError: true\nbatch_size: 1",
            (
                "7:33: warning: mappings.m.BisectBatchOnFunctionError: has no effect with a batch_size of 1:"
                " one record cannot be split"
            ),
        ),
        (
            KINESIS,
            DLQ,
            (
                "7:52: warning: mappings.m.destination_config.on_failure.destination: nothing will ever be sent there:"
                " a failing batch is tried again without limit"
                " (set maximum_retry_attempts or maximum_record_age_in_seconds)"
            ),
        ),
        (
            KINESIS,
            "on_destination_failure: drop",
            "7:29: warning: mappings.m.on_destination_failure: has no effect without a destination",
        ),
        (
            KINESIS,
            f"failure_payload: object\nmaximum_retry_attempts: 0\n{DLQ}",
            "7:22: warning: mappings.m.failure_payload: has no effect: only an S3 destination gets the payload",
        ),
        (
            DYNAMODB,
            "poll_interval: 199ms",
            (
                "7:20: warning: mappings.m.poll_interval: below 0.2 s an emulator keeps up, but AWS allows about 5 reads"
                " a second per shard, of all its readers"
            ),
        ),
        (
            KINESIS,
            "metrics_config: {metrics: [EventCount]}",
            "7:21: warning: mappings.m.metrics_config: has no effect here: nothing is sent to CloudWatch",
        ),
    ],
)
def test_what_has_no_effect_or_is_beyond_aws_is_told(read: Read, arn: str, settings: str, warning: str) -> None:
    indented = "".join(f"    {line}\n" for line in settings.splitlines())
    loaded = read(f"  m:\n    Stream: {arn}\n    FunctionName: f\n    StartingPosition: LATEST\n{indented}")
    assert loaded.config is not None
    assert lines(loaded) == [f"esmd.yaml:{warning}"]


@pytest.mark.parametrize(
    ("arn", "settings"),
    [
        (KINESIS, "maximum_record_age_in_seconds: 60"),
        (KINESIS, "maximum_record_age_in_seconds: 604800"),
        (DYNAMODB, "maximum_record_age_in_seconds: 86400"),
        (KINESIS, "bisect_batch_on_function_error: true\nbatch_size: 2"),
        (KINESIS, f"maximum_retry_attempts: 0\n{DLQ}"),
        (KINESIS, f"maximum_record_age_in_seconds: 60\n{DLQ}"),
        (KINESIS, f"maximum_retry_attempts: 0\non_destination_failure: drop\n{DLQ}"),
        (KINESIS, f"maximum_retry_attempts: 0\nfailure_payload: object\n{BUCKET}"),
        (KINESIS, "on_destination_failure: block\nfailure_payload: string"),
        (KINESIS, "poll_interval: 0.2"),
        (KINESIS, "tumbling_window_in_seconds: 60\nparallelization_factor: 1"),
        (KINESIS, "tumbling_window_in_seconds: 0\nparallelization_factor: 10"),
    ],
)
def test_what_makes_sense_is_not_warned_about(read: Read, arn: str, settings: str) -> None:
    stream(read, settings, arn=arn)


@BOTH
def test_a_stream_makes_the_state_section_useful(read: Read, arn: str) -> None:
    stream(read, "", arn=arn)
    loaded = read(
        f"  a: {{Queue: '{QUEUE}', FunctionName: f}}\n"
        f"  b: {{Stream: '{arn}', FunctionName: f, StartingPosition: LATEST}}\nstate: {{path: positions.db}}\n"
    )
    assert loaded.config is not None
    assert lines(loaded) == []


def test_a_cap_of_a_queue_is_not_compared_with_streams(read: Read) -> None:
    Path("f.yaml").write_text("functions: {h: {handler: m.h, reserved_concurrency: 1}}", encoding="utf-8")
    read(f"  a: {{Stream: '{KINESIS}', FunctionName: h, StartingPosition: LATEST, ParallelizationFactor: 10}}\n")
    assert lines(load([Path("f.yaml"), Path("esmd.yaml")], environ={})) == []
