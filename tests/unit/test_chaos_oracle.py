"""The oracle of the chaos run finds what it is there for, and nothing else; the schedule is the seed's."""

from __future__ import annotations

import itertools

from chaos.oracle import Done, Faults, Sent, judge
from chaos.schedule import steps

SENT = [Sent("a", 0, "ok"), Sent("b", 1, "ok"), Sent("a", 2, "flaky"), Sent("b", 3, "poison")]
FINE = [Done("a", 0, 1.0), Done("b", 1, 1.1), Done("a", 2, 1.2)]


def findings(done, given_up=(3,), *, ordered=True, spans=()):
    faults = Faults(aftermath=5.0)
    for start, end in spans:
        faults.add(start, end)
    return judge("m", SENT, done, given_up, ordered=ordered, faults=faults).findings


def test_nothing_is_found_where_all_was_processed_or_given_up():
    verdict = judge("m", SENT, FINE, [3], ordered=True, faults=Faults(aftermath=5.0))
    assert (verdict.findings, verdict.sent, verdict.processed, verdict.given_up, verdict.duplicates) == ([], 4, 3, 1, 0)


def test_what_is_nowhere_is_lost():
    assert findings(FINE[:2]) == ["m: lost: 1 of 4, the first [2]"]
    assert findings(FINE, ()) == ["m: lost: 1 of 4, the first [3]"]


def test_what_was_never_sent_is_invented():
    assert findings([*FINE, Done("c", 9, 2.0)]) == ["m: invented: 9 of c was never sent"]


def test_what_always_fails_cannot_have_been_processed():
    assert findings([*FINE, Done("b", 3, 2.0)]) == ["m: poison: 3 cannot have been processed"]


def test_the_order_of_a_key_counts_in_ordered_sources_only():
    mixed = [FINE[2], FINE[1], FINE[0]]
    assert findings(mixed) == ["m: disorder: of a, 2 was processed before 0"]
    assert findings(mixed, ordered=False) == []


def test_a_repetition_is_no_disorder():
    assert findings([*FINE, Done("a", 0, 3.0)], spans=[(2.0, 2.5)]) == []


def test_what_comes_twice_needs_a_fault_between_or_shortly_before():
    twice = [*FINE, Done("a", 0, 30.0)]
    assert findings(twice) == ["m: unexplained: 0 of a came twice, 29.000 s apart"]
    assert findings(twice, spans=[(10.0, 11.0)]) == []
    late = [Done("a", 0, 20.0), *FINE[1:], Done("a", 0, 21.0)]
    assert findings(late, spans=[(14.0, 16.0)]) == []
    assert findings(late, spans=[(13.0, 14.0)]) == ["m: unexplained: 0 of a came twice, 1.000 s apart"]
    assert findings(late, spans=[(22.0, 23.0)]) == ["m: unexplained: 0 of a came twice, 1.000 s apart"]


def test_a_seed_makes_one_schedule_and_every_kind_comes():
    one, other = (list(itertools.islice(steps(4), 300)) for _ in range(2))
    assert one == other
    assert one != list(itertools.islice(steps(5), 300))
    assert {step.kind for step in one} == {
        "calm", "weather", "storm", "down", "kill", "term", "freeze", "reshard", "reload",
    }  # fmt: skip
    assert all((step.share > 0) == (step.kind in {"weather", "storm"}) for step in one)
