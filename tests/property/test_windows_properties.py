"""Tumbling windows end to end, without a socket or a clock: a summing handler under failures, partial answers and kills.

The shell below is the smallest one that keeps the rules: lanes, windows and the real failure policy, and one commit
of position, windows and policy after each step. Kills strike before and after every invocation.
"""

from __future__ import annotations

import itertools
import json

from hypothesis import event, given, note
from hypothesis import strategies as st

from esmd.mappings.lanes import Lanes
from esmd.mappings.outcomes import FunctionError, Success, Throttled
from esmd.mappings.policy import BatchPolicy, Discard, Finished, Invoke, PolicyOptions, Processed, Wait
from esmd.mappings.stream_events import stream_event
from esmd.mappings.window_replies import MAX_STATE_BYTES, read_reply
from esmd.mappings.windows import Windows

from support.batches import record

LENGTH = 60
BOOM = FunctionError("exception", "ValueError", "boom")


class Killed(Exception):  # noqa: N818 - what happened, not a mistake
    """The process is gone; only what was committed is left."""


class Handler:
    """Collects the numbers it is given in its state; answers badly, throttles, or is killed as `luck` has it."""

    def __init__(self, luck, *, reports):
        self.luck = luck
        self.reports = reports
        self.seen = []

    def invoke(self, payload):
        sent = json.loads(payload)
        numbers = [element["n"] for element in sent["Records"]]
        self.seen.append((sent["isFinalInvokeForWindow"], sent["window"]["start"], numbers))
        fate = self.luck.choice(
            ["well"] * 6 + ["raises", "throttled", "no state", "partly", "too much", "killed", "late"]
        )
        event(f"fate: {fate}")
        if fate == "killed":
            raise Killed
        if fate == "raises":
            return BOOM
        if fate == "throttled":
            return Throttled()
        done = len(numbers)
        answer = {}
        if fate == "partly" and self.reports and numbers:
            done = self.luck.randrange(len(numbers))
            answer["batchItemFailures"] = [{"itemIdentifier": str(numbers[done])}]
        if fate != "no state":
            answer["state"] = {"numbers": sent["state"].get("numbers", []) + numbers[:done]}
        if fate == "too much":
            answer["state"]["padding"] = "x" * MAX_STATE_BYTES
        outcome = Success(json.dumps(answer).encode())
        if fate == "late":
            raise Killed
        return outcome


class Shard:
    """A shard with its mapping; `run` goes on from the last commit until everything is resolved."""

    def __init__(self, stream, options, handler, luck):
        self.stream = stream
        self.options = options
        self.handler = handler
        self.luck = luck
        self.now = 10_000.0
        self.closed = []  # (start, numbers in the state, early) of every window that was closed for good
        self.discarded = []
        self.given_up = []
        self.saved = {"position": None, "windows": None, "batch": None, "final": None}

    def run(self):
        saved = json.loads(json.dumps(self.saved))
        self.lanes = Lanes(1, batch_size=4, window=0, checkpoint=saved["position"])
        self.windows = Windows(LENGTH, shard_id="s", stream_arn="a", snapshot=saved["windows"])
        end = BatchPolicy.resume_end(saved["batch"])
        if end is not None:
            self.lanes.end_first_batch_at(0, end)
        self.resume_batch, self.resume_final = saved["batch"], saved["final"]
        unread = [r for r in self.stream if int(r.id) > int(saved["position"] or 0)]
        while unread or self.lanes.front() is not None:
            most = self.luck.randint(1, 5)
            self.lanes.add(unread[:most])
            unread = unread[most:]
            while (front := self.lanes.front()) is not None:
                self.close_if_due(next_record=front)
                batch = self.lanes.take(0, self.now, joins=self.windows.joins)
                if batch is None:
                    break
                self.work_off(batch)
        if self.luck.random() < 0.5:
            self.close_if_due(shard_ended=True)
        else:
            quiet_since, at = self.now, self.windows.due_at(self.now)
            self.now = at or self.now
            self.close_if_due(quiet_since=quiet_since)
        assert not self.windows.is_open

    def commit(self, batch=None, final=None):
        self.saved = {
            "position": self.lanes.checkpoint,
            "windows": self.windows.snapshot(),
            "batch": batch and batch.snapshot(),
            "final": final and final.snapshot(),
        }

    def work_off(self, batch):
        starts = {self.window_of[r.id] for r in batch.records}
        assert starts == {self.windows.fields().start}, "a batch of one window"
        policy = BatchPolicy(batch.records, self.options, self.resume_batch)
        self.resume_batch = None
        counted = 0
        while not isinstance(command := policy.next(self.now, self.now), Finished):
            match command:
                case Wait(until):
                    self.now = max(self.now, until)
                case Discard(records):
                    self.windows.resolved(records, state=None)
                    policy.discarded()
                case Invoke(records):
                    self.close_if_due(next_record=records[0], batch=policy)
                    payload = stream_event(records, window=self.windows.fields())
                    outcome = self.handler.invoke(payload)
                    reply = read_reply(outcome)
                    notes = policy.invoked(outcome, self.now, self.now, refused_answer=reply.refused)
                    for done in (n for n in notes if isinstance(n, Processed)):
                        self.windows.resolved(done.records, state=reply.state)
            self.lanes.resolve([r.id for r in batch.records[counted : policy.resolved_count]])
            counted = policy.resolved_count
            self.commit(batch=policy)
            if isinstance(command, Discard):
                self.discarded += [int(r.id) for r in command.records]
        self.lanes.batch_ended(0, self.now)

    def close_if_due(self, *, batch=None, **case):
        final = self.windows.due(self.now, **case)
        if final is None:
            return
        policy = BatchPolicy([final.stand_in], self.options, self.resume_final)
        self.resume_final = None
        state = json.loads(final.fields.state)
        while not isinstance(command := policy.next(self.now, self.now), Finished):
            ended_in = None
            match command:
                case Wait(until):
                    self.now = max(self.now, until)
                case Discard():
                    policy.discarded()
                    ended_in = self.given_up
                case Invoke():
                    outcome = self.handler.invoke(stream_event([], window=final.fields))
                    reply = read_reply(outcome)
                    notes = policy.invoked(outcome, self.now, self.now, refused_answer=reply.refused)
                    ended_in = self.closed if notes and isinstance(notes[0], Processed) else None
            if ended_in is None:
                self.commit(batch=batch, final=policy)
                continue
            self.windows.closed()
            self.commit(batch=batch)
            ended_in.append((final.fields.start, state.get("numbers", []), final.fields.terminated_early))
        assert self.windows.due(self.now, **case) is None

    @property
    def window_of(self):
        """Which window each record is in, worked out naively: by its arrival, never before the one in front of it."""
        starts = itertools.accumulate((int(r.arrived_at) // LENGTH * LENGTH for r in self.stream), max)
        return {r.id: start for r, start in zip(self.stream, starts, strict=True)}


def records_of(gaps):
    """Records whose arrivals lie `gaps` seconds apart; negative ones come late."""
    arrivals = list(itertools.accumulate(gaps, initial=1000.5))[1:]
    return [
        record(str(number))._replace(arrived_at=float(at), event=b'{"n":%d}' % number)
        for number, at in enumerate(arrivals, 1)
    ]


@given(
    gaps=st.lists(st.sampled_from([0, 1, 20, 59, 60, 61, 300, -30, -100]), min_size=1, max_size=14),
    retries=st.sampled_from([-1, 0, 2]),
    bisect=st.booleans(),
    reports=st.booleans(),
    luck=st.randoms(use_true_random=False),
)
def test_every_record_counts_once_in_the_window_it_belongs_to(gaps, retries, bisect, reports, luck):
    options = PolicyOptions(
        maximum_retry_attempts=retries,
        maximum_record_age=-1,
        bisect=bisect,
        report_batch_item_failures=reports,
        retry_backoff_initial=1,
        retry_backoff_maximum=2,
        jitter=lambda: 0.0,
    )
    handler = Handler(luck, reports=reports)
    shard = Shard(records_of(gaps), options, handler, luck)
    for kills in range(200):
        if kills == 20:
            luck.choice = lambda options: options[0]  # enough trouble: from now on all goes well
        try:
            shard.run()
        except Killed:
            note(f"killed; left is {shard.saved}")
            continue
        break

    windows = shard.closed + shard.given_up
    assert sorted([n for _, numbers, _ in windows for n in numbers] + shard.discarded) == list(range(1, len(gaps) + 1))
    for start, numbers, _ in windows:
        assert numbers == sorted(numbers)
        assert {shard.window_of[str(n)] for n in numbers} <= {start}
    for ended in (shard.closed, shard.given_up):
        assert [start for start, *_ in ended] == sorted(start for start, *_ in ended)
    starts = [start for start, _, early in windows if not early]
    if not any(early for *_, early in windows):
        assert len(starts) == len(set(starts)), "a window is closed once"
    if retries == -1:
        assert not shard.given_up
        assert not shard.discarded
    assert shard.lanes.checkpoint == str(len(gaps))
    event(f"early: {any(early for *_, early in windows)}")
    event(f"given up: {bool(shard.given_up)}")
    event(f"discarded: {bool(shard.discarded)}")
