"""What every check is given, and how checks ask about many things at once without asking too much."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from esmd.config.schema import StreamMapping

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from esmd.config.schema import AnyMapping, Config
    from esmd.doctor.findings import Finding
    from esmd.doctor.probes import Probe
    from esmd.pollers.localstack import LocalStackClients

T = TypeVar("T")

MOST_AT_ONCE = 8
"""Most things that all checks together ask about at once."""

LONGEST = 20.0
"""Seconds that one question may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The configuration, and the way to what it names.

    Attributes:
        config: validated.
        clients: to AWS.
        environ: the environment.
        probes: what the endpoints of the services answered, by URL.
        places: how many questions may be asked at once.
    """

    config: Config
    clients: LocalStackClients
    environ: Mapping[str, str]
    probes: Mapping[str, Probe] = field(default_factory=dict)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    @property
    def mappings(self) -> list[AnyMapping]:
        """Those that are enabled."""
        return [mapping for mapping in self.config.mappings.values() if mapping.enabled]

    @property
    def streams(self) -> list[StreamMapping]:
        """Those of them that read a stream."""
        return [mapping for mapping in self.mappings if isinstance(mapping, StreamMapping)]

    async def each(self, things: Iterable[T], ask: Callable[[T], Awaitable[list[Finding]]]) -> list[Finding]:
        """Ask about each thing, some at once; the findings in the order of the things.

        A question that takes too long raises `TimeoutError` inside `ask`, which says what that means.
        """

        async def one(thing: T) -> list[Finding]:
            async with self.places:
                return await ask(thing)

        return [finding for found in await asyncio.gather(*map(one, things)) for finding in found]
