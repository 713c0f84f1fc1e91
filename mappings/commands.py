"""What a stream batch's failure rules ask for, and what they say has happened: the words of `esmd.mappings.policy`.

Commands are to be carried out and reported. Notes are for whoever watches: events, metrics, tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from esmd.mappings.values import dataclass

if TYPE_CHECKING:
    from esmd.mappings.records import Record
    from esmd.mappings.verdicts import Failure, FailureKind, Response

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
"""The limit that ended a record, as AWS names it [specification B.8]."""


# --- commands


@dataclass(frozen=True, slots=True)
class Invoke:
    """Send these records to the handler, then report with `invoked`."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until_monotonic` (seconds of the monotonic clock); then ask again. Asking earlier is harmless."""

    until_monotonic: float
    why: FailureKind


@dataclass(frozen=True, slots=True)
class Discard:
    """Give these records up: tell the destination, if there is one, then report with `discarded`.

    Attributes:
        records: a run without gaps in the batch.
        condition: the limit that was reached.
        approximate_invoke_count: invocations of these records as a part, at least 1; refused ones do not count.
        response: of the last attempt; None if they got too old (recorded on AWS).
        failure: their last failure that counted, for the log; None if they never failed.
    """

    records: tuple[Record, ...]
    condition: Condition
    approximate_invoke_count: int
    response: Response | None
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Finished:
    """Every record is resolved."""


Command = Invoke | Wait | Discard | Finished


# --- notes: what an outcome did


@dataclass(frozen=True, slots=True)
class Processed:
    """These records are done with."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Retrying:
    """These records are invoked again after `delay` seconds; `attempts` of theirs count so far."""

    records: tuple[Record, ...]
    attempts: int
    delay: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Bisected:
    """These records go on as two parts of `sizes`, the second from sequence number `at`; the first after `delay` seconds."""

    records: tuple[Record, ...]
    sizes: tuple[int, int]
    at: str
    delay: float
    failure: Failure


Note = Processed | Retrying | Bisected


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the batch does not get on.

    Attributes:
        records: those that fail now.
        attempts: of theirs that count so far.
        failure: the last one, refusals included.
        since: epoch seconds of the first failure since a record was last resolved.
        expires_at: epoch seconds at which the last of them is too old; None without such a limit.
    """

    records: tuple[Record, ...]
    attempts: int
    failure: Failure
    since: float
    expires_at: float | None
