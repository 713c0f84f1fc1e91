"""Which rooms the walk of `tests/unit/test_cancellation.py` answers for, and which of their awaits it does not reach."""

from __future__ import annotations

ROOMS = (
    "esmd/sqs",
    "esmd/function.py",
    "esmd/supervisor.py",
    "esmd/waiting.py",
    "esmd/tasks.py",
    "pollers/deletes.py",
    "pollers/visibility.py",
)

_NO_WAIT = "entering and leaving it never waits"

UNWALKED: dict[str, str] = {
    "esmd/function.py Function.take_place: async with asyncio.timeout(patience)": _NO_WAIT,
    "esmd/tasks.py Tasks.__aenter__: await self._group.__aenter__()": _NO_WAIT,
    "esmd/waiting.py stopped_before: async with asyncio.timeout_at(deadline + _SLACK)": _NO_WAIT,
}
"""By `Await.name`: why no scenario can suspend there."""
