"""What a worker makes of an event: what `json.loads` does, however large it is and whatever is installed."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmd.invoke import worker

from support.examples import examples

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def large(value):
    return json.dumps([value, " " * worker.LARGE_BYTES]).encode()


@settings(max_examples=examples(30))
@given(VALUES)
def test_a_large_event_is_read_as_a_small_one(value):
    event = large(value)
    assert worker.argument(event) == json.loads(event)
    assert worker.argument(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ['"\\ud800"', "1e400", "-0.0", "12345678901234567890123", "0.1", "NaN"])
def test_rare_values_are_the_same_too(text):
    event = b"[%b, %b]" % (text.encode(), json.dumps(" " * worker.LARGE_BYTES).encode())
    assert repr(worker.argument(event)) == repr(json.loads(event))


def test_an_event_that_is_no_json_is_refused_as_before():
    with pytest.raises(json.JSONDecodeError):
        worker.argument(b"[" + b" " * worker.LARGE_BYTES)


def test_an_environment_without_pydantic_or_with_a_broken_one_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic_core", None)
    worker._quick_parser.cache_clear()
    try:
        assert worker.argument(large({"a": 1}))[0] == {"a": 1}
        assert worker._quick_parser() is None
    finally:
        worker._quick_parser.cache_clear()
