"""All scenarios that are walked, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import walked_sqs

if TYPE_CHECKING:
    from support.walker import Scenario

_GROUPS = {"sqs": walked_sqs.SCENARIOS}

SCENARIOS: dict[str, Scenario] = {
    f"{group}, {name}": scenario for group, scenarios in _GROUPS.items() for name, scenario in scenarios.items()
}
