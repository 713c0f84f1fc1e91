"""What the routes of a daemon's API are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from esmd.config.schema import Config
    from esmd.control.protocol import Control
    from esmd.observe.telemetry import Telemetry


class StatusSource(Protocol):
    """Knows how everything is just now."""

    async def snapshot(self) -> Any:
        """The whole of it, as one frozen value."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What a route may use.

    Attributes:
        control: sees and changes the mappings.
        status: knows how they are; None where nobody does.
        telemetry: where events go.
        config: as the daemon started with it; `control.config` is the one in force.
    """

    control: Control
    status: StatusSource | None
    telemetry: Telemetry
    config: Config
