"""Gives each of several functions its share of the invocations, as an alias of Lambda does with versions.

The version is drawn anew for every invocation, also when a batch is tried again. It is invoked as a function of its own:
its concurrency counts for all who invoke it, by this way or directly.

A place is offered only while every version that may be drawn has one: whichever it will be, the invocation can start.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from esmd.mappings.outcomes import LATEST, FunctionError, Success

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esmd.function import Function
    from esmd.mappings.outcomes import Outcome


class RoutedInvoker:
    """An `Invoker` in front of other functions, which start and close on their own account.

    Args:
        shares: the functions, each with its share of the invocations; a share of 0 is never drawn.
        chance: where the draws come from.
    """

    def __init__(self, shares: Mapping[Function, int], *, chance: random.Random | None = None) -> None:
        self._versions = [function for function, share in shares.items() if share]
        self._shares = [share for share in shares.values() if share]
        self._chance = chance or random.Random()

    @property
    def limit(self) -> int:
        """Most invocations at once: as many as all versions together may run."""
        return sum(version.limit for version in self._versions)

    @property
    def running(self) -> int:
        """What is missing to the limit: as many places are free as the fullest version has."""
        return self.limit - min(version.room for version in self._versions)

    def on_freed(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a version has a free place again."""
        for version in self._versions:
            version.on_room(listener)

    async def start(self) -> None:
        """Start every version.

        Raises:
            StartFailed: one of them cannot run; nothing is routed until all can.
        """
        started = await asyncio.gather(*(version.start() for version in self._versions), return_exceptions=True)
        for failure in started:
            if isinstance(failure, BaseException):
                raise failure

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Draw a version and invoke it; the outcome names it."""
        (version,) = self._chance.choices(self._versions, self._shares)
        outcome = await version.invoke(event, request_id=request_id)
        if not isinstance(outcome, Success | FunctionError):
            return outcome
        own = outcome.executed_version
        return replace(outcome, executed_version=version.name if own == LATEST else f"{version.name}:{own}")

    async def close(self) -> None:
        """Nothing to do: the versions are closed as the functions they are."""
