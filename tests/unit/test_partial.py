"""Every row of the specification's table A.5 (and B.7, which reads the same answers)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.partial import Invalid, Reported, read_answer

IDS = {"a", "b", "7"}


def failing(*identifiers: object) -> bytes:
    return json.dumps({"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]}).encode()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="no body at all"),
        pytest.param(b" \n", id="blank body"),
        pytest.param(b"null", id="null"),
        pytest.param(b'""', id="empty string"),
        pytest.param(b"[]", id="empty list"),
        pytest.param(b" null\n", id="null with blanks"),
        pytest.param(b' ""\n', id="empty string with blanks"),
        pytest.param(b"[ ]", id="empty list with blanks"),
        pytest.param(b"{}", id="empty object"),
        pytest.param(b'{"statusCode":200}', id="object without the key"),
        pytest.param(b'{"batchItemFailures":[]}', id="empty failures"),
        pytest.param(b'{"batchItemFailures":null}', id="null failures"),
    ],
)
def test_answers_that_mean_complete_success(payload):
    assert read_answer(payload, IDS) == Reported(frozenset())


@pytest.mark.parametrize(
    ("payload", "failed"),
    [
        pytest.param(failing("a"), {"a"}, id="one"),
        pytest.param(failing("b", "a"), {"a", "b"}, id="several"),
        pytest.param(failing("a", "a"), {"a"}, id="twice the same counts once"),
        pytest.param(failing(7), {"7"}, id="an integer counts as its text"),
        pytest.param(
            b'{"batchItemFailures":[{"itemIdentifier":"a","why":"x"}],"x":1}', {"a"}, id="further keys are ignored"
        ),
    ],
)
def test_answers_that_name_failures(payload, failed):
    assert read_answer(payload, IDS) == Reported(frozenset(failed))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"{", "the answer is not JSON", id="invalid JSON"),
        pytest.param(b"\xff\xfe", "the answer is not JSON", id="not UTF-8"),
        pytest.param(b'{"batchItemFailures":[NaN]}', "NaN is not a JSON value", id="NaN"),
        pytest.param(b"[" * 100_000, "the answer is not JSON", id="nested too deeply"),
        pytest.param(b'"done"', "the answer is a string", id="a text"),
        pytest.param(b"5", "the answer is a number", id="a number"),
        pytest.param(b"true", "the answer is a boolean", id="a boolean"),
        pytest.param(b"[1]", "the answer is a list", id="a list with something in it"),
        pytest.param(
            b'{"batchItemFailures":{}}', "batchItemFailures is an object, not a list", id="failures not a list"
        ),
        pytest.param(b'{"batchItemFailures":"a"}', "batchItemFailures is a string, not a list", id="failures a string"),
        pytest.param(
            b'{"batchItemFailures":["a"]}', "batchItemFailures[0] is a string, not an object", id="entry not an object"
        ),
        pytest.param(
            b'{"batchItemFailures":[{"foo":"a"}]}', "batchItemFailures[0] has no itemIdentifier", id="wrong key"
        ),
        pytest.param(failing(""), "batchItemFailures[0].itemIdentifier is an empty string", id="empty identifier"),
        pytest.param(failing(None), "batchItemFailures[0].itemIdentifier is null", id="null identifier"),
        pytest.param(failing(True), "batchItemFailures[0].itemIdentifier is a boolean", id="boolean identifier"),
        pytest.param(failing(1.5), "batchItemFailures[0].itemIdentifier is a number", id="fractional identifier"),
        pytest.param(
            failing("zzz"), "batchItemFailures[0].itemIdentifier 'zzz' is not in the batch", id="unknown identifier"
        ),
        pytest.param(
            failing(123), "batchItemFailures[0].itemIdentifier '123' is not in the batch", id="unknown integer"
        ),
        pytest.param(
            failing("a", ""), "batchItemFailures[1].itemIdentifier is an empty string", id="one good, one bad"
        ),
    ],
)
def test_answers_that_fail_the_whole_batch(payload, reason):
    answer = read_answer(payload, IDS)
    assert isinstance(answer, Invalid)
    assert reason in answer.reason


def test_of_a_long_identifier_a_hundred_characters_are_told():
    answer = read_answer(failing("x" * 1000), IDS)
    assert answer == Invalid(f"batchItemFailures[0].itemIdentifier {'x' * 100!r} is not in the batch")


@given(st.binary() | st.text().map(str.encode))
def test_no_answer_raises(payload):
    assert isinstance(read_answer(payload, IDS), Reported | Invalid)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier", "x"]), inner)
    ),
)


@given(json_values)
def test_whatever_is_reported_is_in_the_batch(value):
    answer = read_answer(json.dumps(value).encode(), IDS)
    assert isinstance(answer, Invalid) or answer.failed <= IDS
