"""The walk of `tests/unit/test_cancellation.py`, at every suspension of every scenario."""

from __future__ import annotations

import pytest

from support.walked import SCENARIOS
from support.walker import HOWS, How, Tour

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_wherever_it_is_cancelled(name: str, how: How) -> None:
    assert Tour(SCENARIOS).everywhere(name, how) > 0
