"""The status of a daemon of several processes: each is asked for its own, and they are put together."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from esmd import __version__
from esmd.control.members import uuid_of
from esmd.control.results import NOTHING_YET
from esmd.status.merging import merged
from esmd.status.model import DaemonStatus, MappingStatus, Pace, Rates, Snapshot, Totals
from esmd.status.source import draining, without_credentials
from esmd.waiting import answers_within

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

    from esmd.config.schema import AnyMapping
    from esmd.status.source import Process

ANSWER_SECONDS = 3.0
"""How long the processes may take: more than each of them gives its queues. An inline handler may block one."""


class Asked(Protocol):
    """A process that can be asked; `esmd.processes.member.Member` is one."""

    @property
    def number(self) -> int:
        """Of the process, from 0."""
        ...

    @property
    def state(self) -> str:
        """Its state, such as `starting` or `ready`."""
        ...

    @property
    def unavailable(self) -> Mapping[str, bool]:
        """The mappings that could not run when it became ready."""
        ...

    async def ask(self, method: str, *arguments: Any) -> Any:
        """What it answers; None where it cannot."""
        ...


class FleetStatus:
    """Takes snapshots of all processes together.

    Args:
        members: the processes.
        chosen: the mappings of all of them, in the order in which they are shown, disabled ones included.
        paused: names of those that somebody paused.
        process: about the daemon as a whole.
        wall: epoch seconds.
    """

    def __init__(
        self,
        members: Sequence[Asked],
        *,
        chosen: Sequence[AnyMapping],
        paused: Collection[str] = (),
        process: Process,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._members = members
        self._chosen = chosen
        self._paused = paused
        self._process = process
        self._wall = wall

    def unready(self, *, strict: bool) -> dict[str, str]:
        """What the daemon is not ready for, and why; nothing once every process has tried all of its mappings.

        Args:
            strict: a mapping that could not run when its processes became ready counts too.
        """
        reasons = {
            f"process {member.number}": f"it is {member.state}"
            for member in self._members
            if member.state in {"waiting", "starting"}
        }
        if strict:
            reasons |= {name: "it could not run" for member in self._members for name in member.unavailable}
        return reasons | draining(self._process)

    async def snapshot(self) -> Snapshot:
        """All processes that answer in time, as one; the others are named as missing."""
        found = await answers_within(ANSWER_SECONDS, [member.ask("status") for member in self._members])
        answers = {member.number: answer for member, answer in zip(self._members, found, strict=True)}
        known = [answer for answer in answers.values() if isinstance(answer, Snapshot)]
        missing = tuple(number for number, answer in answers.items() if not isinstance(answer, Snapshot))
        at = self._wall()
        whole = merged(self._daemon(at, missing), known, at=at)
        by_name = {mapping.name: mapping for mapping in whole.mappings}
        return replace(
            whole,
            mappings=tuple(by_name.get(m.name) or unheard(m, paused=m.name in self._paused) for m in self._chosen),
        )

    def _daemon(self, at: float, missing: tuple[int, ...]) -> DaemonStatus:
        about = self._process.about
        return DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            started_at=self._process.started_at,
            uptime_s=max(0.0, at - self._process.started_at),
            files=about.files,
            endpoint=without_credentials(about.endpoint),
            region=about.region,
            processes=len(self._members),
            missing=missing,
            draining=self._process.draining(),
        )


def unheard(mapping: AnyMapping, *, paused: bool) -> MappingStatus:
    """A mapping of which no process tells: it is disabled, or none of them has started it yet."""
    return MappingStatus(
        name=mapping.name,
        uuid=str(uuid_of(mapping.name, mapping.event_source_arn)),
        source=mapping.source,
        source_arn=mapping.event_source_arn,
        function=mapping.function_name,
        origin="file",
        file=None,
        state="Enabling" if mapping.enabled else "Disabled",
        paused=paused,
        reason=None,
        last_result=NOTHING_YET,
        last_error=None,
        in_flight=0,
        pollers=0,
        concurrency=0,
        totals=Totals(),
        pace=Pace(last_10_s=Rates(), last_60_s=Rates()),
        backlog=None,
        shards=(),
        iterator_age_ms=None,
    )
