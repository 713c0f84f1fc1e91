"""What became of records in a daemon of several processes: each is asked for what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.processes.status import ANSWER_SECONDS
from esmd.trace.life import Life, life_of
from esmd.waiting import answers_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from esmd.processes.status import Asked


class FleetTrail:
    """Remembers what the processes remember. One that does not answer in time has nothing to say.

    Args:
        members: the processes.
    """

    def __init__(self, members: Sequence[Asked]) -> None:
        self._members = members

    async def trace(self, wanted: str) -> tuple[Life | None, float | None]:
        """See `esmd.trace.life.Memory`. A message may come to one process, and after a failure to another."""
        answers = await answers_within(ANSWER_SECONDS, [member.ask("trace", wanted) for member in self._members])
        lines: list[Mapping[str, Any]] = []
        sinces = []
        for answer in answers:
            if answer is None:
                continue
            life, since = answer
            if life is not None:
                lines += life.events
            if since is not None:
                sinces.append(since)
        lines.sort(key=lambda line: str(line["timestamp"]))
        return life_of(wanted, lines), max(sinces, default=None)
