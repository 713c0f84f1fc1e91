"""Stopping in two steps.

| asked by                                      | first                | again                                       |
|-----------------------------------------------|----------------------|---------------------------------------------|
| INT, TERM                                     | drain                | halt (exit code 130 if the second was INT)  |
| the program (idle, fail-fast)                 | drain                | -                                           |

Drain: nothing new is received, what runs is finished. Halt: what still runs is killed and will be delivered again; the
end of the grace period does the same without being asked.
A stop that is asked for before anything runs is not lost: the events stay set.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shutdown:
    """The process's wish to stop. Make it inside the running loop."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        """Set when the daemon is to drain."""
        self.halt = asyncio.Event()
        """Set when it is to end at once."""
        self.reason = ""
        """Why it drains: a signal's name, or what the program said."""
        self.interrupted = False
        """Whether a second interrupt ended it."""

    def request(self, reason: str) -> None:
        """Ask for a drain; the first reason is kept."""
        if not self.drain.is_set():
            self.reason = reason
            self.drain.set()

    def received(self, number: signal.Signals) -> None:
        """Take a signal: the first drains, a further one halts."""
        if not self.drain.is_set():
            self.request(number.name)
            return
        if not self.halt.is_set():
            self.interrupted = number is signal.SIGINT
            self.halt.set()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Listen to INT and TERM while inside."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.received, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
