"""All scenarios that are walked, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import (
    walked_api,
    walked_books,
    walked_child,
    walked_control,
    walked_destinations,
    walked_environments,
    walked_fleet,
    walked_invoke,
    walked_lanes,
    walked_launch,
    walked_pollers,
    walked_processes,
    walked_remote,
    walked_replay,
    walked_sqs,
    walked_state,
    walked_status,
    walked_streams,
)
from support.walker import hows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.walker import Scenario

_GROUPS: dict[str, Mapping[str, Scenario]] = {
    "sqs": walked_sqs.SCENARIOS,
    "streams": walked_streams.SCENARIOS,
    "books": walked_books.SCENARIOS,
    "invoke": {**walked_invoke.SCENARIOS, **walked_environments.SCENARIOS, **walked_remote.SCENARIOS},
    "api": walked_api.SCENARIOS,
    "control": walked_control.SCENARIOS,
    "destinations": walked_destinations.SCENARIOS,
    "pollers": walked_pollers.SCENARIOS,
    "lanes": walked_lanes.SCENARIOS,
    "processes": walked_processes.SCENARIOS,
    "fleet": walked_fleet.SCENARIOS,
    "child": walked_child.SCENARIOS,
    "replay": walked_replay.SCENARIOS,
    "state": walked_state.SCENARIOS,
    "launch": walked_launch.SCENARIOS,
    "status": walked_status.SCENARIOS,
}

SCENARIOS: dict[str, Scenario] = {
    f"{group}, {name}": scenario for group, scenarios in _GROUPS.items() for name, scenario in scenarios.items()
}

CASES = [(name, how) for name, scenario in SCENARIOS.items() for how in hows_of(scenario)]
"""Every scenario with everything that may be done to it."""

QUICK = [(name, how) for name, how in CASES if how == "cut" or name.startswith(("sqs", "streams", "replay"))]
"""The same for every day: where nobody's records are at stake, it is cut only, neither halted nor too late."""
