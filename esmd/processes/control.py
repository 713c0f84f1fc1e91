"""What a daemon of several processes says to whoever wants to change its mappings: that it cannot, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from esmd.control.protocol import ControlError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from esmd.config.schema import AnyMapping, Config
    from esmd.control.protocol import Entry, Reloaded
    from esmd.function import Function
    from esmd.supervisor import Runner


class FleetControl:
    """A `Control` that refuses: limits and shards are divided among the processes when they start.

    Args:
        config: of the daemon.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def config(self) -> Config:
        """See `Control.config`."""
        return self._config

    @property
    def functions(self) -> Mapping[str, Function]:
        """They are in the processes."""
        return {}

    def entries(self) -> Sequence[Entry]:
        """Refuse; the status has them."""
        _refuse()

    def entry(self, name: str) -> Entry:  # noqa: ARG002 - as every method here
        """Refuse."""
        _refuse()

    def runner(self, name: str) -> Runner | None:  # noqa: ARG002
        """They are in the processes."""
        return None

    async def create(self, mapping: AnyMapping, *, uuid: UUID, tags: Mapping[str, str]) -> Entry:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def update(self, name: str, mapping: AnyMapping) -> Entry:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def delete(self, name: str) -> Entry:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def tag(self, name: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def pause(self, name: str) -> Entry:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def resume(self, name: str) -> Entry:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def settled(self, name: str) -> Entry | None:  # noqa: ARG002
        """Refuse."""
        _refuse()

    async def reload(self) -> Reloaded:
        """Refuse."""
        _refuse()


def _refuse() -> NoReturn:
    raise ControlError(
        "a daemon of several processes shows its mappings, and cannot change them",
        hint="start it anew with another configuration, or run it in one process",
    )
