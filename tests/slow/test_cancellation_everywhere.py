"""The walk of `tests/unit/test_cancellation.py`, at every suspension of every scenario."""

from __future__ import annotations

import pytest

from support.walked import CASES, SCENARIOS
from support.walker import How, Tour

pytestmark = pytest.mark.slow

NEVER_SUSPENDED = {"state, memory"}
"""Scenarios that nothing waits in: there is nothing to cancel, and their invariants hold."""


@pytest.mark.parametrize(("name", "how"), CASES)
def test_nothing_is_lost_wherever_it_is_cancelled(name: str, how: How) -> None:
    suspensions = Tour(SCENARIOS).everywhere(name, how)
    assert suspensions > 0 or name in NEVER_SUSPENDED
