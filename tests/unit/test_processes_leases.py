"""Who reads which shard: the table of shares, and what moves when readers come and go."""

from __future__ import annotations

import pytest

from esmd.streams.leases import Leases


def leases(*, readers: int = 0, held: dict[int, int] | None = None, expected: tuple[int, ...] = ()) -> Leases:
    """Leases with so many readers, or with so many shards each."""
    made = Leases()
    for reader in held or range(readers):
        made.join(reader)
        for number in range((held or {}).get(reader, 0)):
            made.grant(reader, f"{reader}-{number}")
    made.expect(expected)
    return made


ROOM = {
    "alone, it takes all": ({0: 0}, (), 7, 0, 7),
    "two share evenly": ({0: 0, 1: 0}, (), 4, 0, 2),
    "of an odd number the first to ask gets one more": ({0: 0, 1: 0}, (), 5, 0, 3),
    "the second one gets the rest": ({0: 3, 1: 0}, (), 2, 1, 2),
    "with its share it takes nothing": ({0: 2, 1: 0}, (), 2, 0, 0),
    "for one that is starting a share is kept": ({0: 0}, (1,), 4, 0, 2),
    "no second one gets one more": ({0: 2, 1: 0, 2: 0}, (), 2, 1, 1),
    "one shard goes to whoever asks first": ({0: 0, 1: 0, 2: 0}, (), 1, 2, 1),
    "one that has not joined gets nothing": ({0: 0}, (1,), 4, 1, 0),
    "no shard, no room": ({0: 0}, (), 0, 0, 0),
}


@pytest.mark.parametrize("row", ROOM)
def test_room(row):
    held, expected, free, reader, room = ROOM[row]
    assert leases(held=held, expected=expected).room(reader, free) == room


GIVES_UP = {
    "whoever comes later gets half": ({0: 4, 1: 0}, (), 0, {0: 2}),
    "free shards are taken first": ({0: 4, 1: 0}, (), 2, {0: 1}),
    "an odd shard stays": ({0: 3, 1: 0}, (), 0, {0: 1}),
    "a single shard stays": ({0: 1, 1: 0}, (), 0, {}),
    "the richest first": ({0: 5, 1: 3, 2: 0}, (), 0, {0: 2}),
    "nothing moves for one that is only starting": ({0: 4}, (1,), 0, {}),
    "nothing moves where everybody has the share": ({0: 2, 1: 3}, (), 0, {}),
    "one moves where one has two too many": ({0: 4, 1: 2}, (), 0, {0: 1}),
}


@pytest.mark.parametrize("row", GIVES_UP)
def test_what_is_to_be_given_up(row):
    held, expected, free, gives_up = GIVES_UP[row]
    made = leases(held=held, expected=expected)
    made.rebalance(free)
    assert {reader: len(made.to_give_up(reader)) for reader in held if made.to_give_up(reader)} == gives_up
    made.rebalance(free)
    assert {reader: len(made.to_give_up(reader)) for reader in held if made.to_give_up(reader)} == gives_up


def test_a_shard_that_is_to_be_given_up_stays_leased_until_its_reader_says_so():
    made = leases(held={0: 2, 1: 0})
    made.rebalance(0)
    [moving] = made.to_give_up(0)
    assert made.holder(moving) == 0
    assert made.room(1, 0) == 0
    made.end(moving)
    assert (made.holder(moving), made.to_give_up(0), made.room(1, 1), made.room(0, 1)) == (None, (), 1, 0)


def test_nobody_gets_what_somebody_has():
    made = leases(held={0: 1, 1: 0})
    with pytest.raises(ValueError, match="0-0 is leased to 0"):
        made.grant(1, "0-0")


def test_a_reader_that_begins_anew_has_nothing_any_more():
    made = leases(held={0: 2, 1: 1})
    assert made.join(0) == ("0-0", "0-1")
    assert (made.held(0), made.held(1), made.holder("0-0")) == ((), ("1-0",), None)


def test_a_reader_that_is_gone_counts_no_more():
    made = leases(held={0: 2, 1: 2})
    assert made.leave(1) == ("1-0", "1-1")
    assert made.room(0, 2) == 2
    assert made.leave(1) == ()
