"""docs/stream-failures.md says what the code does, and shows a run that has happened."""

from __future__ import annotations

import re

from esmd.config.stream_schema import KinesisMapping, StreamRetryBackoff

from support.failure_page import PAGE, render, worked_example
from support.policy_lab import ids

REWRITE = "PYTHONPATH=tests python -m support.failure_page writes the page anew"


def test_the_page_is_fresh():
    page = PAGE.read_text(encoding="utf-8")
    assert page == render(page), REWRITE


def test_every_marked_part_is_filled():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- from the code: ") == 7
    assert "-->\n\n<!-- end" not in page, REWRITE


def test_the_worked_example_of_every_course():
    story = worked_example()
    assert story.invoked == [
        list(range(1, 11)),
        [1, 2, 3, 4, 5],
        [1, 2],
        [3, 4, 5],
        [3],
        [3],
        [3],
        [4, 5],
        [6, 7, 8, 9, 10],
    ]
    assert story.discarded == [([3], "RetryAttemptsExhausted", 3)]
    assert ids(story.discards[0].records) == [3]
    assert story.steps[-1].position == "10"


def test_the_options_it_names_exist():
    names = {*KinesisMapping.model_fields, *(f"retry_backoff.{name}" for name in StreamRetryBackoff.model_fields)}
    named = set(re.findall(r"`([a-z_.]*_[a-z_.]*)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) >= 5
    assert named <= names
