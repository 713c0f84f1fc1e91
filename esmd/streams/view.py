"""What a shard tells about itself, for people who ask: where it stands, and what holds it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esmd.streams.delivery import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A batch that fails and holds up what is behind it.

    Attributes:
        error_type: of the last failure.
        error_message: of the last failure.
        attempts: so far, those that count.
        records: in the part of the batch that fails now.
        first_sequence_number: of these.
        last_sequence_number: of these.
        since: epoch seconds of the first failure since a record was last resolved.
        expires_at: epoch seconds at which they are too old; None without `MaximumRecordAgeInSeconds`.
        retry_in_s: seconds until the next invocation; None while it runs, or waits for a place in the function.
    """

    error_type: str
    error_message: str
    attempts: int
    records: int
    first_sequence_number: str
    last_sequence_number: str
    since: float
    expires_at: float | None
    retry_in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardView:
    """One shard that is being read.

    Attributes:
        shard: its id.
        position: stored: where reading goes on after a kill.
        outstanding: records that were read and are not resolved.
        in_flight: batches under way.
        caught_up: whether the last read found nothing more.
        millis_behind_latest: of the last read; None where the service does not say.
        blocked: what holds it up; None where nothing does.
    """

    shard: str
    position: str
    outstanding: int
    in_flight: int
    caught_up: bool
    millis_behind_latest: int | None
    blocked: Blocked | None


def blocked_by(deliveries: list[Delivery], now: float) -> Blocked | None:
    """What holds a shard up: of its failing batches the one that has failed the longest. `now` is the loop's time."""
    failing = [(trouble, each) for each in deliveries if (trouble := each.trouble) is not None]
    if not failing:
        return None
    trouble, delivery = min(failing, key=lambda each: each[0].since)
    return Blocked(
        error_type=trouble.failure.error_type,
        error_message=trouble.failure.error_message,
        attempts=trouble.attempts,
        records=len(trouble.records),
        first_sequence_number=trouble.records[0].id,
        last_sequence_number=trouble.records[-1].id,
        since=trouble.since,
        expires_at=trouble.expires_at,
        retry_in_s=None if delivery.retry_at is None else max(0.0, delivery.retry_at - now),
    )
