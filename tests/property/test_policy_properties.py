"""The failure rules of streams hold whatever handlers, clocks, sources and restarts do.

The machine plays shell and source. It keeps its own, simple account of every record, and compares after every step.
"""

from __future__ import annotations

import json

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from esmd.mappings.commands import Discard, Finished, Invoke, Processed, Wait
from esmd.mappings.outcomes import Rejected, Throttled, Unreachable
from esmd.mappings.policy import BatchPolicy

from support.policy_lab import ERROR, OK, ids, naming, options, record

RETRIES = st.sampled_from([3, 1, 0, -1])
AGES = st.sampled_from([-1, 60])
WRITES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 0, 1, 30, 55, 70])), min_size=2, max_size=9)
"""Key and age of records."""
OUTCOMES = ["error", "error", "error", "names", "nonsense", "rejected", "throttled", "unreachable", "ok"]
INVOCATIONS = st.lists(
    st.tuples(
        st.sampled_from(OUTCOMES),
        st.sets(st.integers(0, 8), min_size=1, max_size=3),
        st.sampled_from([0.0, 0.0, 0.5, 20.0]),
    ),
    min_size=1,
    max_size=3,
)
REJECTED = Rejected("RequestTooLargeException", "7 MB")


class Batch(RuleBasedStateMachine):
    @initialize(
        writes=WRITES,
        first=st.integers(1, 97),
        retries=RETRIES,
        age=AGES,
        bisect=st.booleans(),
        partial=st.booleans(),
    )
    def begin(self, writes, first, retries, age, bisect, partial):
        self.epoch = 1_000.0
        self.monotonic = 7.0
        self.first = first
        self.source = []  # every record there is, in order
        for each in writes:
            self.write(*each)
        self.retries, self.age, self.bisect, self.partial = retries, age, bisect, partial
        self.options = options(
            maximum_retry_attempts=retries,
            maximum_record_age=age,
            bisect=bisect,
            report_batch_item_failures=partial,
            jitter=lambda: 0.5,
        )
        self.fate = {}  # number -> processed, discarded or trimmed
        self.chain = {}  # number -> counted failures in its present part
        self.start([each.id for each in self.source], None)

    def write(self, key, age=0.0):
        number = self.first + len(self.source)
        self.source.append(record(number, key=key, arrived_at=self.epoch - age))

    def start(self, numbers, snapshot):
        self.batch = [each for each in self.source if each.id in numbers]
        self.policy = BatchPolicy(self.batch, self.options, snapshot)
        assert self.policy.resume_ignored is None
        self.seen = 0

    # --- the account

    def pending(self):
        return [int(each.id) for each in self.batch if int(each.id) not in self.fate]

    def settle(self, numbers, fate):
        for number in numbers:
            assert number not in self.fate, f"{number} is resolved twice"
            self.fate[number] = fate
            self.chain.pop(number, None)

    def expired(self, number):
        return self.age >= 0 and self.source[number - self.first].arrived_at + self.age <= self.epoch

    # --- what the shell does

    @rule(
        writes=WRITES,
        invocations=INVOCATIONS,
        killed=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)),
    )
    def go_on(self, writes, invocations, killed):
        if not self.pending():
            self.next_batch(writes)
        for outcome, named, duration in invocations:
            for _ in range(100):
                if self.step(outcome, named, duration):
                    break
                self.the_checkpoint_is_monotone_and_passes_no_unresolved_record()
            else:
                raise AssertionError("no end of waits and discards")
        if killed:
            self.restart(*killed)

    def step(self, outcome, named, duration):
        """Carry out one command; whether it was an invocation, or nothing is left to do."""
        command = self.policy.next(self.monotonic, self.epoch)
        assert self.policy.next(self.monotonic, self.epoch) == command
        note(f"at {self.epoch}: {command}")
        match command:
            case Invoke(sent):
                self.deliver(ids(sent), outcome, named, duration)
            case Discard():
                self.give_up(command)
            case Wait(until):
                assert until > self.monotonic
                self.pass_time(until - self.monotonic)
            case Finished():
                assert self.pending() == []
        return isinstance(command, Invoke | Finished)

    def next_batch(self, writes):
        """The shard goes on behind the checkpoint."""
        before = len(self.source)
        for each in writes:
            self.write(*each)
        self.start([each.id for each in self.source[before:]], None)

    def deliver(self, sent, outcome, named, duration):
        pending = self.pending()
        assert sent
        assert sent == pending[: len(sent)], "order: nothing is delivered while an earlier record is pending"
        assert not any(self.expired(number) for number in sent)
        if self.retries >= 0 and not (self.bisect and len(sent) > 1):
            assert all(self.chain.get(number, 0) <= self.retries for number in sent), "an attempt too many"
        self.pass_time(duration)
        answer, cut = {
            "ok": (OK, len(sent)),
            "error": (ERROR, 0),
            "rejected": (REJECTED, 0),
            "throttled": (Throttled(), None),
            "unreachable": (Unreachable("connection reset"), None),
            "names": (None, None),
            "nonsense": (naming("unheard of"), 0),
        }[outcome]
        if outcome == "names":
            places = sorted({place % len(sent) for place in named})
            answer, cut = naming(*(str(sent[place]) for place in reversed(places))), places[0]
        if outcome in ("names", "nonsense") and not self.partial:
            cut = len(sent)
        notes = self.policy.invoked(answer, self.monotonic, self.epoch)
        processed = [number for each in notes if isinstance(each, Processed) for number in ids(each.records)]
        assert processed == sent[: cut or 0]
        self.settle(processed, "processed")
        if cut is None:
            return
        for number in sent[cut:]:
            new_part = cut > 0 or (self.bisect and len(sent) > 1)
            self.chain[number] = 0 if new_part else self.chain.get(number, 0) + 1

    def give_up(self, discard):
        numbers = ids(discard.records)
        pending = self.pending()
        if discard.condition == "RecordAgeExceeded":
            assert all(self.expired(number) for number in numbers)
            assert discard.response is None
            at = pending.index(numbers[0])
            assert numbers == pending[at : at + len(numbers)]
            assert discard.approximate_invoke_count == max(1, self.chain.get(numbers[0], 0))
        else:
            assert numbers == pending[: len(numbers)]
            assert {self.chain[number] for number in numbers} == {self.retries + 1}
            assert discard.approximate_invoke_count == self.retries + 1
            assert discard.response is not None
            assert not (self.bisect and len(numbers) > 1)
        self.policy.discarded()
        self.settle(numbers, "discarded")

    def pass_time(self, seconds):
        self.monotonic += seconds
        self.epoch += seconds

    def restart(self, trimmed, written):
        """Kill the process: the batch is read again from the checkpoint, with less at its front and more behind."""
        snapshot = json.loads(json.dumps(self.policy.snapshot()))
        batch = [int(each.id) for each in self.batch]
        rest = batch[self.policy.resolved_count :]
        gone, rest = rest[:trimmed], rest[trimmed:]
        if not set(rest) - set(self.fate):
            return
        self.settle([number for number in gone if number not in self.fate], "trimmed")
        for _ in range(written):
            self.write("a")
            rest.append(self.first + len(self.source) - 1)
        if snapshot is not None:
            assert int(BatchPolicy.resume_end(snapshot)) <= batch[-1]
        else:
            assert not any(self.chain.get(number) for number in rest), "attempts were forgotten"
        self.monotonic = 3.0
        self.start([str(number) for number in rest], snapshot)

    # --- what always holds

    @invariant()
    def the_checkpoint_is_monotone_and_passes_no_unresolved_record(self):
        if not hasattr(self, "policy"):
            return
        count = self.policy.resolved_count
        assert count >= self.seen
        self.seen = count
        numbers = [int(each.id) for each in self.batch]
        assert all(number in self.fate for number in numbers[:count])
        assert count == len(numbers) or numbers[count] not in self.fate
        assert self.policy.position == (str(numbers[count - 1]) if count else None)

    def teardown(self):
        """Whatever has happened, it comes to an end, with every record resolved exactly once."""
        if not hasattr(self, "policy"):
            return
        outcome = "ok" if self.retries < 0 and self.age < 0 else "error"
        steps = 0
        while self.pending():
            self.step(outcome, {0}, 0.0)
            self.the_checkpoint_is_monotone_and_passes_no_unresolved_record()
            steps += 1
            assert steps < 1_000, "the batch does not come to an end"
        assert self.policy.next(self.monotonic, self.epoch) == Finished()
        assert {int(each.id) for each in self.batch} <= set(self.fate)


TestBatch = Batch.TestCase
# A step is several invocations: longer walks only repeat what these have shown.
TestBatch.settings = settings(stateful_step_count=12)
