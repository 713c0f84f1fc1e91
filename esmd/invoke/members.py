"""The environments of a pool: which of them is used next, and which is needed no more.

| state   | what happens                              | next    |
|---------|-------------------------------------------|---------|
| loading | it is loaded                              | fresh   |
| fresh   | an invocation has waited for it           | busy    |
| fresh   | nobody has                                | idle    |
| idle    | an invocation takes it                    | busy    |
| busy    | the invocation ends, another has waited   | busy    |
| busy    | the invocation ends, nobody has           | idle    |
| idle    | it has been for too long, unless it is provisioned | leaving |
| idle, loading | the code has changed                | leaving |
| busy, fresh | it is free, and the code had changed  | leaving |
| any     | its process is gone                       | dropped |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from esmd.invoke.environment import Environment

_SLACK = 0.001
"""Seconds by which a timer may be early."""


@dataclass(slots=True, eq=False)
class Member:
    """An environment, from its launch until its process is gone.

    Attributes:
        environment: it.
        provisioned: it is kept warm.
        generation: how often the code had changed before it was launched.
        failures: how many in a row there were before it was launched.
        state: see the table.
        used: it was given an event.
        idle_since: loop time.
        loader: loads it.
        gone: its process is, though it still has a loader.
    """

    environment: Environment
    provisioned: bool
    generation: int
    failures: int
    state: Literal["loading", "fresh", "idle", "busy", "leaving"] = "loading"
    used: bool = False
    idle_since: float = 0.0
    loader: asyncio.Task[None] | None = None
    gone: bool = False


class Members:
    """All of them.

    Args:
        idle_timeout: seconds after which one that is idle, and not provisioned, is needed no more.

    Attributes:
        generation: how often the code has changed.
    """

    def __init__(self, idle_timeout: float) -> None:
        self.generation = 0
        self._idle_timeout = idle_timeout
        self._all: dict[Environment, Member] = {}
        self._warm: list[Member] = []  # idle, provisioned
        self._idle: list[Member] = []  # idle, the others; the longest idle first

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._all.values()))

    def add(self, environment: Environment, *, provisioned: bool, failures: int) -> Member:
        """One that was just launched."""
        member = Member(environment, provisioned, self.generation, failures)
        self._all[environment] = member
        return member

    def find(self, environment: Environment) -> Member | None:
        """What is known of an environment; None if it was dropped."""
        return self._all.get(environment)

    def drop(self, member: Member) -> None:
        """Its process is gone."""
        self._all.pop(member.environment, None)
        self._unlist(member)

    def is_current(self, member: Member) -> bool:
        """Whether it has the code of today, and stays."""
        return member.generation == self.generation and member.state != "leaving"

    @property
    def loading(self) -> list[Member]:
        """Those that load today's code."""
        return [each for each in self._all.values() if each.state == "loading" and self.is_current(each)]

    @property
    def provisioned(self) -> int:
        """How many are kept warm."""
        return sum(each.provisioned and self.is_current(each) for each in self._all.values())

    @property
    def any_loaded(self) -> bool:
        """Whether one has loaded today's code."""
        return any(each.state != "loading" and self.is_current(each) for each in self._all.values())

    def take(self) -> Member | None:
        """The idle one to use next: a provisioned one, then the one used last, so that the others stay idle."""
        idle = self._warm or self._idle
        return idle.pop() if idle else None

    def rest(self, member: Member, now: float) -> None:
        """It is idle from `now` on."""
        member.state = "idle"
        member.idle_since = now
        (self._warm if member.provisioned else self._idle).append(member)

    def overdue(self, now: float) -> list[Member]:
        """Those that have been idle for too long."""
        return [each for each in self._idle if each.idle_since + self._idle_timeout <= now + _SLACK]

    @property
    def next_overdue(self) -> float | None:
        """When the next will have been; None if none will."""
        return self._idle[0].idle_since + self._idle_timeout if self._idle else None

    def part(self, member: Member) -> None:
        """It is asked to leave."""
        member.state = "leaving"
        self._unlist(member)

    def _unlist(self, member: Member) -> None:
        for idle in (self._warm, self._idle):
            if member in idle:
                idle.remove(member)
