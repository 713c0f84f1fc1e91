"""What else survives the end of a daemon: mappings made through its API, and which mappings are paused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMapping:
    """A mapping of the API.

    Attributes:
        uuid: its UUID, which is its name too.
        settings: JSON text; the store does not look into it.
        created_at: in epoch seconds.
        modified_at: when its settings were changed last; in epoch seconds.
    """

    uuid: str
    settings: str
    created_at: float
    modified_at: float


class Registry(Protocol):
    """Keeps mappings and pauses. Every method raises `StateError` where the store cannot do its work."""

    async def kept(self) -> list[KeptMapping]:
        """All mappings, by the time of their creation."""
        ...

    async def keep(self, mapping: KeptMapping) -> None:
        """Keep a mapping, or keep it as it is now; return when that would survive a kill."""
        ...

    async def drop(self, uuid: str) -> None:
        """Keep a mapping no more; one that is not kept does not matter."""
        ...

    async def drop_positions(self, mapping: str) -> None:
        """Forget all streams and positions of a mapping, by its name."""
        ...

    async def pauses(self) -> Mapping[str, float]:
        """Since when mappings are paused, in epoch seconds, by their UUIDs."""
        ...

    async def pause(self, uuid: str, since: float) -> None:
        """Note that a mapping is paused; where it is already, since when stays."""
        ...

    async def resume(self, uuid: str) -> None:
        """Note that a mapping is paused no more."""
        ...
