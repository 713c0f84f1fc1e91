"""Numbers and times in few words."""

from __future__ import annotations

import pytest

from esmd.status import words
from esmd.status.model import Backlog

from support.status_lab import snapshot


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (99_999, "99,999"),
        (100_000, "100k"),
        (1_234_567, "1.23M"),
        (999_999, "1M"),
        (5_000_000_000, "5G"),
    ],
)
def test_a_number(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "-"), (0.04, "<0.1"), (0.1, "0.1"), (12.34, "12.3"), (99.94, "99.9"), (153.2, "153")]
)
def test_a_rate(value, text):
    assert words.rate(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (float("inf"), "-"),
        (0.0, "0ms"),
        (0.02, "20ms"),
        (0.9996, "1.0s"),
        (1.5, "1.5s"),
        (12.4, "12s"),
        (59.6, "1m"),
        (125, "2m 5s"),
        (3600, "1h"),
        (3_725, "1h 2m"),
        (93_725, "1d 2h"),
    ],
)
def test_a_duration(seconds, text):
    assert words.duration(seconds) == text


def test_states_say_what_aws_states_do_not():
    orders, payments, reports, archive = snapshot().mappings
    assert [words.state(m) for m in (orders, payments, reports, archive)] == [
        "Enabled",
        "Enabled, blocked",
        "Enabled, unavailable",
        "Disabled, paused",
    ]
    assert [words.mood(m) for m in (orders, payments, reports, archive)] == ["good", "bad", "bad", "off"]
    assert [words.behind(m) for m in (orders, payments, reports)] == ["1,532", "1m 31s", "?"]
    assert words.backlog(None) == "-"
    assert words.backlog(Backlog(visible=0, not_visible=0, delayed=0)) == "0"


def test_a_row_of_bars_is_as_high_as_its_highest():
    assert words.spark([0, 1, 4, 8], width=4) == " ▂▅█"
    assert words.spark([8], width=4) == "   █"
    assert words.spark([], width=3) == "   "
    assert words.spark(range(100), width=3, ascii_only=True) == "###"
