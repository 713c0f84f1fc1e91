"""One daemon per state file: a lock that ends with its process, however that ends.

It is an advisory lock (flock) on a file beside the state file. The kernel releases it when its holder is killed; the
file stays, since removing it would let a third process lock another file of the same name.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from esmd.state.errors import StateInUseError

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """Held from construction to `release`.

    Args:
        path: the state file; the lock is `<path>.lock`.

    Raises:
        StateInUseError: another holder has it; the message names its process.
        OSError: the lock file cannot be made or locked.
    """

    def __init__(self, path: Path) -> None:
        # Python makes descriptors that programs started from here do not inherit: none of them can outlive us with it.
        self._descriptor: int | None = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            pid = _pid(self._descriptor)
            self.release()
            holder = f"process {pid}" if pid else "another process"
            raise StateInUseError(
                f"the state file {path} is in use by {holder}",
                hint="Two daemons on one state file would deliver every record twice: stop the other one, or give this"
                " one a state file of its own.",
                pid=pid,
            ) from error
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Let others have it. May be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _pid(descriptor: int) -> int | None:
    """Whom the lock file names; None where nobody is named yet."""
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
