"""The examples of docs/filters.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from esmd.mappings import matchers
from esmd.mappings.exact_json import decode
from esmd.mappings.patterns import InvalidPattern, compile_pattern, pattern_warnings

PAGE = (Path(__file__).parents[2] / "docs/filters.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table that hold code, row by row."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| ")]
    return [re.findall(r"`([^`]+)`", line) for line in lines[1:]]


EXAMPLES = rows("Grammar")
MAY_BE_REFUSED = rows("What real Lambda may refuse")
INVALID = rows("Invalid patterns")


def test_every_operator_has_an_example():
    assert len(EXAMPLES) >= 20
    assert all(len(row) == 3 for row in EXAMPLES)
    shown = " ".join(row[0] for row in EXAMPLES + MAY_BE_REFUSED)
    assert all(f'"{operator}"' in shown for operator in matchers._OPERATORS)


@pytest.mark.parametrize(("pattern", "matching", "other"), EXAMPLES + MAY_BE_REFUSED)
def test_example(pattern, matching, other):
    compiled = compile_pattern(pattern)
    assert compiled.matches(decode(matching))
    assert not compiled.matches(decode(other))


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row[0])
def test_what_the_grammar_shows_is_in_lambdas_own_table(row):
    assert pattern_warnings(row[0]) == ()


@pytest.mark.parametrize("row", MAY_BE_REFUSED, ids=lambda row: row[0])
def test_what_lambda_may_refuse_is_warned_of(row):
    assert "may refuse" in pattern_warnings(row[0])[0].message


@pytest.mark.parametrize("row", INVALID, ids=lambda row: row[0])
def test_invalid_example(row):
    with pytest.raises(InvalidPattern):
        compile_pattern(row[0])


def test_there_are_invalid_examples():
    assert len(INVALID) >= 5
