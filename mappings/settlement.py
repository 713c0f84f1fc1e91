"""What becomes of an SQS batch after an invocation [specification A.4 to A.6].

| outcome       | `ReportBatchItemFailures` | answer           | deleted      | kept for the next receive | polling    |
|---------------|---------------------------|------------------|--------------|---------------------------|------------|
| success       | off                       | any              | all          | none                      | recovers   |
| success       | on                        | nothing failed   | all          | none                      | recovers   |
| success       | on                        | some failed      | the others   | the failed                | full rate  |
| success       | on                        | all failed       | none         | all                       | full rate  |
| success       | on                        | invalid          | none         | all                       | slows down |
| function error | any                      | -                | none         | all                       | slows down |
| rejected      | any                       | -                | none         | all                       | slows down |
| throttled     | any                       | -                | none, the invocation is tried again | -  | waits      |
| unreachable   | any                       | -                | none, the invocation is tried again | -  | waits      |

Kept records are not touched: their visibility timeout is the delay, the queue's `maxReceiveCount` the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from esmd.mappings.outcomes import FunctionError, Outcome, Rejected, Success, Throttled, Unreachable
from esmd.mappings.partial import Invalid, read_answer
from esmd.mappings.values import dataclass

if TYPE_CHECKING:
    from esmd.mappings.records import Batch, Record

Pace = Literal["recover", "keep", "slow"]
"""What the outcome says to the mapping's concurrency."""

INVALID_ANSWER = "InvalidBatchResponse"
"""Error type of a batch that failed because of what its handler answered."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The batch is done with: delete `done`, leave `kept` to their visibility timeout.

    `error_type` and `error_message` say why records were kept; both are None when none were, and when the handler
    named the failed records itself.
    """

    done: tuple[Record, ...]
    kept: tuple[Record, ...]
    pace: Pace
    error_type: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Nothing was run: invoke the same batch again while its records are still hidden from others."""

    reason: str
    throttled: bool


def settle(batch: Batch, outcome: Outcome, *, report_batch_item_failures: bool) -> Settled | TryAgain:
    """Decide by the table above."""
    everything = tuple(batch.records)
    match outcome:
        case Success() if not report_batch_item_failures:
            return Settled(everything, (), "recover")
        case Success():
            answer = read_answer(outcome.payload, (record.id for record in everything))
            if isinstance(answer, Invalid):
                return Settled((), everything, "slow", INVALID_ANSWER, answer.reason)
            if not answer.failed:
                return Settled(everything, (), "recover")
            done = tuple(record for record in everything if record.id not in answer.failed)
            kept = tuple(record for record in everything if record.id in answer.failed)
            return Settled(done, kept, "keep")
        case Throttled(reason):
            return TryAgain(reason, throttled=True)
        case Unreachable(message):
            return TryAgain(message, throttled=False)
        case FunctionError() | Rejected():
            return Settled((), everything, "slow", outcome.error_type, outcome.message)
