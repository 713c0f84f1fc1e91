"""What the walk of `test_cancellation.py` found in a replay, a test for each."""

from __future__ import annotations

import pytest

from support.walked_replay import SCENARIOS
from support.walker import Walk, run


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("scenario", "function"),
    [
        # What a receive had hidden just then stayed hidden for as long as all of it might have taken: hours.
        ("letters that go back", "ReplayQueue.receive"),
        # The command ended before what was held was free again.
        ("letters that go back", "run"),
        # The functions' environments were left.
        ("letters for a function", "FunctionHandlers.close"),
    ],
)
def test_a_replay_that_is_interrupted_gives_back_what_it_holds(scenario: str, function: str) -> None:
    look = run(SCENARIOS[scenario], Walk())
    found = [at for at, places in enumerate(look.suspensions, 1) if function in {place.function for place in places}]
    assert found
    for at in found:
        run(SCENARIOS[scenario], Walk(at=at, how="halt"))
