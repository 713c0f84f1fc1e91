"""The lanes of a shard: which lane, which batch, how far the checkpoint is."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from esmd.mappings import lanes as lanes_module
from esmd.mappings.lanes import Lanes
from esmd.mappings.outstanding import InOrder, lane_of

from support.batches import record


def rec(number, key="k", size=None):
    return record(str(number), key=key, size=size)


def recs(*numbers, key="k"):
    return [rec(number, key) for number in numbers]


def make(factor=1, *, batch_size=100, window=0.0, **options):
    return Lanes(factor, batch_size=batch_size, window=window, **options)


def ids(batch):
    return None if batch is None else [int(r.id) for r in batch.records]


def keys_of_lanes(factor):
    """One key for each lane."""
    found = {}
    for number in range(1000):
        found.setdefault(lane_of(f"key-{number}", factor), f"key-{number}")
    return [found[lane] for lane in range(factor)]


ONE, TWO = keys_of_lanes(2)


# --- the table of the module docstring


def waiting():
    lanes = make()
    lanes.add(recs(1))
    return lanes


def taken():
    lanes = waiting()
    assert ids(lanes.take(0, 0)) == [1]
    return lanes


def resolved():
    lanes = taken()
    lanes.resolve(["1"])
    return lanes


def skipped():
    lanes = make()
    lanes.skip(rec(1))
    return lanes


def known():
    lanes = make(resume={"factor": 1, "positions": ["1"]})
    assert lanes.add(recs(1)) == 0
    return lanes


def repeated():
    lanes = waiting()
    assert lanes.add(recs(1)) == 0
    return lanes


STATES = {f.__name__: f for f in (waiting, taken, resolved, skipped, known, repeated)}


def table_rows():
    lines = [line for line in lanes_module.__doc__.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_table_names_every_state():
    assert [row[0] for row in table_rows()] == list(STATES)


@pytest.mark.parametrize("row", table_rows(), ids=lambda row: row[0])
def test_what_a_record_holds_back(row):
    state, _, counted, passes = row
    lanes = STATES[state]()
    assert lanes.outstanding == (0 if counted == "no" else 1)
    assert lanes.outstanding_bytes == (0 if counted == "no" else rec(1).size)
    assert lanes.checkpoint == ("1" if passes == "yes" else None)
    assert lanes.last_read == "1"


# --- which lane


def test_the_lane_of_a_key_is_the_same_in_every_process():
    assert [lane_of(key, 10) for key in ("user-1", "user-2", "", "\ud800", "é")] == [4, 0, 0, 0, 6]


def test_with_one_lane_everything_is_in_it():
    assert lane_of("any", 1) == 0
    assert lane_of(None, 10) == 0


@pytest.mark.parametrize("factor", range(2, 11))
def test_keys_spread_evenly(factor):
    counts = Counter(lane_of(f"customer-{number}", factor) for number in range(10_000))
    assert len(counts) == factor
    assert max(counts.values()) < 1.2 * 10_000 / factor


# --- which batch


def test_one_batch_of_a_lane_at_a_time():
    lanes = make(batch_size=2)
    lanes.add(recs(1, 2, 3))
    assert ids(lanes.take(0, 0)) == [1, 2]
    assert lanes.due(0) is None
    assert lanes.take(0, 0) is None
    lanes.resolve(["1"])
    assert lanes.take(0, 0) is None
    lanes.resolve(["2"])
    assert lanes.due(0) == -math.inf
    assert ids(lanes.take(0, 0)) == [3]


def test_batches_of_other_lanes_do_not_wait():
    lanes = make(2)
    lanes.add([rec(1, ONE), rec(2, TWO), rec(3, ONE)])
    assert ids(lanes.take(0, 0)) == [1, 3]
    assert ids(lanes.take(1, 0)) == [2]


def test_what_several_polls_brought_meanwhile_is_one_batch():
    lanes = make(batch_size=3)
    lanes.add(recs(1))
    assert ids(lanes.take(0, 0)) == [1]
    for number in (2, 3, 4, 5):
        lanes.add(recs(number))
    lanes.resolve(["1"])
    assert ids(lanes.take(0, 0)) == [2, 3, 4]


@pytest.mark.parametrize("joins", [None, lambda _: True], ids=["any", "asked"])
def test_what_is_left_over_waits_for_the_next_batch(joins):
    lanes = make(batch_size=3)
    lanes.add(recs(1, 2))
    lanes.add(recs(3, 4, 5))
    assert ids(lanes.take(0, 0, joins=joins)) == [1, 2, 3]
    lanes.add(recs(6))
    lanes.resolve(["1", "2", "3"])
    assert ids(lanes.take(0, 0, joins=joins)) == [4, 5, 6]


def test_what_completes_a_batch_takes_nothing_more_into_the_next_window():
    lanes = make(batch_size=3, window=10)
    lanes.add(recs(1, 2))
    assert lanes.take(0, 0) is None
    lanes.add(recs(3, 4))
    assert ids(lanes.take(0, 1)) == [1, 2, 3]
    lanes.resolve(["1", "2", "3"])
    assert lanes.due(0) == -math.inf


def test_the_payload_limit_cuts_and_loses_nothing():
    lanes = make(max_bytes=1000)
    lanes.add([rec(number, size=400) for number in range(1, 6)])
    got = []
    while (batch := lanes.take(0, 0)) is not None:
        got.append(ids(batch))
        lanes.resolve([r.id for r in batch.records])
    assert got == [[1, 2], [3, 4], [5]]


def test_the_batching_window_counts_from_the_end_of_the_last_batch():
    lanes = make(window=5)
    lanes.add(recs(1))
    assert lanes.due(0) == -math.inf
    assert lanes.take(0, 100) is None
    assert lanes.due(0) == 105
    assert ids(lanes.take(0, 105)) == [1]
    lanes.add(recs(2))
    lanes.resolve(["1"])
    lanes.batch_ended(0, 110)
    assert lanes.take(0, 112) is None
    assert lanes.due(0) == 115
    assert ids(lanes.take(0, 115)) == [2]


def test_an_idle_lane_has_nothing_due():
    lanes = make(window=5)
    assert lanes.due(0) is None
    assert lanes.front() is None


@pytest.mark.parametrize("window", [0, 5])
def test_a_record_that_may_not_join_ends_the_batch_and_stays(window):
    lanes = make(window=window)
    lanes.add(recs(1, 2, 3, 4))
    batch = lanes.take(0, 0, joins=lambda r: int(r.id) < 3)
    assert ids(batch) == [1, 2]
    lanes.resolve(["1", "2"])
    assert lanes.front().id == "3"
    assert lanes.take(0, 0, joins=lambda r: int(r.id) < 3) is None
    assert ids(lanes.take(0, 0 + window)) in ([3, 4], None)
    assert ids(lanes.take(0, 10 + window)) in ([3, 4], None)
    assert lanes.outstanding == 2


def test_records_that_may_all_join_wait_for_the_window():
    lanes = make(window=5)
    lanes.add(recs(1, 2))
    assert lanes.take(0, 0, joins=lambda _: True) is None
    assert ids(lanes.take(0, 5, joins=lambda _: True)) == [1, 2]


def test_a_batch_cut_by_what_may_not_join_says_why():
    lanes = make(window=300)
    lanes.add(recs(1, 2))
    assert lanes.take(0, 0, joins=lambda r: r.id == "1").cut == "window"


def test_front_looks_at_what_was_gathered_before_what_waits():
    lanes = make(window=5, max_bytes=1000)
    lanes.add([rec(1, size=600), rec(2, size=600), rec(3)])
    assert lanes.front().id == "1"
    assert ids(lanes.take(0, 0)) == [1]
    assert lanes.front().id == "2"
    lanes.resolve(["1"])
    lanes.add(recs(4))
    assert lanes.take(0, 1) is None
    assert lanes.front().id == "2"


def test_front_looks_at_batches_that_were_closed_already():
    lanes = make(max_bytes=1000)
    lanes.add([rec(number, size=600) for number in (1, 2, 3)])
    assert ids(lanes.take(0, 0)) == [1]
    assert lanes.front().id == "2"


# --- the checkpoint


def test_the_checkpoint_waits_for_the_slowest_lane():
    lanes = make(2)
    lanes.add([rec(1, ONE), rec(2, TWO), rec(3, TWO), rec(4, ONE)])
    lanes.take(0, 0)
    lanes.take(1, 0)
    assert not lanes.resolve(["2", "3"])
    assert lanes.checkpoint is None
    assert lanes.resolve(["1"])
    assert lanes.checkpoint == "3"
    assert lanes.resolve(["4"])
    assert lanes.checkpoint == "4"


def test_sequence_numbers_compare_as_integers():
    lanes = make(checkpoint="9")
    lanes.add(recs(10))
    lanes.take(0, 0)
    lanes.resolve(["10"])
    assert lanes.checkpoint == "10"
    lanes.skip_to("9")
    assert lanes.checkpoint == "10"


def test_skipped_records_wait_for_those_in_front():
    lanes = make()
    lanes.add(recs(1))
    lanes.skip(rec(2))
    lanes.skip(rec(3))
    lanes.add(recs(4))
    lanes.take(0, 0)
    assert lanes.checkpoint is None
    lanes.resolve(["1"])
    assert lanes.checkpoint == "3"


def test_resolving_what_was_never_read_is_refused():
    lanes = make()
    lanes.add(recs(1))
    with pytest.raises(KeyError):
        lanes.resolve(["2"])
    assert lanes.checkpoint is None


@pytest.mark.parametrize("factor", [1, 2])
def test_what_is_known_already_hides_nothing_that_comes_with_it(factor):
    lanes = make(factor)
    lanes.add(recs(1))
    assert lanes.add(recs(1, 2, 2, 3)) == 2
    assert lanes.outstanding == 3
    assert lanes.last_read == "3"


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(
    ("numbers", "last"), [((10, 9), "10"), ((1, 2, 4, 3), "4"), ((1, 3, 2, 4), "4"), ((9, 8, 10), "10")]
)
def test_a_poll_out_of_order_has_come_as_far_as_its_highest_number(factor, numbers, last):
    lanes = make(factor)
    assert lanes.add(recs(*numbers)) == len(numbers)
    assert lanes.last_read == last
    assert ids(lanes.take(0 if factor == 1 else lane_of("k", factor), 0)) == list(numbers)


def test_within_a_poll_out_of_order_the_checkpoint_never_goes_back():
    lanes = make()
    lanes.add(recs(1, 3, 2, 4))
    lanes.take(0, 0)
    for number, checkpoint in ((1, "1"), (3, "3"), (2, "3"), (4, "4")):
        lanes.resolve([str(number)])
        assert lanes.checkpoint == checkpoint


def test_a_record_that_is_resolved_is_delivered_again_when_it_is_read_again():
    lanes = make()
    lanes.add(recs(1, 2))
    lanes.take(0, 0)
    lanes.resolve(["1"])
    assert lanes.add(recs(1)) == 1
    assert lanes.outstanding == 2


def test_what_was_resolved_ahead_is_passed_as_soon_as_nothing_is_in_front_of_it():
    lanes = make()
    lanes.add(recs(1, 2, 3, 4, 5, 6))
    lanes.take(0, 0)
    lanes.resolve(["3"])
    lanes.resolve(["5"])
    assert lanes.checkpoint is None
    lanes.resolve(["1", "2"])
    assert lanes.checkpoint == "3"
    lanes.resolve(["4"])
    assert lanes.checkpoint == "5"


def test_what_was_resolved_ahead_is_remembered_while_others_are_passed_one_by_one():
    lanes = make()
    lanes.add(recs(1, 2, 3, 4))
    lanes.take(0, 0)
    for number, checkpoint in ((3, None), (1, "1"), (2, "3")):
        lanes.resolve([str(number)])
        assert lanes.checkpoint == checkpoint


def test_records_in_order_are_not_taken_in_one_by_one(monkeypatch):
    monkeypatch.delattr(InOrder, "_add_each")
    lanes = make()
    assert lanes.add(recs(8, 9)) == 2
    assert lanes.add(recs(10, 11, 12)) == 3


def test_a_shard_of_which_nothing_is_resolved_stands_before_every_number():
    lanes = make(2)
    lanes.add([rec(0, ONE), rec(1, TWO)])
    assert ids(lanes.take(1, 0)) == [1]
    lanes.resolve(["1"])
    assert lanes.snapshot() == {"factor": 2, "positions": ["-1", "1"]}


def test_a_record_out_of_turn_is_delivered_and_takes_the_checkpoint_nowhere_back():
    lanes = make(checkpoint="5")
    assert lanes.add(recs(3)) == 1
    assert ids(lanes.take(0, 0)) == [3]
    lanes.resolve(["3"])
    assert lanes.checkpoint == "5"
    assert lanes.last_read == "5"


# --- after a restart


def run_ahead():
    """Lane 1 has finished up to 5, lane 0 is stuck at 1."""
    lanes = make(2)
    lanes.add([rec(1, ONE), rec(2, TWO), rec(3, ONE), rec(4, TWO), rec(5, TWO), rec(6, TWO)])
    lanes.take(0, 0)
    lanes.take(1, 0)
    lanes.resolve(["2", "4", "5"])
    return lanes


def test_a_lane_has_come_as_far_as_its_first_unresolved_record():
    """Records too old may be discarded amid a batch: those in front of them must come again."""
    old = make(2)
    old.add([rec(1, ONE), rec(2, TWO), rec(3, TWO), rec(4, TWO)])
    old.take(1, 0)
    old.resolve(["2", "4"])
    lanes = make(2, checkpoint=old.checkpoint, resume=old.snapshot())
    lanes.add([rec(1, ONE), rec(2, TWO), rec(3, TWO), rec(4, TWO)])
    assert ids(lanes.take(1, 0)) == [3, 4]


def test_no_lane_ahead_needs_no_snapshot():
    lanes = make(2)
    assert lanes.snapshot() is None
    lanes.add(recs(1, key=ONE))
    lanes.take(0, 0)
    lanes.resolve(["1"])
    assert lanes.snapshot() is None


def test_a_restart_repeats_only_what_was_under_way():
    old = run_ahead()
    lanes = make(2, checkpoint=old.checkpoint, resume=old.snapshot())
    lanes.add([rec(1, ONE), rec(2, TWO), rec(3, ONE), rec(4, TWO), rec(5, TWO), rec(6, TWO), rec(7, TWO)])
    assert ids(lanes.take(0, 0)) == [1, 3]
    assert ids(lanes.take(1, 0)) == [6, 7]
    lanes.resolve(["1", "3"])
    assert lanes.checkpoint == "5"


@pytest.mark.parametrize(
    "resume",
    [
        {"factor": 3, "positions": ["5", "5", "5"]},
        {"factor": 2, "positions": ["5"]},
        {"factor": 2, "positions": ["5", "x"]},
        {"factor": 2, "positions": 5},
        {"factor": 2},
        {},
        [],
    ],
)
def test_a_snapshot_that_does_not_fit_means_delivering_again(resume):
    lanes = make(2, resume=resume)
    assert lanes.add([rec(1, ONE), rec(2, TWO)]) == 2


def test_the_batch_that_was_under_way_is_formed_again_and_only_it():
    lanes = make(window=300)
    lanes.end_first_batch_at(0, "3")
    lanes.add(recs(1, 2))
    assert lanes.due(0) is None
    assert lanes.take(0, 0) is None
    lanes.add(recs(3, 4))
    assert lanes.due(0) == -math.inf
    batch = lanes.take(0, 0)
    assert ids(batch) == [1, 2, 3]
    assert batch.cut == "drain"
    lanes.resolve(["1", "2", "3"])
    assert lanes.take(0, 1) is None
    assert ids(lanes.take(0, 301)) == [4]


def test_the_batch_that_was_under_way_waits_for_nothing_behind_it():
    lanes = make(window=300)
    lanes.end_first_batch_at(0, "3")
    lanes.add(recs(1, 2, 3))
    assert lanes.due(0) == -math.inf
    assert ids(lanes.take(0, 0)) == [1, 2, 3]


def test_the_batch_that_was_under_way_may_have_lost_its_end():
    lanes = make()
    lanes.end_first_batch_at(0, "3")
    lanes.add(recs(1))
    lanes.skip(rec(3))
    lanes.add(recs(4))
    assert ids(lanes.take(0, 0)) == [1]


def test_the_batch_that_was_under_way_may_be_gone():
    lanes = make()
    lanes.end_first_batch_at(0, "3")
    lanes.add(recs(4))
    assert ids(lanes.take(0, 0)) == [4]


def test_lanes_do_not_hold_on_to_what_is_resolved():
    lanes = make(2)
    for start in range(1, 1000, 2):
        lanes.add([rec(start, ONE), rec(start + 1, TWO)])
        lanes.take(0, 0)
        lanes.take(1, 0)
        lanes.resolve([str(start + 1), str(start)])
    assert (lanes.outstanding, lanes.outstanding_bytes, lanes.checkpoint) == (0, 0, "1000")
    assert not any(lane.waiting for lane in lanes._lanes)
    assert not any((lanes._outstanding._log, lanes._outstanding._entries, *lanes._outstanding._of_lane))


def test_one_lane_does_not_hold_on_to_what_is_resolved():
    lanes = make(batch_size=2)
    for start in range(1, 1000, 3):
        lanes.add(recs(start, start + 1, start + 2))
        for batch in (lanes.take(0, 0), lanes.resolve([str(start + 1), str(start)]) and lanes.take(0, 0)):
            assert batch is not None
        lanes.resolve([str(start + 2)])
    assert (lanes.outstanding, lanes.outstanding_bytes, lanes.checkpoint) == (0, 0, "999")
    assert not any((lanes._lanes[0].waiting, lanes._outstanding._runs, lanes._outstanding._ahead))


def test_positions_are_spelled_as_the_stream_spells_them():
    """MiniStack pads its numbers with zeros, and knows them in no other form."""
    lanes = Lanes(1, batch_size=10, window=0, checkpoint="0007")
    assert lanes.checkpoint == "0007"
    lanes.add([rec("0008")])
    lanes.skip_to("0009")
    assert lanes.last_read == "0009"
    lanes.take(0, 0.0)
    lanes.resolve(["0008"])
    assert lanes.checkpoint == "0009"
