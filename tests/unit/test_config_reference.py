"""What is generated from the models is fresh, and knows every setting."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from esmd.config.binding import spellings_of
from esmd.config.reference import reference_markdown, schema_json, with_reference
from esmd.config.schema import DynamoDbMapping, KinesisMapping, SqsMapping

ROOT = Path(__file__).parents[2]
RENEW = "run: python -m esmd.config.reference"


def test_the_committed_schema_is_fresh() -> None:
    assert (ROOT / "config" / "schema.json").read_text(encoding="utf-8") == schema_json(), RENEW


def test_the_page_in_the_docs_is_fresh() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert reference_markdown() in page, RENEW
    assert with_reference(page) == page, RENEW


@pytest.mark.parametrize(
    ("model", "title"),
    [
        (SqsMapping, "`mappings.<name>`: an SQS queue"),
        (KinesisMapping, "`mappings.<name>`: a Kinesis stream"),
        (DynamoDbMapping, "`mappings.<name>`: a DynamoDB stream"),
    ],
)
def test_the_reference_names_every_spelling_of_every_setting_in_the_section_of_its_kind(
    model: type[SqsMapping | KinesisMapping | DynamoDbMapping], title: str
) -> None:
    section = reference_markdown().partition(f"### {title}\n")[2].partition("\n### ")[0]
    assert [name for name in spellings_of(model) if f"`{name}`" not in section] == []


def test_the_schema_says_what_a_person_may_write_and_nothing_else() -> None:
    schema = json.loads(schema_json())
    mapping = schema["$defs"]["SqsMapping"]
    assert mapping["required"] == ["event_source_arn", "function_name"]
    stream = schema["$defs"]["DynamoDbMapping"]
    assert stream["required"] == ["event_source_arn", "function_name", "starting_position"]
    assert stream["properties"]["starting_position"]["enum"] == ["TRIM_HORIZON", "LATEST"]
    assert "starting_position_timestamp" not in stream["properties"]
    assert "starting_position_timestamp" in schema["$defs"]["KinesisMapping"]["properties"]
    assert mapping["additionalProperties"] is False
    assert mapping["properties"]["batch_size"]["maximum"] == 10_000
    assert mapping["properties"]["batch_size"]["default"] == 10
    assert "name" not in mapping["properties"]
    forms = {
        "PythonFunction": ["handler"],
        "CommandFunction": ["command"],
        "HttpFunction": ["url"],
        "LambdaFunction": ["lambda"],
        "RoutedFunction": ["versions"],
    }
    for form, required in forms.items():
        assert schema["$defs"][form]["required"] == required
        assert "directory" not in schema["$defs"][form]["properties"]
    assert {
        each["$ref"].rpartition("/")[2] for each in schema["properties"]["functions"]["additionalProperties"]["anyOf"]
    } == {*forms}
    assert "target" not in schema["$defs"]["LambdaFunction"]["properties"]
    assert "files" not in schema["properties"]
    pattern = schema["$defs"]["FilterSettings"]["properties"]["pattern"]
    assert pattern["type"] == ["object", "string"]
    described = [each for part in (schema, *schema["$defs"].values()) for each in part["properties"].values()]
    assert all(each.get("description") for each in described)


@pytest.mark.parametrize(
    ("arn", "kinds"),
    [
        ("arn:aws:sqs:us-east-1:000000000000:q", ["SqsMapping"]),
        ("arn:aws:kinesis:us-east-1:000000000000:stream/s", ["KinesisMapping"]),
        ("arn:aws:dynamodb:us-east-1:000000000000:table/tab/stream/now", ["DynamoDbMapping"]),
        ("${SOURCE}", ["SqsMapping", "KinesisMapping", "DynamoDbMapping"]),
        ("arn:aws:sns:us-east-1:000000000000:t", []),
    ],
)
def test_an_editor_tells_the_kinds_of_mappings_apart_by_the_arn(arn: str, kinds: list[str]) -> None:
    schema = json.loads(schema_json())
    choices = [
        each["$ref"].rpartition("/")[2] for each in schema["properties"]["mappings"]["additionalProperties"]["anyOf"]
    ]
    patterns = {name: schema["$defs"][name]["properties"]["event_source_arn"]["pattern"] for name in choices}
    assert [name for name, pattern in patterns.items() if re.search(pattern, arn)] == kinds
