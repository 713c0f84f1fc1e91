"""Whatever a file holds, loading it gives a configuration or diagnostics, and never raises."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from esmd.config.binding import spellings_of
from esmd.config.loader import Loaded, load
from esmd.config.schema import AwsSettings, DynamoDbMapping, FunctionSettings, KinesisMapping, SqsMapping

from support.examples import examples

if TYPE_CHECKING:
    from pathlib import Path

ANY = settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = [
    *(
        "functions:",
        "mappings:",
        "aws:",
        "state:",
        "version:",
        "x-a:",
        "<<:",
        "&a",
        "*a",
        "!t",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
    ),
    *(
        "[",
        "]",
        ",",
        "\n",
        "\n  ",
        "\n    ",
        "'",
        '"',
        "|",
        ">",
        "#",
        "---",
        "...",
        "${A}",
        "${",
        "$$",
        "%",
        "@",
        "`",
        "\t",
    ),
    *(
        "f",
        "~nobody",
        "batch_size",
        "EventSourceArn",
        "1",
        "0x",
        "1e999",
        ".nan",
        "-",
        "\0",
        "\ufeff",
        "\u2028",
        "é",
        "\x85",
    ),
]
MODELS = (SqsMapping, KinesisMapping, DynamoDbMapping, FunctionSettings, AwsSettings)
NAMES = sorted({name for model in MODELS for name in spellings_of(model)})
SOURCES = [
    "arn:aws:sqs:us-east-1:000000000000:q",
    "arn:aws:kinesis:us-east-1:000000000000:stream/s",
    "arn:aws:dynamodb:us-east-1:000000000000:table/tab/stream/2024-01-01T00:00:00.000",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["${A}", "~nobody/x", "30s", "arn:aws:sqs:us-east-1:000000000000:q.fifo", "m.f", "f", "inline"]),
    st.sampled_from(
        [*SOURCES, "LATEST", "AT_TIMESTAMP", "2026-01-31", "0001-01-01T00:00:00+23:59", "arn:aws:s3:::b-b"]
    ),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=4)), inner, max_size=6),
    ),
    max_leaves=20,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "esmd.yaml"


def check(path: Path, raw: bytes) -> Loaded:
    path.write_bytes(raw)
    loaded = load([path], environ={"A": "\udcff"})
    assert (loaded.config is None) == any(each.severity == "error" for each in loaded.diagnostics)
    rows = raw.count(b"\n") + raw.count(b"\r") + 3 * len(raw)
    for each in loaded.diagnostics:
        assert str(each).isprintable()
        assert str(each).startswith(str(path))
        assert 0 <= each.line <= rows + 1
        assert (each.line == 0) == (each.column == 0)
    return loaded


@ANY
@given(st.binary(max_size=200))
def test_any_bytes(path: Path, raw: bytes) -> None:
    check(path, raw)


@ANY
@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
@example("x-a: &a\n  <<: *a\n")
@example("functions:\n  f:\n    python_path: [~nobody]\n")
def test_any_text_of_yaml_pieces(path: Path, text: str) -> None:
    check(path, text.encode())


@ANY
@given(TREES, TREES, TREES)
def test_any_tree_under_any_section(path: Path, function: Any, mapping: Any, aws: Any) -> None:
    document = {"functions": {"f": function}, "mappings": {"m": mapping}, "aws": aws}
    check(path, json.dumps(document).encode())


@ANY
@given(st.dictionaries(st.sampled_from(NAMES), TREES), st.sampled_from(SOURCES))
def test_any_values_beside_a_valid_mapping(path: Path, values: dict[str, Any], source: str) -> None:
    mapping = {**values, "event_source_arn": source, "function_name": "f"}
    check(path, json.dumps({"functions": {"f": {**values, "handler": "m.f"}}, "mappings": {"m": mapping}}).encode())


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc.$", min_size=1), inner, max_size=3)
    ),
    max_leaves=10,
)


@ANY
@given(st.dictionaries(st.text("abc", min_size=1), JSON, min_size=1, max_size=3))
def test_a_pattern_written_as_yaml_is_the_pattern_written_as_json_text(path: Path, pattern: dict[str, Any]) -> None:
    def document(value: Any) -> bytes:
        mapping = {
            "event_source_arn": "arn:aws:sqs:us-east-1:000000000000:q",
            "function_name": "f",
            "filter_criteria": {"filters": [{"pattern": value}]},
        }
        return json.dumps({"functions": {"f": {"handler": "m.f"}}, "mappings": {"m": mapping}}).encode()

    text = json.dumps(pattern, ensure_ascii=False).replace("$", "$$")
    dollars = json.loads(json.dumps(pattern))
    as_tree, as_text = check(path, document(dollars)), check(path, document(text))
    if as_tree.config and as_text.config:
        (one,), (other,) = (each.mappings["m"].filter_criteria.patterns for each in (as_tree.config, as_text.config))
        assert json.loads(one) == json.loads(other)
    else:
        assert [each.message for each in as_tree.diagnostics] == [each.message for each in as_text.diagnostics]
