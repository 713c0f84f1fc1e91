"""What an invocation says about the records of a stream that it was given [specification B.5, B.7, B.8].

| outcome        | `ReportBatchItemFailures` | answer                         | verdict      | `statusCode` | `functionError` |
|----------------|---------------------------|--------------------------------|--------------|--------------|-----------------|
| success        | off                       | any                            | processed    | -            | -               |
| success        | on                        | nothing failed                 | processed    | -            | -               |
| success        | on                        | names records, not the first   | cut inside   | 200          | `null`          |
| success        | on                        | names the first record         | cut at first | 200          | `null`          |
| success        | on                        | invalid                        | failed       | 200          | `null`          |
| success        | any                       | refused by the mapping         | failed       | 200          | `null`          |
| function error | any                       | -                              | failed       | 200          | `"Unhandled"`   |
| rejected       | any                       | -                              | failed       | 413          | `null`          |
| throttled      | any                       | -                              | refused      | -            | -               |
| unreachable    | any                       | -                              | refused      | -            | -               |

The last two columns are what an on-failure destination is told. An answer is refused by the mapping when it asks for more
than `batchItemFailures`: a mapping with tumbling windows fails an answer without state.

The cut is at the lowest sequence number that the answer names. Records are in the order of the shard, which is the order
of their numbers as integers ("9" before "10"), so the lowest number is the named record that comes first. Should a server
number its records in another order, the first one is still right: nothing before it was named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from esmd.mappings.outcomes import LATEST, FunctionError, Outcome, Rejected, Success, Throttled, Unreachable
from esmd.mappings.partial import Invalid, read_answer
from esmd.mappings.settlement import INVALID_ANSWER
from esmd.mappings.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.mappings.records import Record

FailureKind = Literal["function_error", "rejected", "invalid_answer", "reported", "throttled", "unreachable"]
"""Why records were not processed: the handler failed, the event cannot be sent, the answer makes no sense, the handler
named them, no free concurrency, the function was out of reach. The last two are refusals: they are no attempt."""

REPORTED = "BatchItemFailures"
"""Error type of records that the handler itself named as failed."""


@dataclass(frozen=True, slots=True)
class Response:
    """What an on-failure destination is told about the last attempt, its `responseContext` [specification B.8].

    Attributes:
        status_code: of Lambda's Invoke call; 200 also when the function failed.
        executed_version: the version that ran.
        function_error: "Unhandled" when the handler failed; None when its answer was the failure, or it never ran.
    """

    status_code: int
    executed_version: str
    function_error: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an invocation left records unprocessed.

    Attributes:
        kind: see `FailureKind`.
        error_type: the handler's error type as Lambda spells it, or a name for the other kinds.
        error_message: for a person.
        response: for the destination; None if the invocation was refused, which is no attempt.
    """

    kind: FailureKind
    error_type: str
    error_message: str
    response: Response | None

    @property
    def counts(self) -> bool:
        """Whether it is an attempt that `MaximumRetryAttempts` limits."""
        return self.response is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an invocation of some records came to.

    Attributes:
        processed: how many of them, from the first on, are done with.
        failure: why the rest is not; None if there is no rest.
    """

    processed: int
    failure: Failure | None


def judge(
    records: Sequence[Record], outcome: Outcome, *, report_batch_item_failures: bool, refused_answer: str | None = None
) -> Verdict:
    """Decide by the table above.

    Args:
        records: what was sent, in order.
        outcome: what became of it.
        report_batch_item_failures: whether the mapping has `FunctionResponseTypes: [ReportBatchItemFailures]`.
        refused_answer: why the mapping refuses the answer of a success; None if it does not.
    """
    match outcome:
        case Throttled(reason):
            return Verdict(0, Failure("throttled", "Throttled", reason, None))
        case Unreachable(message):
            return Verdict(0, Failure("unreachable", "Unreachable", message, None))
        case FunctionError():
            response = Response(200, outcome.executed_version, "Unhandled")
            return Verdict(0, Failure("function_error", outcome.error_type, outcome.message, response))
        case Rejected():
            # Nothing ran, yet it is an attempt: sending the same event again can never work.
            response = Response(413, LATEST, None)
            return Verdict(0, Failure("rejected", outcome.error_type, outcome.message, response))
        case Success():
            response = Response(200, outcome.executed_version, None)
            if refused_answer is not None:
                return Verdict(0, Failure("invalid_answer", INVALID_ANSWER, refused_answer, response))
            if not report_batch_item_failures:
                return Verdict(len(records), None)
            return _read(records, outcome.payload, response)


def _read(records: Sequence[Record], payload: bytes, response: Response) -> Verdict:
    answer = read_answer(payload, (record.id for record in records))
    if isinstance(answer, Invalid):
        return Verdict(0, Failure("invalid_answer", INVALID_ANSWER, answer.reason, response))
    if not answer.failed:
        return Verdict(len(records), None)
    cut = next(at for at, record in enumerate(records) if record.id in answer.failed)
    message = f"the handler named {len(answer.failed)} of {len(records)} records, the first is {records[cut].id}"
    return Verdict(cut, Failure("reported", REPORTED, message, response))
