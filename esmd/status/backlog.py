"""How much waits in the queues: asked when somebody wants to know, remembered for some seconds, never waited for long.

| the queue's answer                     | what is said                                                          |
|----------------------------------------|-----------------------------------------------------------------------|
| is not older than some seconds         | it, without asking again                                              |
| comes in time                          | it                                                                    |
| has not come in time                   | nothing, and why; the question goes on, and is not waited for again   |
| is an error                            | nothing, and why; remembered as an answer is                          |
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from esmd.pollers.errors import SourceError
from esmd.status.model import Backlog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.pollers.sqs import Depth

FRESH = 5.0
"""Seconds for which an answer is good."""

PATIENCE = 1.0
"""Seconds that a status waits for the queues, for all of them together."""

LONGEST = 10.0
"""Seconds after which a question is given up."""

AT_ONCE = 8
"""Questions under way at once."""


@runtime_checkable
class HasBacklog(Protocol):
    """A runner whose source can say how much waits."""

    async def backlog(self) -> Depth | None:
        """About how many messages the queue holds; None while it is not found."""
        ...


class Backlogs:
    """Asks queues. Make it inside the running loop; `close` ends what is under way."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, tuple[float, Backlog]] = {}
        self._asking: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def of(self, runners: Mapping[str, HasBacklog]) -> dict[str, Backlog]:
        """What waits for each mapping, within `PATIENCE` seconds."""
        for gone in self._known.keys() - runners.keys():
            del self._known[gone]
        now = self._loop.time()
        asked: list[tuple[float, asyncio.Task[None]]] = []
        for name, runner in runners.items():
            at, _ = self._known.get(name, (-math.inf, None))
            if now - at >= FRESH and name not in self._asking:
                self._asking[name] = now, self._loop.create_task(self._ask(name, runner))
            since, task = self._asking.get(name, (-math.inf, None))
            if task is not None and now - since < PATIENCE:  # whoever asked first may be gone
                asked.append((since, task))
        if asked:
            ends_at = max(since for since, _ in asked) + PATIENCE
            await asyncio.wait([task for _, task in asked], timeout=ends_at - now)
        return {name: self._answer(name) for name in runners}

    async def close(self) -> None:
        """Give up what is being asked."""
        tasks = [task for _, task in self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _answer(self, name: str) -> Backlog:
        at, known = self._known.get(name, (-math.inf, None))
        if known is None or self._loop.time() - at >= FRESH + PATIENCE:
            return Backlog(reason=f"the queue did not answer within {PATIENCE:g} s")
        return known

    async def _ask(self, name: str, runner: HasBacklog) -> None:
        try:
            async with asyncio.timeout(LONGEST), self._turns:
                depth = await runner.backlog()
        except TimeoutError:
            backlog = Backlog(reason=f"the queue did not answer within {LONGEST:g} s")
        except SourceError as error:
            backlog = Backlog(reason=f"{error.failure.code}: {error.failure.message}")
        else:
            backlog = (
                Backlog(reason="the queue has not been found")
                if depth is None
                else Backlog(visible=depth.visible, not_visible=depth.not_visible, delayed=depth.delayed)
            )
        finally:
            del self._asking[name]
        self._known[name] = (self._loop.time(), backlog)
