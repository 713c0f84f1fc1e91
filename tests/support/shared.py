"""One server for all processes of a test run: LocalStack takes half a minute of a core to start.

| who                              | does                                                                          |
|----------------------------------|-------------------------------------------------------------------------------|
| the first that needs it          | starts it, and stops it when all others have let go                           |
| the others                       | use it, and let go when they end, also when they are killed                   |
| who comes while it is stopped    | starts another                                                                |
"""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def shared(folder: Path, name: str, server: Callable[[], contextlib.AbstractContextManager[str]]) -> Iterator[str]:
    """The address of a server.

    Args:
        folder: of this run, the same in every process.
        name: of the server.
        server: runs one while inside; its address.
    """
    address = folder / f"{name}.address"
    with contextlib.ExitStack() as stack:
        users = stack.enter_context((folder / f"{name}.users").open("w"))
        with _alone(folder / f"{name}.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            is_ours = not address.exists()
            if is_ours:
                address.write_text(stack.enter_context(server()), encoding="utf-8")
            url = address.read_text(encoding="utf-8")
        yield url
        if is_ours:
            with _alone(folder / f"{name}.lock"):
                address.unlink()
            fcntl.flock(users, fcntl.LOCK_EX)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
