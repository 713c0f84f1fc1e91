"""What runs below a process, as the kernel tells it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and not outlived."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def descendants_of(pid: int) -> list[int]:
    """Its children, their children, and so on."""
    children = children_of(pid)
    return children + [each for child in children for each in descendants_of(child)]


def is_running(pid: int) -> bool:
    """Whether it is there, and not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(found: Callable[[], bool], what: str, *, within: float = 15.0) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + within
    while not found():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
