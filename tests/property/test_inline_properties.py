"""What an inline handler is given of an event is what `json.loads` would make of it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esmd.invoke.inline import quick_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters()), inner, max_size=5),
    max_leaves=20,
)


def same(left: object, right: object) -> bool:
    """Equal, down to the types, and to the sign of a zero."""
    return repr(left) == repr(right)


@given(VALUES, st.booleans())
@example("\ud800", True)
@example({"big": 2**200, "small": -(2**80), "zero": -0.0, "tiny": 5e-324}, False)
def test_every_value_is_read_as_it_was_written(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=""):
            quick_json(text)
        return
    assert same(quick_json(text), expected)


@given(st.binary(max_size=50))
@example(b"NaN")
@example(b"-Infinity")
@example(b'{"a": 1, "a": 2}')
@example(b"[1e400, -1e400, 0.1, 1E5, -0]")
@example(b'"\\ud83d\\ude00 \\u0000"')
@example(b" \n[1]\t")
@example(b"\xef\xbb\xbf[]")
@example(b"[" * 300 + b"]" * 300)
def test_any_bytes_are_read_alike_or_refused_alike(text: bytes) -> None:
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError) as error:
        with pytest.raises(type(error)):
            quick_json(text)
        return
    found = quick_json(text)
    assert same(found, expected) or (isinstance(found, float) and math.isnan(found))
