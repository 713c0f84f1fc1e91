"""Nothing that a template or a serverless.yml holds makes an import raise, take long, or write what lint refuses."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.examples import examples
from support.imports import serverless, template

NAMES = st.sampled_from(["A", "B", "P", "Q", "F", "C", "AWS::Region", "AWS::NoValue", "", "x", "Arn", "0", "StreamArn"])
ATTRIBUTES = st.sampled_from(["Arn", "QueueName", "StreamArn", "QueueUrl", "x"])
TEXTS = st.one_of(
    NAMES,
    st.text(max_size=8),
    st.builds("${{{}}}{}".format, NAMES, NAMES),
    st.builds("{}.{}".format, NAMES, ATTRIBUTES),
    st.sampled_from(
        ["arn:aws:sqs:us-east-1:000000000000:q", "${", "${!x}", "${self:custom.a}", "${opt:s, self:custom.b}"]
    ),
)
SCALARS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.floats())
FUNCTIONS = [
    *("Ref", "Condition", "Fn::GetAtt", "Fn::Sub", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::If", "Fn::Equals"),
    *(
        "Fn::And",
        "Fn::Or",
        "Fn::Not",
        "Fn::FindInMap",
        "Fn::Base64",
        "Fn::ToJsonString",
        "Fn::Length",
        "Fn::ImportValue",
    ),
]
SETTINGS = ["BatchSize", "FilterCriteria", "Enabled", "ScalingConfig", "DestinationConfig", "StartingPosition", "Tags"]


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    return st.one_of(
        lists,
        st.dictionaries(TEXTS, inner, max_size=3),
        st.builds(lambda name, argument: {name: argument}, st.sampled_from(FUNCTIONS), st.one_of(inner, lists)),
    )


VALUES = st.recursive(SCALARS, nested, max_leaves=12)


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    """Resources that refer to each other, right and wrong."""
    event = st.fixed_dictionaries(
        {"Type": st.sampled_from(["SQS", "Kinesis", "DynamoDB", "Api", "MSK"])},
        optional={
            "Properties": st.one_of(
                VALUES,
                st.fixed_dictionaries(
                    {}, optional=dict.fromkeys(("Queue", "Stream", "EventSourceArn", *SETTINGS), VALUES)
                ),
            )
        },
    )
    function = st.fixed_dictionaries(
        {"Runtime": st.sampled_from(["python3.12", "provided.al2", "nodejs20.x"]), "Handler": TEXTS},
        optional={
            "FunctionName": VALUES,
            "CodeUri": VALUES,
            "Timeout": VALUES,
            "Environment": st.one_of(
                VALUES, st.builds(lambda v: {"Variables": v}, st.dictionaries(TEXTS, VALUES, max_size=2))
            ),
            "Events": st.one_of(VALUES, st.dictionaries(NAMES, event, max_size=2)),
        },
    )
    return {
        "F": {"Type": "AWS::Serverless::Function", "Condition": draw(NAMES), "Properties": draw(function)},
        "A": {"Type": "AWS::Serverless::Function", "Properties": draw(function)},
        "Q": {"Type": "AWS::SQS::Queue", "Properties": draw(st.fixed_dictionaries({}, optional={"QueueName": VALUES}))},
        "B": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": draw(
                st.fixed_dictionaries(
                    {"FunctionName": VALUES, "EventSourceArn": VALUES}, optional=dict.fromkeys(SETTINGS, VALUES)
                )
            ),
        },
    }


TEMPLATES = st.fixed_dictionaries(
    {"Resources": st.one_of(resources(), VALUES)},
    optional={
        "Parameters": st.one_of(VALUES, st.dictionaries(NAMES, VALUES, max_size=2)),
        "Conditions": st.one_of(VALUES, st.dictionaries(NAMES, VALUES, max_size=3)),
        "Mappings": VALUES,
        "Globals": VALUES,
    },
)


def written(text: str, name: str) -> Path:
    folder = Path(tempfile.mkdtemp())
    file = folder / name
    file.write_bytes(text.encode("utf-8", errors="replace"))
    return file


def is_orderly(result: Any) -> None:
    """Every line has its place, and what was written is a configuration."""
    assert all("\n" not in line for line in result.said)
    assert result.failed == any(": warning: " not in line for line in result.said)
    if result.text and not result.failed:
        assert result.config.mappings


@settings(max_examples=examples(200))
@given(data=TEMPLATES)
def test_any_template_is_imported_or_refused(data):
    file = written(json.dumps(data), "t.json")
    is_orderly(template(file, folder=file.parent))


EVENTS = st.one_of(
    VALUES,
    st.lists(
        st.one_of(
            VALUES,
            st.builds(
                lambda kind, arn, more: {kind: {"arn": arn, **more}},
                st.sampled_from(["sqs", "stream", "http", "msk"]),
                VALUES,
                st.dictionaries(
                    st.sampled_from(["batchSize", "filterPatterns", "destinations", "consumer"]), VALUES, max_size=2
                ),
            ),
        ),
        max_size=3,
    ),
)
SERVICES = st.fixed_dictionaries(
    {
        "functions": st.one_of(
            VALUES, st.dictionaries(NAMES, st.fixed_dictionaries({"handler": TEXTS, "events": EVENTS}), max_size=2)
        )
    },
    optional={
        "service": VALUES,
        "custom": st.one_of(VALUES, st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3)),
        "provider": VALUES,
        "resources": st.one_of(VALUES, st.builds(lambda each: {"Resources": each}, resources())),
    },
)


@settings(max_examples=examples(200))
@given(data=SERVICES)
def test_any_service_is_imported_or_refused(data):
    file = written(json.dumps(data), "serverless.yml")
    is_orderly(serverless(file, folder=file.parent, s="x"))


@given(text=st.text(alphabet="!&*<>{}[]:,- \n'\"#|$ARefSub.0aé", max_size=200))
def test_any_text_is_imported_or_refused(text):
    file = written(f"Resources:\n  A: {text}", "t.yaml")
    is_orderly(template(file, folder=file.parent))
    is_orderly(serverless(file, folder=file.parent))
