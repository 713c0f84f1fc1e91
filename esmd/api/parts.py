"""What the routes of a daemon's API are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from esmd.config.schema import Config
    from esmd.control.protocol import Control
    from esmd.observe.telemetry import Telemetry
    from esmd.state.protocol import StateStore
    from esmd.status.model import Snapshot
    from esmd.trace.life import Memory


class StatusSource(Protocol):
    """Knows how everything is just now."""

    async def snapshot(self) -> Snapshot:
        """The whole of it, as one frozen value."""
        ...

    def unready(self, *, strict: bool) -> dict[str, str]:
        """What the daemon is not ready for, and why; nothing once every mapping runs or has said why it cannot.

        Args:
            strict: a mapping that cannot run counts too.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What a route may use.

    Attributes:
        control: sees and changes the mappings.
        status: knows how they are; None where nobody does.
        telemetry: where events go.
        config: as the daemon started with it; `control.config` is the one in force.
        store: keeps the positions of stream mappings; None where they are not to be moved from here.
        trail: remembers what became of records lately; None where nobody does.
    """

    control: Control
    status: StatusSource | None
    telemetry: Telemetry
    config: Config
    store: StateStore | None = None
    trail: Memory | None = None
