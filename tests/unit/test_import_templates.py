"""SAM and CloudFormation templates in the shape of public projects, and what comes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from esmd.config.schema import CommandFunction, LambdaFunction, PythonFunction, SqsMapping

from support.imports import TEMPLATES, Result, template

if TYPE_CHECKING:
    from pathlib import Path

QUEUE = "  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}\n"
FUNCTION = """\
  F:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: app.handler
      Events:
"""


def sam(folder: Path, events: str, more: str = "", **given: str) -> Result:
    """A function with these events, one a line, beside a queue."""
    lines = "".join(f"        {line}\n" for line in events.splitlines())
    file = folder / "t.yaml"
    file.write_text(f"Resources:\n{QUEUE}{more}{FUNCTION}{lines}", encoding="utf-8")
    return template(file, folder=folder, **given)


def sqs(folder: Path, properties: str, more: str = "", **given: str) -> Result:
    """A function that reads the queue with these properties."""
    return sam(folder, f"E: {{Type: SQS, Properties: {{{properties}}}}}", more, **given)


# --- whole templates


def test_the_pattern_of_a_queue_and_its_function(tmp_path):
    result = template(TEMPLATES / "sqs-lambda.yaml", folder=TEMPLATES)
    (tmp_path / "imported.yaml").write_text(result.text, encoding="utf-8")
    result._folder = tmp_path
    config = result.config
    [mapping], [function] = config.mappings.values(), config.functions.values()
    assert isinstance(mapping, SqsMapping)
    assert mapping.name == "OrdersFunction.Orders"
    assert mapping.event_source_arn == "arn:aws:sqs:us-east-1:000000000000:orders-dev"
    assert (mapping.batch_size, mapping.enabled, mapping.scaling_config.maximum_concurrency) == (5, True, 3)
    assert mapping.function_response_types == ("ReportBatchItemFailures",)
    assert mapping.filter_criteria.patterns == (
        '{"body": {"kind": ["order"], "amount": [{"numeric": [">", 1.50]}]}}',
    ), "a pattern stays as it is written"
    assert isinstance(function, PythonFunction)
    assert (function.handler, function.timeout) == ("app:lambda_handler", 20)
    assert function.python_path == (tmp_path / "src/orders",)
    assert function.environment == {
        "LOG_LEVEL": "INFO",  # of Globals
        "STAGE": "dev",  # of the function, which wins
        "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/orders-dev",
        "PRICE": "$${not a variable} $5 $$",  # a dollar sign stays one
    }
    left_out, http = result.said
    assert ":43:24: warning: Resources.OrdersFunction.Environment.OTHER_STACK: left out: Fn::ImportValue" in left_out
    assert ":60:17: warning: Resources.OrdersFunction.Events.Http: an event of type Api is no event source" in http


def test_consumers_of_a_stream(tmp_path):
    result = template(TEMPLATES / "kinesis-consumer.yaml", folder=tmp_path)
    config = result.config
    clicks, sums = config.mappings["Counter.Clicks"], config.mappings["Sums.Clicks"]
    assert clicks.event_source_arn == sums.event_source_arn == "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"
    assert "# enhanced fan-out is not supported: the stream itself is read" in result.text
    settings = clicks.model_dump()
    expected = {
        "starting_position": "TRIM_HORIZON",
        "batch_size": 200,
        "maximum_batching_window_in_seconds": 5,
        "parallelization_factor": 4,
        "maximum_retry_attempts": 3,
        "maximum_record_age_in_seconds": 3600,
        "bisect_batch_on_function_error": True,
    }
    assert {name: settings[name] for name in expected} == expected
    assert str(clicks.on_failure) == "arn:aws:sns:us-east-1:000000000000:click-failures"
    assert sums.tumbling_window_in_seconds == 60
    assert [type(each) for each in config.functions.values()] == [LambdaFunction, LambdaFunction]
    assert "# a container image: invoked through Lambda's API" in result.text
    assert "# runtime nodejs20.x: invoked through Lambda's API" in result.text


def test_a_consumer_that_is_not_made_in_another_region_is_refused_there(tmp_path):
    result = template(TEMPLATES / "kinesis-consumer.yaml", folder=tmp_path, pseudo={"AWS::Region": "eu-west-1"})
    assert [line.partition("yaml")[2] for line in result.said] == [
        ":33:21: ClickConsumer is not made: its condition does not hold (give another --parameter)"
    ]


def test_a_tables_stream_in_json(tmp_path):
    result = template(TEMPLATES / "table-stream.json", folder=tmp_path, pseudo={"AWS::StackName": "shop"})
    config = result.config
    audit, elsewhere = config.mappings["AuditMapping"], config.mappings["ElsewhereMapping"]
    assert audit.event_source_arn == "arn:aws:dynamodb:us-east-1:000000000000:table/orders-shop/stream/latest"
    assert (audit.batch_size, audit.maximum_retry_attempts, audit.tags) == (50, 2, {"team": "orders"})
    assert str(audit.on_failure) == "arn:aws:sqs:us-east-1:000000000000:audit-failures"
    assert "# AWS invokes version or alias live" in result.text
    assert (elsewhere.function_name, elsewhere.enabled) == ("elsewhere-blue", False)
    function, other = config.functions["Audit"], config.functions["elsewhere-blue"]
    assert isinstance(function, PythonFunction)
    assert (function.memory_size, function.timeout, function.environment) == (256, 60, {"TABLE": "orders-shop"})
    assert isinstance(other, LambdaFunction)
    assert other.target == "arn:aws:lambda:us-east-1:000000000000:function:elsewhere:blue"


@pytest.mark.parametrize(
    ("stage", "batch", "window", "timeout", "queue", "names"),
    [
        ("dev", 10, 0, 30, "orders-dev-us-east-1-d", ["Worker.Named", "Worker.Fifo"]),
        ("prod", 100, 5, 60, "orders-prod-us-east-1-p", ["OnlyInProd.Prod", "Worker.Named", "Worker.Fifo"]),
    ],
)
def test_intrinsics_by_stage(tmp_path, stage, batch, window, timeout, queue, names):
    config = template(TEMPLATES / "intrinsics.yaml", folder=tmp_path, Stage=stage, Given="g").config
    assert list(config.mappings) == names
    named, fifo = config.mappings["Worker.Named"], config.mappings["Worker.Fifo"]
    assert named.event_source_arn == f"arn:aws:sqs:us-east-1:000000000000:{queue}"
    assert (named.batch_size, named.maximum_batching_window_in_seconds) == (batch, window)
    assert (fifo.event_source_arn, fifo.batch_size) == ("arn:aws:sqs:us-east-1:000000000000:Queue.fifo", 3)
    worker = config.functions["intrinsics-worker"]
    assert isinstance(worker, CommandFunction)
    assert (worker.timeout, worker.handler) == (timeout, "bootstrap")
    assert worker.environment == {
        "GIVEN": "g",
        "ENCODED": "aGVsbG8=",
        "AS_JSON": json.dumps({"a": [1, True], "b": stage}, separators=(",", ":")),
        "LITERAL": "${Literal} Queue.fifo",
    }


# --- refusals


@pytest.mark.parametrize(
    ("properties", "complaint"),
    [
        ("Queue: !ImportValue x", "Fn::ImportValue cannot be resolved here (it comes from another stack"),
        ("Queue: !GetAtt Q.Arm", "Arm of Q (AWS::SQS::Queue) is known only when it is deployed"),
        ("Queue: !GetAtt R.Arn", 'there is no resource "R"'),
        ("Queue: !Ref Qu", 'there is no parameter or resource "Qu"'),
        ("Queue: !Sub '${Nobody}'", 'there is no parameter or resource "Nobody"'),
        (
            "Queue: !Ref AWS::StackId",
            "AWS::StackId is known only when it is deployed (give it: --parameter AWS::StackId=VALUE)",
        ),
        ("Queue: !Join [',', a, b]", "the function takes a list of 2"),
        ("Queue: !Select [3, [a, b]]", 'Select finds nothing at "3" of 2'),
        ("Queue: !Select [x, [a, b]]", 'Select finds nothing at "x" of 2'),
        ("Queue: !Split ['', a]", "Split takes a delimiter"),
        ("Queue: !If [Nobody, a, b]", 'there is no condition "Nobody"'),
        ("Queue: !FindInMap [A, B, C]", 'the mappings have no "A.B.C"'),
        ("Queue: !Cidr [a, b, c]", "Fn::Cidr cannot be resolved here"),
        ("Queue: [a]", "Queue is missing, or no text"),
        ("BatchSize: 3", "Queue is missing, or no text"),
        ("Queue: !GetAtt Q.Arn, Batchsize: 3", 'unknown setting "Batchsize" (did you mean BatchSize?)'),
        ("Queue: !GetAtt Q.Arn, Topics: [t]", "Topics belongs to Kafka"),
        ("Queue: !GetAtt Q.Arn, BatchSize: 20000", "batch_size: must be 1 to 10000, not 20000"),
        ("Queue: !GetAtt Q.Arn, StartingPosition: LATEST", "starting_position: belongs to stream mappings"),
        ("Queue: 'arn:aws:kafka:us-east-1:000000000000:cluster/c'", "Kafka sources are not supported by this version"),
        ("Queue: !GetAtt Q.Arn, FilterCriteria: {Filters: [{Pattern: '{'}]}", "Invalid filter pattern definition."),
    ],
)
def test_what_cannot_be_known_or_taken_is_refused_with_its_place(tmp_path, properties, complaint):
    result = sqs(tmp_path, properties)
    assert result.failed
    assert len(result.said) == 1
    place, _, message = result.said[0].partition(": ")
    assert complaint in message
    assert place.startswith(f"{tmp_path}/t.yaml:9:")


@pytest.mark.parametrize("kind", ["MSK", "MQ", "SelfManagedKafka", "DocumentDB"])
def test_sources_that_are_not_supported_are_refused(tmp_path, kind):
    result = sam(tmp_path, f"E: {{Type: {kind}, Properties: {{Stream: s}}}}")
    assert result.failed
    assert f"events of type {kind} are not supported by this version" in result.said[0]


def test_a_function_whose_events_are_none_of_ours_is_passed_over_in_silence(tmp_path):
    result = sam(tmp_path, "E: {Type: Api, Properties: {Path: /, Method: get}}")
    assert (result.failed, result.said, result.text) == (False, [], "")


def test_a_parameter_without_a_default_has_to_be_given(tmp_path):
    text = (
        "Parameters: {Arn: {Type: String}}\nResources:\n"
        + FUNCTION
        + "        E: {Type: SQS, Properties: {Queue: !Ref Arn}}\n"
    )
    file = tmp_path / "t.yaml"
    file.write_text(text, encoding="utf-8")
    refused = template(file, folder=tmp_path)
    assert refused.said == [f"{file}:9:44: the parameter Arn has no default (give it: --parameter Arn=VALUE)"]
    given = template(file, folder=tmp_path, Arn="arn:aws:sqs:us-east-1:000000000000:given")
    assert given.config.mappings["F.E"].event_source_arn.endswith(":given")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the file is empty"),
        ("[1]", "must be a mapping"),
        ("a: 1", "no Resources: this is no template"),
        ("Resources: [1]", "must be a mapping"),
        ("Resources: {A: 1}", "a resource is a mapping with a Type"),
        (
            "Resources: {'Fn::ForEach::X': [a, [b], {}]}",
            "ForEach makes resources that are known only when it is deployed",
        ),
        ("Resources: {A: &a [*a]}", "stands for nothing"),
        ("Resources: {A: !!python/object:os.system {}}", "the tag !!python/object:os.system is not supported"),
        ("Resources: {A: {Type: x, Type: y}}", "stands twice"),
        ("\xff", "not UTF-8"),
    ],
)
def test_what_is_no_template_is_refused(tmp_path, text, complaint):
    file = tmp_path / "t.yaml"
    file.write_bytes(text.encode("latin-1"))
    result = template(file, folder=tmp_path)
    assert result.failed
    assert complaint in " ".join(result.said)


def test_what_depends_on_itself_is_refused(tmp_path):
    more = "  A: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub '${A.QueueName}x'}}\n"
    assert "the name of A depends on itself" in sqs(tmp_path, "Queue: !GetAtt A.Arn", more).said[0]
    file = tmp_path / "t.yaml"
    file.write_text(
        "Conditions: {C: !Not [{Condition: C}]}\n" + file.read_text("utf-8").replace("!GetAtt A.Arn", "!If [C, a, b]")
    )
    assert "the condition C depends on itself" in template(file, folder=tmp_path).said[0]


def test_names_that_double_without_end_are_refused_soon(tmp_path):
    more = "".join(
        f"  Q{n}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !Sub '${{Q{n + 1}.QueueName}}${{Q{n + 1}.QueueName}}'}}}}\n"
        for n in range(20)
    )
    result = sqs(
        tmp_path, "Queue: !GetAtt Q0.Arn", more + "  Q20: {Type: AWS::SQS::Queue, Properties: {QueueName: xxxxxxxx}}\n"
    )
    assert "becomes a text of more than 65,536 characters" in result.said[0]


def test_references_that_go_too_deep_are_refused(tmp_path):
    more = "".join(
        f"  Q{n}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !GetAtt Q{n + 1}.QueueName}}}}\n"
        for n in range(200)
    )
    result = sqs(tmp_path, "Queue: !GetAtt Q0.Arn", more + "  Q200: {Type: AWS::SQS::Queue}\n")
    assert "nested too deeply" in result.said[0]


# --- functions


@pytest.mark.parametrize(
    ("properties", "form", "note"),
    [
        ("Runtime: python3.12, Handler: a.b", {"handler": "a.b"}, ""),
        (
            "Runtime: python3.12, Handler: a.b, CodeUri: src, Layers: [x]",
            {"handler": "a.b", "python_path": ["src"]},
            "layers",
        ),
        ("Runtime: python3.12, Handler: a.b, CodeUri: 's3://b/k'", {"lambda": "F"}, "its code is in S3"),
        ("Runtime: python3.12, Handler: a.b, CodeUri: {Bucket: b, Key: k}", {"lambda": "F"}, "S3"),
        ("Runtime: python3.12, Handler: a.b, CodeUri: dist/f.zip", {"lambda": "F"}, "the archive f.zip"),
        ("Runtime: python3.12, Handler: a.b, InlineCode: x", {"lambda": "F"}, "stands in the template"),
        ("Runtime: provided.al2, CodeUri: out", {"command": ["./out/bootstrap"]}, "sam build"),
        ("Runtime: java21, Handler: a.B::c, CodeUri: target", {"lambda": "F"}, "runtime java21"),
        (
            "PackageType: Image, ImageUri: i, ReservedConcurrentExecutions: 7",
            {"lambda": "F", "reserved_concurrency": 7},
            "image",
        ),
    ],
)
def test_the_form_of_a_function_follows_from_its_runtime_and_its_code(tmp_path, properties, form, note):
    file = tmp_path / "t.yaml"
    file.write_text(
        f"Resources:\n{QUEUE}  F:\n    Type: AWS::Serverless::Function\n"
        f"    Properties: {{{properties}, Events: {{E: {{Type: SQS, Properties: {{Queue: !GetAtt Q.Arn}}}}}}}}\n",
        encoding="utf-8",
    )
    result = template(file, folder=tmp_path)
    assert result.config.functions
    assert read(result.text)["functions"] == {"F": form}
    assert note in "".join(line for line in result.text.splitlines() if line.lstrip().startswith("#"))


def read(text: str) -> dict[str, Any]:
    import yaml

    data: dict[str, Any] = yaml.safe_load(text)
    return data


@pytest.mark.parametrize(
    "value", ["0o17", "1e3", "~", "", "null", "0x1f", ".inf", "a\nb", "$${x}", "$$$", "é\u0085", "yes"]
)
def test_a_variable_of_the_environment_stays_the_text_it_is(tmp_path, value):
    file = tmp_path / "t.json"
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {
            "Runtime": "python3.12",
            "Handler": "a.b",
            "Environment": {"Variables": {"V": value}},
            "Events": {"E": {"Type": "SQS", "Properties": {"Queue": "arn:aws:sqs:us-east-1:000000000000:q"}}},
        },
    }
    file.write_text(json.dumps({"Resources": {"F": function}}), encoding="utf-8")
    [imported] = template(file, folder=tmp_path).config.functions.values()
    assert isinstance(imported, PythonFunction)
    assert imported.environment == {"V": value}
