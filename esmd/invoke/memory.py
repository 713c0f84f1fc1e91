"""How much memory a process and those it started hold, read from /proc."""

from __future__ import annotations

import os

MEGABYTE = 1024 * 1024

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int, *, above: int) -> int | None:
    """Resident memory of a process and its descendants; None where it cannot be read.

    Only Linux has it: elsewhere no memory limit is enforced. Descendants count as far as the kernel names them, which
    one without `CONFIG_PROC_CHILDREN` does not. A page that several processes share counts once in what
    is returned above `above`, and once for each of them below, which is quicker to find out.

    Args:
        pid: of the process.
        above: bytes; only what exceeds them has to be exact.
    """
    family = [pid]
    total = 0
    for member in family:
        try:
            with open(f"/proc/{member}/statm", "rb", buffering=0) as file:  # noqa: PTH123  20 times a second
                total += int(file.read(256).split()[1]) * _PAGE
        except (OSError, IndexError):
            if member == pid:
                return None
            continue  # a child that has ended since
        family += _children(member)
    if total > above and len(family) > 1:
        shared = [_proportional_bytes(member) for member in family]
        if None not in shared:
            return sum(filter(None, shared))
    return total


def _children(pid: int) -> list[int]:
    """Processes that a process has started and that live; empty where the kernel does not tell."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  as above
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:  # noqa: PTH123  as above
                found += map(int, file.read(65_536).split())
    except OSError:
        pass
    return found


def _proportional_bytes(pid: int) -> int | None:
    """Resident memory of one process, each page divided by the number of those that share it; None if not to be had."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123  as above
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except OSError:
        return None
