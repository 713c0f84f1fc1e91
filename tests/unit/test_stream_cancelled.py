"""What the walk of `test_cancellation.py` found in stream mappings, a test for each."""

from __future__ import annotations

import pytest

from support.walked_streams import StreamScenario
from support.walker import Walk, run

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize(
    "function", ["ShardReader._read", "ShardConsumer._run_batch", "Ledger.follow", "StreamRunner._consume_shard"]
)
def test_a_shard_one_of_whose_tasks_is_cancelled_is_read_on(function: str) -> None:
    # The task group went on without it: nobody read, delivered or stored any more, and no stop reached the shard.
    scenario = StreamScenario(changes={"batch_size": 1})
    look = run(scenario, Walk())
    at = next(n for n, places in enumerate(look.suspensions, 1) if function in {place.function for place in places})
    assert run(scenario, Walk(at=at, how="cut")).hit is not None
