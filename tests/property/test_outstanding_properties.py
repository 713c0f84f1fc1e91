"""Runs of records against an entry for each: what holds the checkpoint back is the same, whatever comes in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.outstanding import InOrder, Scattered

from support.batches import record

NUMBERS = st.integers(1, 120)
RISING = st.tuples(NUMBERS, st.lists(st.integers(1, 3), max_size=12)).map(
    lambda drawn: [drawn[0] + sum(drawn[1][:n]) for n in range(len(drawn[1]) + 1)]
)
PAGES = RISING | st.lists(NUMBERS, min_size=1, max_size=8)
STEPS = st.lists(
    st.tuples(st.just("add"), PAGES, st.sampled_from([0, 3]))
    | st.tuples(st.just("skip"), NUMBERS)
    | st.tuples(st.just("first"), st.integers(1, 15))
    | st.tuples(st.just("amid"), st.randoms(use_true_random=False)),
    max_size=25,
)


@given(STEPS, st.none() | NUMBERS.map(str), st.none() | NUMBERS)
def test_runs_hold_back_what_an_entry_for_each_record_does(steps, checkpoint, known):
    runs, entries = InOrder(checkpoint, known), Scattered(checkpoint, None if known is None else [known], 1)
    left = []
    for step in steps:
        match step:
            case "add", numbers, width:
                page = [record(str(number).zfill(width), size=number % 7 + 40) for number in numbers]
                added, modelled = runs.add(page).get(0, []), entries.add(page).get(0, [])
                assert added == modelled
                left += [r.id for r in added]
            case "skip", number:
                runs.skip_to(str(number))
                entries.skip_to(str(number))
            case "first", count:
                done, left = left[:count], left[count:]
                assert runs.resolve(done).get(0, 0) == entries.resolve(done).get(0, 0)
            case "amid", pick:
                done = pick.sample(left, pick.randint(0, len(left)))
                left = [number for number in left if number not in done]
                assert runs.resolve(done).get(0, 0) == entries.resolve(done).get(0, 0)
        assert_same(runs, entries)
    runs.resolve(left)
    entries.resolve(left)
    assert_same(runs, entries)
    assert runs.count == 0


def assert_same(runs, entries):
    facts = ("count", "size", "reached", "last", "last_text")
    assert {name: getattr(runs, name) for name in facts} == {name: getattr(entries, name) for name in facts}
    assert runs.reached_text == entries.reached_text
    assert max(runs.positions()[0], runs.reached) == max(entries.positions()[0], entries.reached)
