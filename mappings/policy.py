"""What happens to a stream batch until every one of its records is resolved: the failure rules of Kinesis and DynamoDB.

One `BatchPolicy` drives one batch of one shard (or of one lane of it) [specification B.5 to B.8]. It knows no clock and does
nothing: ask `next` for a command, carry it out, report with `invoked` or `discarded`, ask again.

    Invoke ----> processed ------------------------------> resolved
     ^  |          ^
     |  |          '-- records before the cut
     |  '------> not processed --> split, retried ----> Wait --> Invoke
     |                         '-> limit reached -----> Discard --> resolved
     '--- the next part

A batch is one part at first. Parts are worked off in order, one at a time, so order holds for every key. After an
invocation (the verdict is explained in `esmd.mappings.verdicts`):

| verdict              | bisect | records | attempts left | what becomes of the part                       | attempts  | wait    |
|----------------------|--------|---------|---------------|------------------------------------------------|-----------|---------|
| processed            | any    | any     | any           | resolved                                       | -         | -       |
| cut inside           | any    | many    | any           | resolved before the cut; the rest is a part    | restart   | initial |
| cut at first         | on     | many    | any           | split behind the first record                  | restart   | initial |
| failed               | on     | many    | any           | split in the middle, the smaller half first    | restart   | initial |
| failed, cut at first | off    | many    | yes           | retried                                        | one more  | doubled |
| failed, cut at first | any    | one     | yes           | retried                                        | one more  | doubled |
| failed, cut at first | off    | many    | no            | discarded: RetryAttemptsExhausted              | one more  | -       |
| failed, cut at first | any    | one     | no            | discarded: RetryAttemptsExhausted              | one more  | -       |
| refused              | any    | any     | any           | retried                                        | unchanged | doubled |

"Attempts left" asks whether, after this one, `MaximumRetryAttempts` allows another. The wait is before the next invocation of
what this one left over; doubled: from the initial wait, with every failure (or refusal) in a row of this part. Before an
invocation, also before the first and before every retry:

| attempts left | records too old | waiting | command                                                     |
|---------------|-----------------|---------|-------------------------------------------------------------|
| no            | any             | any     | Discard all of the part: RetryAttemptsExhausted             |
| yes           | some            | any     | Discard the first run of those too old: RecordAgeExceeded   |
| yes           | none            | yes     | Wait until the wait ends or the last of the part is too old |
| yes           | none            | no      | Invoke                                                      |

A part of many records always has attempts left while bisecting is on: its failures split it. A record is too old once its
age reaches `MaximumRecordAgeInSeconds`; age never starts anew. Those that are left when others got too old keep their
attempts: otherwise records that grow old one by one would prolong each other's retries without end.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esmd.mappings.backoff import delay
from esmd.mappings.commands import (
    Bisected,
    Command,
    Discard,
    Finished,
    Invoke,
    Note,
    Processed,
    Retrying,
    Trouble,
    Wait,
)
from esmd.mappings.parts import Part, restore, save, saved_end
from esmd.mappings.values import dataclass
from esmd.mappings.verdicts import Failure, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.mappings.outcomes import Outcome
    from esmd.mappings.records import Record

RETRY_BACKOFF_INITIAL = 0.4
"""Default seconds of the first wait. With doubling it gives 8 invocations in 60 s, whatever the jitter: the number AWS was
recorded to make [specification B.5]."""
RETRY_BACKOFF_MAXIMUM = 60.0
"""Default seconds of the longest wait."""

_CLOCK_SLACK = 0.001
"""Seconds after which a wake-up for an expiry comes late, so that rounding between two clocks does not bring it early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """The failure options of a mapping.

    Attributes:
        maximum_retry_attempts: beyond the first attempt; 0: none, -1: no limit.
        maximum_record_age: seconds since the record's arrival; -1: no limit.
        bisect: whether a failing part of many records is split.
        report_batch_item_failures: whether the handler's answer is read for failed records.
        retry_backoff_initial: seconds to wait after a first failure.
        retry_backoff_maximum: seconds; the longest wait.
        jitter: returns a number in [0, 1); see `esmd.mappings.backoff`.
    """

    maximum_retry_attempts: int
    maximum_record_age: float
    bisect: bool
    report_batch_item_failures: bool
    retry_backoff_initial: float
    retry_backoff_maximum: float
    jitter: Callable[[], float] = random.random


class BatchPolicy:
    """The rules above, for one batch.

    Every command but `Wait` is repeated until it is reported, so asking twice does no harm. Leaving a policy at any moment
    loses nothing: what is not resolved lies behind the checkpoint.

    Args:
        records: of one shard or lane, in the shard's order, without duplicates.
        options: of the mapping.
        resume: what `snapshot` gave before a restart; the batch should reach `resume_end(resume)`. The limits are those of
            `options`, also for attempts made before.

    Attributes:
        resume_ignored: why `resume` was not used, or not all of it; None if it was, or none was given.
    """

    def __init__(self, records: Sequence[Record], options: PolicyOptions, resume: object = None) -> None:
        self._records = tuple(records)
        self._options = options
        self._ahead: set[int] = set()
        self._count = 0
        self._since: float | None = None
        self._given: Invoke | Discard | None = None
        self.resume_ignored: str | None = None
        if resume is None:
            self._parts = deque([Part(tuple(range(len(self._records))))] if self._records else [])
            return
        restored = restore(resume, self._records)
        self._parts = deque(restored.parts)
        self._resolve(tuple(restored.resolved))
        self._since = restored.since
        self.resume_ignored = restored.ignored

    @staticmethod
    def resume_end(snapshot: object) -> str | None:
        """The sequence number that the batch given with `resume` has to reach, and better not pass.

        A shorter batch forgets the attempts of what is missing, a longer one puts the surplus into a part of its own. None:
        the snapshot is unusable, batch as usual.
        """
        return saved_end(snapshot)

    @property
    def resolved_count(self) -> int:
        """How many records, from the first on without a gap, are processed or discarded. It never falls."""
        return self._count

    @property
    def position(self) -> str | None:
        """Sequence number of the last of them: a checkpoint may stand there. None if there is none."""
        return self._records[self._count - 1].id if self._count else None

    @property
    def trouble(self) -> Trouble | None:
        """Why the batch does not get on; None while nothing has failed since a record was last resolved."""
        part = self._parts[0] if self._parts else None
        if part is None or self._since is None:
            return None
        failure = part.refusal or part.failure
        if failure is None:
            return None
        expires_at = self._expiry(part) if self._options.maximum_record_age >= 0 else None
        return Trouble(self._of(part.members), part.attempts, failure, self._since, expires_at)

    def snapshot(self) -> dict[str, Any] | None:
        """What a restart has to know to go on with the same attempts, for JSON; None if there is nothing.

        Save it together with the position, after every report. Waits and refusals are not part of it: after a restart
        the first try comes at once.
        """
        if not self._ahead and all(part.failure is None for part in self._parts):
            return None
        return save(self._parts, self._records, resolved=self._ahead, since=self._since)

    def next(self, now_monotonic: float, now_epoch: float) -> Command:
        """What to do now, by the second table.

        Args:
            now_monotonic: the clock of `Wait`, in seconds.
            now_epoch: the clock of the records' age, in seconds.
        """
        if self._given is not None:
            return self._given
        if not self._parts:
            return Finished()
        command = self._command(self._parts[0], now_monotonic, now_epoch)
        if not isinstance(command, Wait):
            self._given = command
        return command

    def _command(self, part: Part, now_monotonic: float, now_epoch: float) -> Invoke | Discard | Wait:
        failure = part.failure
        if failure is not None and self._exhausted(part):
            records = self._of(part.members)
            return Discard(records, "RetryAttemptsExhausted", part.attempts, failure.response, failure)
        if expired := self._expired(part, now_epoch):
            return Discard(self._of(expired), "RecordAgeExceeded", max(1, part.attempts), None, failure)
        last = part.refusal or failure
        if last is not None and part.not_before > now_monotonic:
            until = part.not_before
            if self._options.maximum_record_age >= 0:
                until = min(until, now_monotonic + (self._expiry(part) - now_epoch) + _CLOCK_SLACK)
            return Wait(until, last.kind)
        return Invoke(self._of(part.members))

    def invoked(
        self, outcome: Outcome, now_monotonic: float, now_epoch: float, *, refused_answer: str | None = None
    ) -> tuple[Note, ...]:
        """Report what became of the last `Invoke`; decides by the first table.

        Args:
            outcome: of the invocation.
            now_monotonic: when it ended; waits begin here.
            now_epoch: the same moment on the other clock.
            refused_answer: why a successful answer is a failure all the same (no state in a tumbling window).

        Raises:
            RuntimeError: the last command was no `Invoke`.
        """
        if not isinstance(self._given, Invoke):
            raise RuntimeError("nothing was invoked")  # noqa: TRY004  the order is wrong, not a type
        self._given = None
        part = self._parts.popleft()
        reporting = self._options.report_batch_item_failures
        records = self._of(part.members)
        verdict = judge(records, outcome, report_batch_item_failures=reporting, refused_answer=refused_answer)
        notes: list[Note] = []
        if verdict.processed:
            self._resolve(part.members[: verdict.processed])
            notes.append(Processed(records[: verdict.processed]))
        if verdict.failure is not None:
            if self._since is None:
                self._since = now_epoch
            notes += self._failed(part, verdict.processed, verdict.failure, now_monotonic)
        return tuple(notes)

    def discarded(self) -> None:
        """Report that the records of the last `Discard` are taken care of: taken by the destination, or to be dropped.

        Raises:
            RuntimeError: the last command was no `Discard`.
        """
        if not isinstance(self._given, Discard):
            raise RuntimeError("nothing was to be discarded")  # noqa: TRY004  the order is wrong, not a type
        gone = {record.id for record in self._given.records}
        self._given = None
        part = self._parts.popleft()
        left = tuple(place for place in part.members if self._records[place].id not in gone)
        if left:
            self._parts.appendleft(replace(part, members=left))
        self._resolve(tuple(place for place in part.members if self._records[place].id in gone))

    def _failed(self, part: Part, processed: int, failure: Failure, now: float) -> list[Note]:
        """Put back what an invocation left over; a note says how, none if it is to be discarded next."""
        members = part.members[processed:]
        if not failure.counts:
            wait = self._delay(part.refusals + 1)
            part = replace(part, refusals=part.refusals + 1, refusal=failure, not_before=now + wait)
        elif processed:
            wait = self._delay(1)
            part = Part(members, failure=failure, not_before=now + wait)
        elif self._options.bisect and len(members) > 1:
            return [self._split(members, failure, now)]
        else:
            wait = self._delay(part.attempts + 1)
            part = Part(members, attempts=part.attempts + 1, failure=failure, not_before=now + wait)
        self._parts.appendleft(part)
        return [] if self._exhausted(part) else [Retrying(self._of(members), part.attempts, wait, failure)]

    def _split(self, members: tuple[int, ...], failure: Failure, now: float) -> Bisected:
        # A handler that names the first record has found the culprit: halving would only search for it again.
        cut = 1 if failure.kind == "reported" else len(members) // 2
        wait = self._delay(1)
        self._parts.appendleft(Part(members[cut:], failure=failure))
        self._parts.appendleft(Part(members[:cut], failure=failure, not_before=now + wait))
        sizes = (cut, len(members) - cut)
        return Bisected(self._of(members), sizes, self._records[members[cut]].id, wait, failure)

    def _exhausted(self, part: Part) -> bool:
        limit = self._options.maximum_retry_attempts
        splittable = self._options.bisect and len(part.members) > 1
        return 0 <= limit < part.attempts and not splittable

    def _expired(self, part: Part, now_epoch: float) -> tuple[int, ...]:
        """The first run of records of the part that are too old; none of the batch lies between them."""
        limit = self._options.maximum_record_age
        run: list[int] = []
        if limit < 0:
            return ()
        for place in part.members:
            if self._records[place].arrived_at + limit <= now_epoch:
                if run and place != run[-1] + 1:
                    break
                run.append(place)
        return tuple(run)

    def _expiry(self, part: Part) -> float:
        """When the last record of the part is too old (epoch seconds)."""
        arrived = max(self._records[place].arrived_at for place in part.members)
        return arrived + self._options.maximum_record_age

    def _delay(self, failures: int) -> float:
        options = self._options
        initial, maximum = options.retry_backoff_initial, options.retry_backoff_maximum
        return delay(failures, initial=initial, maximum=maximum, jitter=options.jitter)

    def _of(self, members: tuple[int, ...]) -> tuple[Record, ...]:
        if members and members[-1] - members[0] == len(members) - 1:  # a run without gaps, as nearly always
            return self._records[members[0] : members[-1] + 1]
        return tuple([self._records[place] for place in members])

    def _resolve(self, places: tuple[int, ...]) -> None:
        if places:
            self._since = None
        if places and not self._ahead and places[0] == self._count and places[-1] - places[0] == len(places) - 1:
            self._count += len(places)
            return
        self._ahead.update(places)
        while self._count in self._ahead:
            self._ahead.remove(self._count)
            self._count += 1
