"""Positions in a shard: what they hold, and which of two is further."""

from __future__ import annotations

import pytest

from esmd.state.position import LATEST, SHARD_END, TRIM_HORIZON, Position

STARTS = [TRIM_HORIZON, LATEST, Position.at_timestamp(1_700_000_000.5)]


@pytest.mark.parametrize("start", STARTS, ids=str)
@pytest.mark.parametrize("other", STARTS, ids=str)
def test_one_start_may_replace_another(start: Position, other: Position):
    assert not start.is_behind(other)
    assert start.is_start


@pytest.mark.parametrize("start", STARTS, ids=str)
def test_a_start_is_behind_every_record_and_every_record_behind_the_end(start: Position):
    record = Position.after("0")
    assert start.is_behind(record)
    assert record.is_behind(SHARD_END)
    assert not record.is_behind(start)
    assert not SHARD_END.is_behind(record)
    assert not record.is_start
    assert not SHARD_END.is_start


@pytest.mark.parametrize(
    ("lower", "higher"), [("9", "10"), ("99", "49590338271490256608559692538361571095921575989136588898")]
)
def test_sequence_numbers_compare_as_integers(lower: str, higher: str):
    assert lower > higher, "as text it would be the other way round"
    assert Position.after(lower).is_behind(Position.after(higher))
    assert not Position.after(higher).is_behind(Position.after(lower))


def test_leading_zeros_are_kept_and_do_not_count():
    padded = Position.after("000000000000000000042")
    assert padded.sequence_number == "000000000000000000042"
    assert not padded.is_behind(Position.after("42"))
    assert not Position.after("42").is_behind(padded)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("AFTER",), "needs a sequence number"),
        (("LATEST", "5"), "takes no sequence number"),
        (("AT_TIMESTAMP",), "needs a timestamp"),
        (("SHARD_END", None, 1.0), "takes no timestamp"),
        (("AFTER", ""), "decimal digits"),
        (("AFTER", "-1"), "decimal digits"),
        (("AFTER", "1_0"), "decimal digits"),
        (("AFTER", "٣"), "decimal digits"),
        (("AT_TIMESTAMP", None, float("nan")), "finite"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(values: tuple[object, ...], message: str):
    with pytest.raises(ValueError, match=message):
        Position(*values)


@pytest.mark.parametrize(
    ("position", "text"),
    [(TRIM_HORIZON, "TRIM_HORIZON"), (Position.after("7"), "after 7"), (Position.at_timestamp(1.5), "at 1.5")],
)
def test_it_reads_well_in_a_message(position: Position, text: str):
    assert str(position) == text
