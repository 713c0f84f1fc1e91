"""The claims of the conformance scenarios fail when they should."""

from __future__ import annotations

import pytest
from conformance.claims import Seen, differences
from conformance.stage import scenarios


def journal(*batches):
    return [
        {
            "at": float(n),
            "records": batch,
            "receive_counts": [1] * len(batch),
            "first": {"a": None},
            "event": ["state"],
        }
        for n, batch in enumerate(batches)
    ]


GIVEN_UP = {"condition": "RecordAgeExceeded", "approximateInvokeCount": 1, "batchSize": 2, "functionError": None}
SEEN = Seen(
    journal([1, 2], [2]),
    0,
    [4, 3],
    [
        {
            "requestContext": {"condition": "RecordAgeExceeded", "approximateInvokeCount": 1},
            "KinesisBatchInfo": {"batchSize": 2},
        }
    ],
)


@pytest.mark.parametrize(
    ("expect", "holds"),
    [
        ({"invocations": [[1, 2], [2]]}, True),
        ({"invocations": [[1, 2]]}, False),
        ({"most_invocations": 2}, True),
        ({"most_invocations": 1}, False),
        ({"attempts": {1: 1, 2: 2}}, True),
        ({"attempts": {1: 1}}, False),
        ({"attempts": {1: 1, 2: 2, 3: 1}}, False),
        ({"receive_counts": [[1, 1], [1]]}, True),
        ({"receive_counts": [[1, 1], [2]]}, False),
        ({"order": [[1, 2]]}, True),
        ({"order": [[2, 1]]}, False),
        ({"left": 0}, True),
        ({"left": 1}, False),
        ({"dead": [3, 4]}, True),
        ({"dead": []}, False),
        ({"absent": ["b"]}, True),
        ({"absent": ["a"]}, False),
        ({"present": {"a": None}}, True),
        ({"present": {"b": None}}, False),
        ({"event": ["state"]}, True),
        ({"event": ["window"]}, False),
        ({"overlap": 2}, True),
        ({"overlap": 1}, False),
        ({"destination": [GIVEN_UP]}, True),
        ({"destination": []}, False),
    ],
)
def test_a_claim_holds_or_not(expect, holds):
    assert (differences(expect, SEEN) == []) is holds


def test_a_claim_that_nobody_knows_is_an_error():
    with pytest.raises(ValueError, match="no such claim: colour"):
        differences({"colour": "red"}, SEEN)


def test_every_scenario_has_a_name_of_its_own_and_knows_its_claims():
    all_of_them = scenarios()
    assert len({each.name for each in all_of_them}) == len(all_of_them) > 30
    for each in all_of_them:
        differences(each.expect, Seen([], 0, [], []))
