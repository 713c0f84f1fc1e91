"""What a set of mappings has made by others: supervisors and functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from esmd.invoke.protocol import StartFailed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Mapping, Sequence

    from esmd.config.schema import AnyMapping, Config
    from esmd.function import Function
    from esmd.supervisor import Supervisor


class Workshop(Protocol):
    """Makes the parts of a daemon by its configuration."""

    @property
    def functions(self) -> Mapping[str, Function]:
        """Those that have been made so far."""
        ...

    def arn_of(self, function: str) -> str:
        """The ARN of a function, made or not; also of one that is not registered."""
        ...

    def supervisor(self, mapping: AnyMapping, stop: asyncio.Event, *, refusal: str | None) -> Supervisor:
        """What runs a mapping until `stop`.

        Args:
            mapping: its settings.
            stop: set when it is to drain.
            refusal: why it may not run; it then says so, and nothing else, until it is stopped.
        """
        ...

    def take(self, config: Config, stale: Collection[str]) -> Sequence[Function]:
        """Make everything by another configuration from now on.

        Args:
            config: that one.
            stale: names of functions that are made anew when they are asked for next.

        Returns:
            The functions that are used no more; whoever calls closes them.
        """
        ...


class Refused:
    """Stands where a function would, and never loads."""

    def __init__(self, error_type: str, message: str) -> None:
        self._error_type = error_type
        self._message = message

    async def start(self) -> None:
        """Say why not.

        Raises:
            StartFailed: always.
        """
        raise StartFailed(self._error_type, self._message)
