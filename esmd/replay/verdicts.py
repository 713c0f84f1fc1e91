"""What the outcome of a replay means: which of its records are done, and why the others are not.

| outcome                        | `ReportBatchItemFailures` | done                                             |
|--------------------------------|---------------------------|--------------------------------------------------|
| success                        | off                       | all                                              |
| success, no failures           | on                        | all                                              |
| success, failures named        | on, queue                 | those that are not named                         |
| success, failures named        | on, stream                | those before the first one that is named         |
| success, an invalid answer     | on                        | none                                             |
| anything else                  | any                       | none                                             |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.mappings.partial import Invalid, read_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.mappings.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ids of the records that are done, and why the others are not; None where all are."""

    done: frozenset[str]
    reason: str | None = None


def verdict(outcome: Outcome, ids: Sequence[str], *, report: bool, is_stream: bool) -> Verdict:
    """What an outcome means, by the module's table.

    Args:
        outcome: of the invocation.
        ids: of the event's records, in order.
        report: whether `batchItemFailures` count.
        is_stream: whether what follows a failed record has failed too.
    """
    match outcome:
        case Success():
            return _of_answer(outcome.payload, ids, is_stream=is_stream) if report else Verdict(frozenset(ids))
        case FunctionError():
            reason = f"{outcome.error_type}: {outcome.message}" if outcome.message else outcome.error_type
        case Throttled():
            reason = f"throttled ({outcome.reason})"
        case Unreachable():
            reason = f"unreachable ({outcome.message})"
        case Rejected():
            reason = f"{outcome.error_type}: {outcome.message}"
    return Verdict(frozenset(), reason)


def _of_answer(payload: bytes, ids: Sequence[str], *, is_stream: bool) -> Verdict:
    answer = read_answer(payload, ids)
    if isinstance(answer, Invalid):
        return Verdict(frozenset(), answer.reason)
    failed = [place for place, each in enumerate(ids) if each in answer.failed]
    if not failed:
        return Verdict(frozenset(ids))
    done = ids[: failed[0]] if is_stream else [each for each in ids if each not in answer.failed]
    return Verdict(frozenset(done), f"{len(done)} of {len(ids)} records are done, by batchItemFailures")


def event_ids(event: bytes, kind: str) -> list[str]:
    """The ids of an event's records, as a handler names them; an event of another shape has none."""
    member, key = {
        "kinesis": ("kinesis", "sequenceNumber"),
        "dynamodb": ("dynamodb", "SequenceNumber"),
    }[kind]
    try:
        records: list[dict[str, Any]] = json.loads(event)["Records"]
        return [str(record[member][key]) for record in records]
    except (ValueError, LookupError, TypeError):
        return []
