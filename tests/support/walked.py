"""All scenarios that are walked, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import walked_sqs, walked_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.walker import Scenario

_GROUPS: dict[str, Mapping[str, Scenario]] = {"sqs": walked_sqs.SCENARIOS, "streams": walked_streams.SCENARIOS}

SCENARIOS: dict[str, Scenario] = {
    f"{group}, {name}": scenario for group, scenarios in _GROUPS.items() for name, scenario in scenarios.items()
}
