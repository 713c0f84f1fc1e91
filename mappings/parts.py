"""The parts of a stream batch in trouble, and how they outlive a restart.

A part is a run of records that is invoked together and has its own attempts. A batch starts as one part; bisecting and
partial answers make more of it. What is saved for a restart, as JSON (`save`):

    {"version": 1, "since": 1700000000.0, "resolved": [],
     "parts": [{"first": "101", "last": "105", "records": 5, "attempts": 2, "failure": {...} or null}]}

After a restart the shard is read again from its checkpoint and the batch may look different. `restore` goes by sequence
numbers, as integers:

| record                                    | comes back as                                               |
|-------------------------------------------|-------------------------------------------------------------|
| inside a saved part                       | a record of that part, with its attempts                    |
| before, between or behind the saved parts | a record of a new part, without attempts                    |
| saved as resolved ahead of the checkpoint | resolved                                                    |
| inside a saved part that has grown        | a record of that part, without attempts: some are new to it |

A part whose records are gone (trimmed at the source) is gone. A snapshot that is damaged, from another version, or about
no record of the batch is ignored, with a reason: fresh attempts deliver too often, wrong ones would lose records.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, get_args

from esmd.mappings.verdicts import Failure, FailureKind, Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esmd.mappings.records import Record

_VERSION = 1
_LONGEST_NUMBER = 200
"""Digits; Kinesis has 56. Python refuses to read numbers of some thousand."""
_MESSAGE_SAVED = 1_000
"""Characters of an error message that are saved: it is for a person, and a checkpoint must stay small."""


@dataclass(frozen=True, slots=True)
class Part:
    """Records that go to the handler together.

    Attributes:
        members: their places in the batch, ascending.
        attempts: invocations of this part that failed and count.
        failure: the last failure of its records that counted, also one from before they were this part.
        refusals: throttles and lost connections in a row since it last ran; not saved.
        refusal: the last of them; not saved.
        not_before: when it may be invoked again, on the monotonic clock (seconds); not saved.
    """

    members: tuple[int, ...]
    attempts: int = 0
    failure: Failure | None = None
    refusals: int = 0
    refusal: Failure | None = None
    not_before: float = -math.inf


@dataclass(frozen=True, slots=True)
class Restored:
    """What a snapshot says about the records of a batch.

    Attributes:
        parts: of all records but the resolved ones, in order.
        resolved: places of records that were resolved ahead of the checkpoint.
        since: since when the batch has been failing (epoch seconds); None if it has not.
        ignored: why all or some of the snapshot was not used; None if it was.
    """

    parts: tuple[Part, ...]
    resolved: frozenset[int]
    since: float | None
    ignored: str | None


@dataclass(frozen=True, slots=True)
class _SavedPart:
    first: int
    last: int
    records: int
    attempts: int
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class _Saved:
    parts: tuple[_SavedPart, ...]
    resolved: frozenset[int]
    since: float | None
    end: str


class _UnusableError(Exception):
    """The snapshot cannot be used; the message says why."""


def save(
    parts: Iterable[Part], records: Sequence[Record], *, resolved: Iterable[int], since: float | None
) -> dict[str, Any]:
    """What a restart has to know, as a value that JSON can hold.

    Args:
        parts: all that is not resolved.
        records: of the batch.
        resolved: places of the records that are resolved ahead of the checkpoint.
        since: epoch seconds of the first failure since the batch last got on.
    """
    return {
        "version": _VERSION,
        "since": since,
        "resolved": [records[place].id for place in sorted(resolved)],
        "parts": [
            {
                "first": records[part.members[0]].id,
                "last": records[part.members[-1]].id,
                "records": len(part.members),
                "attempts": part.attempts,
                "failure": part.failure and _save_failure(part.failure),
            }
            for part in parts
        ],
    }


def _save_failure(failure: Failure) -> dict[str, Any]:
    response = failure.response
    return {
        "kind": failure.kind,
        "type": failure.error_type,
        "message": failure.error_message[:_MESSAGE_SAVED],
        "response": response and [response.status_code, response.executed_version, response.function_error],
    }


def saved_end(snapshot: object) -> str | None:
    """The sequence number at which a batch has to end to hold every saved part; None if the snapshot is unusable."""
    try:
        return _read(snapshot).end
    except _UnusableError:
        return None


def restore(snapshot: object, records: Sequence[Record]) -> Restored:
    """Form the saved parts again, by the table above."""
    try:
        saved = _read(snapshot)
        owners = _owners(saved, records)
    except _UnusableError as error:
        return Restored(_fresh(range(len(records))), frozenset(), None, str(error))
    found = Counter(owner for owner in owners if owner is not None)
    grown = {owner for owner, count in found.items() if count > saved.parts[owner].records}
    resolved = frozenset(place for place, record in enumerate(records) if _number(record.id) in saved.resolved)
    parts: list[Part] = []
    pending = (place for place in range(len(records)) if place not in resolved)
    for owner, places in groupby(pending, key=owners.__getitem__):
        if owner is None or owner in grown:
            parts += _fresh(places)
        else:
            part = saved.parts[owner]
            parts.append(Part(tuple(places), attempts=part.attempts, failure=part.failure))
    ignored = "records have come into a saved part since: its attempts start anew" if grown else None
    return Restored(tuple(parts), resolved, saved.since, ignored)


def _fresh(places: Iterable[int]) -> tuple[Part, ...]:
    members = tuple(places)
    return (Part(members),) if members else ()


def _owners(saved: _Saved, records: Sequence[Record]) -> list[int | None]:
    """For each record the saved part whose range it lies in."""
    starts = [part.first for part in saved.parts]
    owners: list[int | None] = []
    for record in records:
        number = _number(record.id)
        at = bisect_right(starts, number) - 1
        inside = at >= 0 and number <= saved.parts[at].last and number not in saved.resolved
        owners.append(at if inside else None)
    if all(owner is None for owner in owners):
        raise _UnusableError("the snapshot is about none of these records")
    return owners


def _read(snapshot: object) -> _Saved:
    """Take a snapshot apart, believing nothing: it may come from another version, or from a damaged file."""
    if not isinstance(snapshot, dict) or snapshot.get("version") != _VERSION:
        raise _UnusableError("the snapshot is of another version")
    try:
        parts = tuple(_read_part(part) for part in snapshot["parts"])
        resolved = frozenset(_number(text) for text in snapshot["resolved"])
        since = snapshot["since"]
        if since is not None and (isinstance(since, bool) or not isinstance(since, int | float)):
            raise _UnusableError("the snapshot is damaged: since is not a time")
    except (KeyError, TypeError, ValueError) as error:
        raise _UnusableError(f"the snapshot is damaged: {error!r}") from error
    if not parts or any(before.last >= after.first for before, after in pairwise(parts)):
        raise _UnusableError("the snapshot is damaged: its parts are not in order")
    return _Saved(parts, resolved, since, end=snapshot["parts"][-1]["last"])


def _read_part(saved: Mapping[str, Any]) -> _SavedPart:
    first, last = _number(saved["first"]), _number(saved["last"])
    failure = None if saved["failure"] is None else _read_failure(saved["failure"])
    part = _SavedPart(first, last, _count(saved["records"]), _count(saved["attempts"]), failure)
    # An attempt that left no failure behind did not happen: better to try again than to discard on its word.
    if first > last or not part.records or (part.attempts and failure is None):
        raise _UnusableError("the snapshot is damaged: a part contradicts itself")
    return part


def _read_failure(saved: Mapping[str, Any]) -> Failure:
    kind: FailureKind = saved["kind"]
    if kind not in get_args(FailureKind):
        raise _UnusableError("the snapshot is damaged: a failure of unknown kind")
    status, version, function_error = saved["response"]
    response = Response(_count(status), str(version), None if function_error is None else str(function_error))
    return Failure(kind, str(saved["type"]), str(saved["message"]), response)


def _number(text: object) -> int:
    """A sequence number; servers write from one to 56 digits."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > _LONGEST_NUMBER:
        raise _UnusableError(f"{text!r:.100} is not a sequence number")
    return int(text)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _UnusableError("the snapshot is damaged: a count is not a number")
    return value
