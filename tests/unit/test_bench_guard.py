"""The guard's decisions. No process is started."""

from __future__ import annotations

import itertools
import json

import pytest

from support.benchmarks import benchmarks_importable  # noqa: F401 - a fixture


class Looks:
    """A check's rounds: each look repeats the shares it is given, for ever."""

    def __init__(self, *looks: list[float]) -> None:
        self.looks = list(looks)
        self.rounds = 0

    def __call__(self):
        for share in itertools.cycle(self.looks.pop(0)):
            self.rounds += 1
            yield {"share": share}


def _shares(looks, committed, *, least=2, most=6):
    from benchmarks.guard import Check
    from benchmarks.verdict import Patience

    return Check(("share",), looks, Patience(least, most)).shares({"share": committed} if committed else {})["share"]


@pytest.mark.parametrize(
    ("looks", "rounds", "lost"),
    [
        ([[0.50]], 2, False),  # clearly fine: no more rounds than are needed
        ([[0.46, 0.45]], 2, False),
        ([[0.43]], 6, False),  # 14 % less: not clear, but no loss
        ([[0.42], [0.42]], 12, True),  # 16 % less, twice
        ([[0.10, 0.40], [0.50]], 8, False),  # a bad time: the second look says otherwise
        ([[0.10, 0.60, 0.60, 0.60]], 3, False),  # one bad moment
    ],
)
def test_fifteen_percent_less_is_a_loss_if_a_second_look_says_so_too(looks, rounds, lost):
    seen = Looks(*looks)
    assert _shares(seen, 0.50).is_lost is lost
    assert (seen.rounds, seen.looks) == (rounds, [])


def test_a_new_share_is_taken_from_all_rounds_there_may_be():
    seen = Looks([0.2, 0.4])
    share = _shares(seen, None)
    assert (seen.rounds, share.now, share.is_lost) == (6, pytest.approx(0.3), False)


def test_one_share_that_is_not_clear_keeps_the_others_company():
    from benchmarks.verdict import Patience, judge

    rounds = ({"a": 0.5, "b": value} for value in (0.40, 0.40, 0.47, 0.47, 0.47, 0.47, 0.47))
    shares = judge(rounds, {"a": 0.5, "b": 0.5}, Patience(2, 9))
    assert {name: len(share.rounds) for name, share in shares.items()} == {"a": 5, "b": 5}


def test_a_loss_says_what_was_what_is_and_what_must_be():
    from benchmarks.guard import line
    from benchmarks.verdict import Share

    lost = line("sqs-noop", Share(0.50, [0.40, 0.41, 0.39]))
    assert lost.endswith(" 40.0% of the floor, was 50.0%, must be 42.5% (3 rounds)   LOST")
    assert "LOST" not in line("sqs-noop", Share(0.50, [0.45]))


def test_what_cannot_be_compared_is_skipped_with_the_reason():
    from benchmarks.guard import reason_to_skip

    known = {"CPython 3.11, uvloop, compiled fake": {}}
    assert reason_to_skip(known, "CPython 3.11, uvloop, compiled fake", "linux") == ""
    assert 'no shares for "CPython 3.14, uvloop' in reason_to_skip(known, "CPython 3.14, uvloop", "linux")
    assert "Linux" in reason_to_skip(known, "CPython 3.11, uvloop, compiled fake", "darwin")


def test_a_committed_environment_has_a_share_of_every_check():
    from benchmarks.guard import COMMITTED, checks

    committed = json.loads(COMMITTED.read_text())
    names = {name for check in checks() for name in check.names}
    assert committed
    assert all(set(shares) == names for shares in committed.values())
