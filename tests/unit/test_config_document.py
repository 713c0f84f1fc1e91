"""Plain scalars are what YAML 1.2 says, less its traps."""

from __future__ import annotations

import math
from typing import Any

import pytest

from esmd.config.document import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("10", 10),
        ("-3", -3),
        ("+7", 7),
        ("0", 0),
        ("0x1f", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("12345678901", 12345678901),
        ("1234567890123", 1234567890123),
    ],
)
def test_values_of_the_core_schema(text: str, value: Any) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(float(resolve(".nan") or 0))


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "No", "on", "OFF", "y", "tRUE", "nULL", "0123", "-01", "00", "01.5", "12:30", "1_000", "0b11", "0X1F"),
        *("000000000000", "123456789012", "2026-01-31", "1.2.3", "--1", "e3", ".", "+", "1e", "٣", "9" * 5000),
    ],
)
def test_the_traps_of_other_schemas_are_text(text: str) -> None:
    assert resolve(text) == text


def test_twelve_digits_are_a_number_where_there_are_no_accounts() -> None:
    assert resolve("123456789012", accounts=False) == 123456789012
    assert resolve("000000000000", accounts=False) == "000000000000"
