"""The walk of `tests/unit/test_cancellation.py`, at every suspension of every scenario."""

from __future__ import annotations

import pytest

from support.walked import CASES, SCENARIOS
from support.walker import How, Tour

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "how"), CASES)
def test_nothing_is_lost_wherever_it_is_cancelled(name: str, how: How) -> None:
    assert Tour(SCENARIOS).everywhere(name, how) > 0
