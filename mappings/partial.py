"""Reading a handler's `batchItemFailures` answer [specification A.5, B.7].

| answer (JSON text)                                        | verdict                                    |
|-----------------------------------------------------------|--------------------------------------------|
| empty, `null`, `""`, `[]`, `{}`                           | nothing failed                             |
| object without `batchItemFailures`, or with `null` or `[]` | nothing failed                             |
| list of `{"itemIdentifier": ID}`, every ID in the batch   | these failed (an ID named twice counts once) |
| an ID that is `""`, `null`, missing or not in the batch   | everything failed                          |
| an entry or list of another shape                         | everything failed                          |
| any other JSON value, invalid JSON                        | everything failed                          |

An integer identifier counts as its decimal text: handlers in JavaScript and Java produce them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Never

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Reported:
    """A valid answer: the ids that failed, possibly none."""

    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Invalid:
    """An answer that fails the whole batch; `reason` says what is wrong with it."""

    reason: str


_NOTHING_FAILED = Reported(frozenset())

_USUAL = frozenset({b"", b"null", b'{"batchItemFailures": []}', b'{"batchItemFailures":[]}', b"{}", b'""', b"[]"})
"""What handlers without a failure answer, letter by letter: these need not be parsed."""


def read_answer(payload: bytes, ids: Iterable[str]) -> Reported | Invalid:
    """Read the answer to a batch of the records `ids`.

    Args:
        payload: the handler's answer as it came; need not be JSON.
        ids: record ids of the batch.
    """
    if payload in _USUAL or payload.isspace():
        return _NOTHING_FAILED
    try:
        answer = json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return Invalid(f"the answer is not JSON ({error})")
    if answer is None or answer in ("", []):
        return _NOTHING_FAILED
    if not isinstance(answer, dict):
        return Invalid(f"the answer is {_kind(answer)}, not an object")
    failures = answer.get("batchItemFailures")
    if failures is None:
        return _NOTHING_FAILED
    if not isinstance(failures, list):
        return Invalid(f"batchItemFailures is {_kind(failures)}, not a list")
    known = set(ids) if failures else ()
    failed = set()
    for position, entry in enumerate(failures):
        where = f"batchItemFailures[{position}]"
        if not isinstance(entry, dict):
            return Invalid(f"{where} is {_kind(entry)}, not an object")
        if "itemIdentifier" not in entry:
            return Invalid(f"{where} has no itemIdentifier")
        identifier = entry["itemIdentifier"]
        if isinstance(identifier, int) and not isinstance(identifier, bool):
            identifier = str(identifier)
        if not isinstance(identifier, str) or not identifier:
            return Invalid(f"{where}.itemIdentifier is {_kind(identifier)}")
        if identifier not in known:
            return Invalid(f"{where}.itemIdentifier {identifier[:100]!r} is not in the batch")
        failed.add(identifier)
    return Reported(frozenset(failed))


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON value")


def _kind(value: object) -> str:
    """A JSON value named for a person."""
    if value is None:
        return "null"
    if value == "":
        return "an empty string"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else "a number"
