"""What is generated from the models is fresh, and knows every setting."""

from __future__ import annotations

import json
from pathlib import Path

from esmd.config.binding import spellings_of
from esmd.config.reference import reference_markdown, schema_json, with_reference
from esmd.config.schema import SqsMapping

ROOT = Path(__file__).parents[2]
RENEW = "run: python -m esmd.config.reference"


def test_the_committed_schema_is_fresh() -> None:
    assert (ROOT / "config" / "schema.json").read_text(encoding="utf-8") == schema_json(), RENEW


def test_the_page_in_the_docs_is_fresh() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert reference_markdown() in page, RENEW
    assert with_reference(page) == page, RENEW


def test_the_reference_names_every_spelling_of_every_setting() -> None:
    page = reference_markdown()
    assert [name for name in spellings_of(SqsMapping) if f"`{name}`" not in page] == []


def test_the_schema_says_what_a_person_may_write_and_nothing_else() -> None:
    schema = json.loads(schema_json())
    mapping = schema["$defs"]["SqsMapping"]
    assert mapping["required"] == ["event_source_arn", "function_name"]
    assert mapping["additionalProperties"] is False
    assert mapping["properties"]["batch_size"]["maximum"] == 10_000
    assert mapping["properties"]["batch_size"]["default"] == 10
    assert "name" not in mapping["properties"]
    function = schema["$defs"]["FunctionSettings"]
    assert function["required"] == ["handler"]
    assert "directory" not in function["properties"]
    assert "files" not in schema["properties"]
    pattern = schema["$defs"]["FilterSettings"]["properties"]["pattern"]
    assert pattern["type"] == ["object", "string"]
    described = [each for part in (schema, *schema["$defs"].values()) for each in part["properties"].values()]
    assert all(each.get("description") for each in described)
