"""`--processes`: a number, or one for each usable core."""

from __future__ import annotations

import os

import click
import pytest

from esmd.cli.run import Processes


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("12", 12), (3, 3)])
def test_a_number_is_taken_as_it_is(text, number):
    assert Processes().convert(text, None, None) == number


def test_auto_is_one_for_each_core_that_may_be_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5}, raising=False)
    assert Processes().convert("auto", None, None) == 3


def test_auto_without_affinity_is_every_core(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert Processes().convert("auto", None, None) == 1


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "\u0661", "99999"])
def test_anything_else_is_refused(text):
    with pytest.raises(click.BadParameter, match="write 1 or more, or auto"):
        Processes().convert(text, None, None)
