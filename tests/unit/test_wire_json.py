"""The JSON of answers is read the same whichever parser is installed: what the quick ones refuse the patient one reads."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmd.mappings.events import encode
from esmd.pollers import wire_json
from esmd.pollers.wire_json import LARGE_BYTES, ProtocolError, parsed

from support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator


PARSERS = ["msgspec", "pydantic"]


@contextlib.contextmanager
def read_by(parser: str) -> Iterator[None]:
    """All answers are read as large ones, by msgspec or as where that is missing."""
    with pytest.MonkeyPatch.context() as patch:
        if parser == "msgspec":
            pytest.importorskip("msgspec", reason="not installed: pip install 'esmd[fast]'")
        else:
            patch.setitem(sys.modules, "msgspec", None)
        patch.setattr(wire_json, "LARGE_BYTES", 0)
        wire_json._large.cache_clear()
        yield
    wire_json._large.cache_clear()


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> Iterator[None]:
    with read_by(request.param):
        yield


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{",
        b"{} x",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_object_is_a_protocol_error(body):
    with pytest.raises(ProtocolError):
        parsed(body)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_nothing_is_lost_in_a_body(kind):
    body = b'{"i":123456789012345678901234567890,"f":1697045500.123,"s":"\\u00e9","n":null,"l":[null],"e":{"n":null}}'
    whole = {"i": 123456789012345678901234567890, "f": 1697045500.123, "s": "\u00e9", "l": [None], "e": {"n": None}}
    assert parsed(kind(body)) == whole
    assert parsed(kind(body.replace(b"\\u00e9", b"\\ud800"))) == whole | {"s": "\ud800"}
    assert parsed(kind(b"")) == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=examples(300))
@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=4))
def test_both_parsers_read_the_same(value):
    body = encode(value)
    read = []
    for each in PARSERS:
        with read_by(each):
            read.append(repr(parsed(body)))
    assert read[0] == read[1]


def test_msgspec_reads_what_is_large_and_is_not_even_loaded_for_the_rest(monkeypatch):
    asked = []
    monkeypatch.setattr(wire_json, "_large", lambda: lambda body: asked.append(body) or {})
    small, large = (encode({"a": "x" * (LARGE_BYTES - without)}) for without in (9, 8))
    assert (len(small), len(large)) == (LARGE_BYTES - 1, LARGE_BYTES)
    parsed(small)
    assert asked == []
    parsed(large)
    assert asked == [large]
