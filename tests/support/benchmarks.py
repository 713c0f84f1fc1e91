"""Lets a test import the benchmarks, which are no part of the package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch):
    """For the tests of a module that imports this; behind each, `benchmarks` is forgotten again."""
    # Only for these tests: with the root on the path, `config` and `pollers` would be importable by their bare names.
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
