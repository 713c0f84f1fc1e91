"""The shard graph: the life of a shard by its table, parents before children, and what is forgotten when."""

from __future__ import annotations

import sys

import pytest

from esmd.pollers import shards as module
from esmd.pollers.shards import Discovery, Phase, ShardGraph
from esmd.pollers.streams import LATEST, TRIM_HORIZON, Seek, Shard

P, Q, C = Shard("p", closed=True), Shard("q", closed=True), Shard("c", ("p",))
MERGED = Shard("m", ("p", "q"))


def graph_with(*shards: Shard, start: Seek = TRIM_HORIZON, take: bool = False) -> ShardGraph:
    graph = ShardGraph(start)
    graph.listed(shards)
    if take:
        graph.take()
    return graph


def reading_then(*shards: Shard) -> ShardGraph:
    """Read `p` and its relatives; the rest of the listing follows."""
    return graph_with(*shards, take=True)


# One entry per row of the module's table: prepare, the event, the shard, its phase afterwards.
ROWS = {
    ("unknown", "listed, a parent is neither finished nor gone"): (
        lambda: ShardGraph(TRIM_HORIZON),
        lambda graph: graph.listed([P, C]),
        ("c", Phase.WAITING),
    ),
    ("unknown", "listed, all parents finished or gone, or it has none"): (
        lambda: ShardGraph(TRIM_HORIZON),
        lambda graph: graph.listed([C]),
        ("c", Phase.READABLE),
    ),
    ("unknown", "listed closed, first listing ever, start is `LATEST`"): (
        lambda: ShardGraph(LATEST),
        lambda graph: graph.listed([P, C]),
        ("p", Phase.FINISHED),
    ),
    ("unknown", "named as a child by a shard's end, all parents known"): (
        lambda: reading_then(P),
        lambda graph: graph.ended("p", [C]),
        ("c", Phase.READABLE),
    ),
    ("waiting", "its last parent has ended or is gone"): (
        lambda: reading_then(P, C),
        lambda graph: graph.ended("p"),
        ("c", Phase.READABLE),
    ),
    ("waiting", "not in the listing any more"): (
        lambda: reading_then(P, C),
        lambda graph: graph.listed([P]),
        ("c", None),
    ),
    ("readable", "taken"): (lambda: graph_with(P), lambda graph: graph.take(), ("p", Phase.READING)),
    ("readable", "not in the listing any more"): (
        lambda: graph_with(P),
        lambda graph: graph.listed([Q]),
        ("p", None),
    ),
    ("reading", "ended"): (lambda: reading_then(P), lambda graph: graph.ended("p"), ("p", Phase.FINISHED)),
    ("reading", "put back"): (lambda: reading_then(P), lambda graph: graph.put_back("p"), ("p", Phase.READABLE)),
    ("reading", "not in the listing any more"): (
        lambda: reading_then(P),
        lambda graph: graph.listed([Q]),
        ("p", Phase.READING),
    ),
    ("finished", "not in the listing any more"): (
        lambda: graph_with(P, Shard("x"), start=LATEST),
        lambda graph: graph.listed([Shard("x")]),
        ("p", None),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=[" / ".join(row) for row in ROWS])
def test_the_table(row):
    prepare, happen, (shard_id, phase) = row
    graph = prepare()
    happen(graph)
    assert graph.phase(shard_id) is phase


def test_the_table_in_the_docs_has_exactly_these_rows():
    documented = set()
    for line in (module.__doc__ or "").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 4 and cells[0] in {"unknown", "waiting", "readable", "reading", "finished"}:
            documented.add((cells[0], cells[1]))
    assert documented == set(ROWS)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda: reading_then(P, C),  # c waits, p is being read
        lambda: graph_with(P, C),  # p is readable
        lambda: graph_with(P, C, start=LATEST),  # p is finished
    ],
)
def test_listing_the_same_again_changes_nothing(prepare):
    graph = prepare()
    before = {shard_id: graph.phase(shard_id) for shard_id in "pc"}
    assert graph.listed([C, P]) == module.Listed()
    assert {shard_id: graph.phase(shard_id) for shard_id in "pc"} == before


@pytest.mark.parametrize(
    ("start", "parent", "child"),
    [
        (TRIM_HORIZON, TRIM_HORIZON, TRIM_HORIZON),
        (LATEST, None, LATEST),
        (Seek.at_time(9), Seek.at_time(9), Seek.at_time(9)),
    ],
)
def test_where_the_shards_of_the_first_listing_start(start, parent, child):
    assert ShardGraph(start).listed([C, P]).discovered == (Discovery(C, child), Discovery(P, parent))


@pytest.mark.parametrize("start", [TRIM_HORIZON, LATEST, Seek.at_time(9)])
def test_a_shard_that_is_discovered_later_starts_at_its_beginning(start):
    graph = graph_with(Shard("p"), start=start, take=True)
    assert graph.listed([P, C]).discovered == (Discovery(C, TRIM_HORIZON),)
    assert graph.ended("p", [Shard("d", ("p",))]) == (Discovery(Shard("d", ("p",)), TRIM_HORIZON),)


def test_a_closed_shard_that_is_discovered_later_is_read_even_when_the_mapping_started_at_latest():
    graph = graph_with(Shard("p"), start=LATEST, take=True)
    late = Shard("c", ("p",), closed=True)
    assert graph.listed([P, late]).discovered == (Discovery(late, TRIM_HORIZON),)


def test_a_merge_waits_for_both_parents():
    graph = reading_then(P, Q, MERGED)
    graph.ended("q", [MERGED])
    assert graph.phase("m") is Phase.WAITING
    graph.ended("p", [MERGED])
    assert graph.take() == ["m"]


def test_of_a_merge_whose_one_parent_was_trimmed_the_other_alone_is_waited_for():
    graph = reading_then(P, MERGED)
    assert graph.phase("m") is Phase.WAITING
    graph.ended("p")
    assert graph.take() == ["m"]


def test_a_child_waits_for_a_parent_that_was_trimmed_while_it_is_still_being_read():
    graph = reading_then(P, C)
    assert graph.listed([C]) == module.Listed()
    assert graph.phase("c") is Phase.WAITING
    graph.ended("p")
    assert graph.take() == ["c"]
    assert graph.listed([C]).forgotten == ("p",)


def test_a_child_is_not_taken_from_a_shards_end_while_its_other_parent_was_never_listed():
    graph = reading_then(P)
    assert graph.ended("p", [MERGED]) == ()
    assert graph.phase("m") is None
    graph.listed([P, Q, MERGED])
    assert graph.take() == ["q"]
    graph.ended("q")
    assert graph.take() == ["m"]


def test_a_child_that_a_shards_end_named_survives_a_listing_that_was_under_way():
    graph = reading_then(P)
    graph.ended("p", [C])
    assert graph.listed([P]) == module.Listed()
    assert graph.take() == ["c"]


def test_such_a_child_vanishes_once_its_reader_put_it_back_and_no_listing_has_it():
    graph = reading_then(P)
    graph.ended("p", [C])
    graph.take()
    graph.put_back("c")
    assert graph.listed([P]).lost == ("c",)


def test_shards_that_vanish_unread_are_lost_and_their_children_start():
    graph = graph_with(P, C)
    found = graph.listed([C])
    assert (found.lost, found.forgotten) == (("p",), ("p",))
    assert graph.take() == ["c"]


def test_a_finished_shard_is_not_read_again_as_long_as_it_is_listed():
    graph = reading_then(P)
    graph.ended("p")
    assert graph.listed([P, C]).discovered == (Discovery(C, TRIM_HORIZON),)
    assert graph.take() == ["c"]


def test_a_stored_shard_goes_on_and_a_stored_end_stays_one():
    graph = ShardGraph(LATEST, known={"p": True, "c": False})
    assert graph.listed([P, C]) == module.Listed()
    assert graph.phase("p") is Phase.FINISHED
    assert graph.take() == ["c"]


def test_shards_that_came_while_nobody_looked_are_read_from_their_beginning():
    graph = ShardGraph(LATEST, known={"p": False})
    assert graph.listed([P, C]).discovered == (Discovery(C, TRIM_HORIZON),)
    assert graph.take() == ["p"]


def test_stored_shards_that_are_gone_are_named():
    graph = ShardGraph(TRIM_HORIZON, known={"p": True, "q": False})
    found = graph.listed([MERGED])
    assert (found.lost, set(found.forgotten)) == (("q",), {"p", "q"})
    assert graph.take() == ["m"]


def test_a_finished_shard_with_children_of_an_earlier_life_holds_nobody_up():
    graph = ShardGraph(TRIM_HORIZON, known={"p": True, "q": False, "m": False})
    graph.listed([MERGED, Q, P])
    assert graph.take() == ["q"]
    graph.ended("q")
    assert graph.take() == ["m"]


def test_only_as_many_are_taken_as_asked_for():
    graph = graph_with(*(Shard(str(n)) for n in range(5)))
    assert graph.take(2) == ["0", "1"]
    assert graph.take(2) == ["2", "3"]
    assert graph.take() == ["4"]
    assert graph.take() == []
    assert (len(graph), graph.count(Phase.READING)) == (5, 5)


@pytest.mark.parametrize("call", ["ended", "put_back"])
def test_only_a_shard_that_is_being_read_can_end(call):
    graph = graph_with(P)
    for shard_id in ("p", "unheard-of"):
        with pytest.raises(ValueError, match="is not being read"):
            getattr(graph, call)(shard_id)


def test_a_stream_cannot_be_started_at_a_sequence_number():
    with pytest.raises(ValueError, match="sequence number"):
        ShardGraph(Seek.after("1"))


def calls_to_walk(count: int) -> int:
    """Read a stream of `count` shards, two chains, one shard at a time; return how many calls that made."""
    shards = [Shard(str(n), (str(n - 2),) if n > 1 else (), closed=True) for n in range(count)]
    calls = 0

    def note(frame, event, argument):
        nonlocal calls
        calls += 1

    sys.setprofile(note)
    try:
        graph = ShardGraph(TRIM_HORIZON)
        graph.listed(shards)
        for _ in range(count):
            (shard_id,) = graph.take(1)
            graph.ended(shard_id)
    finally:
        sys.setprofile(None)
    assert graph.count(Phase.FINISHED) == count
    return calls


def test_ten_times_the_shards_make_ten_times_the_work():
    assert calls_to_walk(10_000) < 11 * calls_to_walk(1_000)
