"""When a batch is closed: size, window, bytes, poll."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.batching import Batcher
from esmd.mappings.events import ENVELOPE_BYTES, MAX_EVENT_BYTES, SqsText, join
from esmd.mappings.messages import Messages
from esmd.mappings.records import Record

from support.batches import record, records


def names(batches):
    return [[r.id for r in batch.records] for batch in batches]


def test_without_a_window_a_poll_is_a_batch():
    batcher = Batcher(batch_size=10, window=0)
    closed = batcher.add(records("a", "b"), 0)
    assert names(closed) == [["a", "b"]]
    assert closed[0].cut == "poll"
    assert batcher.due is None


def test_without_a_window_a_poll_above_the_batch_size_is_several():
    closed = Batcher(batch_size=2, window=0).add(records("a", "b", "c"), 0)
    assert names(closed) == [["a", "b"], ["c"]]
    assert [batch.cut for batch in closed] == ["size", "poll"]


def test_a_window_gathers_several_polls():
    batcher = Batcher(batch_size=10, window=5)
    assert batcher.add(records("a"), 100) == []
    assert batcher.add(records("b"), 104) == []
    assert batcher.expire(104.9) is None
    batch = batcher.expire(105)
    assert batch is not None
    assert names([batch]) == [["a", "b"]]
    assert batch.cut == "window"
    assert batcher.due is None


def test_a_full_batch_does_not_wait_for_the_window():
    closed = Batcher(batch_size=2, window=300).add(records("a", "b", "c"), 0)
    assert names(closed) == [["a", "b"]]
    assert closed[0].cut == "size"


def test_after_an_idle_window_the_clock_starts_with_the_first_record():
    batcher = Batcher(batch_size=10, window=5)
    batcher.invocation_ended(100)
    batcher.add(records("a"), 107)
    assert batcher.due == 112


def test_an_idle_window_is_over_when_it_has_run_out_to_the_moment():
    batcher = Batcher(batch_size=10, window=5)
    batcher.invocation_ended(100)
    batcher.add(records("a"), 105)
    assert batcher.due == 110


def test_a_batch_that_its_window_closed_opens_the_next():
    batcher = Batcher(batch_size=10, window=5)
    batcher.add(records("a"), 100)
    assert batcher.expire(106) is not None
    batcher.add(records("b"), 107)
    assert batcher.due == 111


def test_on_a_busy_mapping_the_clock_starts_when_the_previous_invocation_ended():
    batcher = Batcher(batch_size=10, window=5)
    batcher.invocation_ended(100)
    batcher.add(records("a"), 103)
    assert batcher.due == 105


def test_an_invocation_that_ends_does_not_move_the_clock_of_an_open_batch():
    batcher = Batcher(batch_size=10, window=5)
    batcher.add(records("a"), 100)
    batcher.invocation_ended(103)
    assert batcher.due == 105


def test_the_payload_limit_closes_a_batch_before_the_record_that_would_pass_it():
    big = (MAX_EVENT_BYTES - ENVELOPE_BYTES - 1) // 2
    batcher = Batcher(batch_size=10, window=5)
    assert batcher.add([record("a", size=big), record("b", size=big)], 0) == []
    closed = batcher.add([record("c", size=100)], 0)
    assert names(closed) == [["a", "b"]]
    assert closed[0].cut == "bytes"
    assert len(join(closed[0].records)) <= MAX_EVENT_BYTES


def test_a_record_above_the_payload_limit_is_a_batch_of_its_own():
    closed = Batcher(batch_size=10, window=0).add([record("a"), record("huge", size=MAX_EVENT_BYTES), record("b")], 0)
    assert names(closed) == [["a"], ["huge"], ["b"]]


def test_draining_hands_the_open_batch_back():
    batcher = Batcher(batch_size=10, window=5)
    batcher.add(records("a", "b"), 0)
    assert [r.id for r in batcher.drain()] == ["a", "b"]
    assert len(batcher) == 0
    assert batcher.expire(1000) is None


@given(
    polls=st.lists(st.lists(st.integers(min_value=20, max_value=400), max_size=12), max_size=12),
    batch_size=st.integers(min_value=1, max_value=15),
    window=st.sampled_from([0, 1, 5]),
)
def test_no_record_is_lost_doubled_or_reordered_and_no_limit_passed(polls, batch_size, window):
    batcher = Batcher(batch_size=batch_size, window=window, max_bytes=1000)
    closed = []
    given_ids = []
    for now, sizes in enumerate(polls):
        arrivals = [record(f"{now}-{n}", size=size) for n, size in enumerate(sizes)]
        given_ids += [r.id for r in arrivals]
        closed += batcher.add(arrivals, float(now))
        if (due := batcher.expire(float(now))) is not None:
            closed.append(due)
    taken = [r.id for batch in closed for r in batch.records]
    assert taken + [r.id for r in batcher.drain()] == given_ids
    for batch in closed:
        assert 1 <= len(batch.records) <= batch_size
        assert len(join(batch.records)) <= 1000


class Bounded(Record):
    """A record of which more bytes are feared than it has."""

    __slots__ = ()

    @property
    def most(self):
        return self.size + int(self.handle)


def closed_by_the_book(polls, *, batch_size, window, max_bytes):
    """The batches of some polls, record by record, with the exact size of each."""
    batches, gathered = [], []
    for poll in polls:
        for each in poll:
            if gathered and len(join([*gathered, each])) > max_bytes:
                batches.append(("bytes", gathered))
                gathered = []
            gathered = [*gathered, each]
            if len(gathered) == batch_size:
                batches.append(("size", gathered))
                gathered = []
        if gathered and not window:
            batches.append(("poll", gathered))
            gathered = []
    return batches, gathered


@pytest.mark.thorough
@pytest.mark.parametrize("feared", [0, 1, 2, 5])
@pytest.mark.parametrize("window", [0, 60])
@pytest.mark.parametrize("batch_size", [2, 3, 5, 9])
def test_every_batch_is_as_full_as_the_limits_allow_to_the_byte(feared, window, batch_size):
    for sizes, room, first in product(product((1, 2), repeat=5), range(1, 16), (1, 2, 3)):
        arrivals = [Bounded(str(n), str(feared), None, 1, 0.0, 0.0, b"x" * size) for n, size in enumerate(sizes)]
        polls = [arrivals[:first], arrivals[first:]]
        batcher = Batcher(batch_size=batch_size, window=window, max_bytes=ENVELOPE_BYTES + room)
        closed = [(batch.cut, [*batch.records]) for poll in polls for batch in batcher.add(poll, 0.0)]
        expected = closed_by_the_book(polls, batch_size=batch_size, window=window, max_bytes=ENVELOPE_BYTES + room)
        assert (closed, [*batcher.drain()]) == expected


@given(
    st.lists(st.text(st.sampled_from("a\x01é\U0001f600"), max_size=12), max_size=12),
    st.integers(1, 5),
    st.sampled_from([0.0, 5.0]),
    st.integers(ENVELOPE_BYTES + 200, ENVELOPE_BYTES + 6000),
)
def test_upper_bounds_of_sizes_change_no_batch(bodies, batch_size, window, max_bytes):
    text = SqsText(queue_arn="arn", region="r", windowed=False)
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1"}
    received = [
        {"MessageId": str(n), "ReceiptHandle": "h", "MD5OfBody": "0", "Body": body, "Attributes": attributes}
        for n, body in enumerate(bodies)
    ]
    lazy = Messages(text, fifo=False).records(received, 5.0)
    eager = [Record(r.id, r.handle, None, 1, r.arrived_at, 5.0, r.event) for r in lazy]
    cuts = []
    for records_ in (lazy, eager):
        batcher = Batcher(batch_size=batch_size, window=window, max_bytes=max_bytes)
        closed = batcher.add(records_[:7], 0) + batcher.add(records_[7:], 1)
        cuts.append(([(batch.cut, [r.id for r in batch.records]) for batch in closed], [r.id for r in batcher.drain()]))
    assert cuts[0] == cuts[1]
