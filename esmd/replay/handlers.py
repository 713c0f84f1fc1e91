"""Invokes the functions of a replay, each by the way that its mappings take."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from esmd.mappings.backoff import delay
from esmd.mappings.outcomes import Throttled, Unreachable
from esmd.observe.context import request_context
from esmd.observe.ids import new_request_id
from esmd.tasks import all_ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.functions import Functions
    from esmd.mappings.outcomes import Outcome

_TRIES = 4
"""Of an invocation that never came to run: throttled, or the function could not be reached."""


class FunctionHandlers:
    """`Handlers` over the registered functions.

    Args:
        functions: makes them.
        allowed: raises where a function, by name, may not be invoked; asked once for each.
    """

    def __init__(self, functions: Functions, *, allowed: Callable[[str], Awaitable[None]]) -> None:
        self._functions = functions
        self._allowed = allowed
        self._asked: set[str] = set()

    async def invoke(self, function: str, event: bytes) -> Outcome:
        """See `Handlers.invoke`; what never came to run is tried again."""
        if function not in self._asked:
            await self._allowed(function)
            self._asked.add(function)
        handler = self._functions.get(function)
        tries = 0
        while True:
            request_id = new_request_id()
            # An inline handler prints into our own stdout, which is for the report.
            with request_context(request_id, function=function), contextlib.redirect_stdout(sys.stderr):
                outcome = await handler.invoke(event, request_id=request_id)
            tries += 1
            # A function that is stopped stays so.
            if not isinstance(outcome, Throttled | Unreachable) or tries == _TRIES or not handler.limit:
                return outcome
            await asyncio.sleep(delay(tries, initial=0.5, maximum=10))

    async def close(self) -> None:
        """End the functions' environments."""
        await all_ended(*(each.close() for each in self._functions.made.values()))
