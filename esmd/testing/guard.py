"""Keeps a server from outliving the process that wanted it: `python guard.py [--remove DIR] -- COMMAND...`.

The guard stands between the two, in a session of its own. Its standard input is the lifeline: a pipe whose other end
the owner holds. When the owner closes it, or dies however suddenly, the guard ends the server's whole process group
(SIGTERM, then SIGKILL) and removes the server's folder. If the server ends by itself, so does the guard, with the
same exit status. Where the kernel can, it also ends the server should the guard itself be killed.

Runs as a script, with nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.1
"""How often the guard looks whether the server has ended by itself."""


def _die_with_guard() -> None:
    """Ask the kernel to kill this process when its parent ends; runs in the child, before exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and all of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(GRACE_SECONDS)
    # Also after an orderly end: its children may be slower, or deaf.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def main() -> int:
    """Run the command until it ends or the lifeline is cut; return its exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--remove", metavar="DIR", help="remove this folder at the end")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Only the lifeline counts. A handler, since the server would inherit SIG_IGN.
        signal.signal(number, lambda *_: None)
    is_linux = sys.platform == "linux"
    server = subprocess.Popen(  # noqa: S603 - running a command is the guard's purpose
        options.command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # Safe here: the guard has one thread.
        preexec_fn=_die_with_guard if is_linux else None,  # noqa: PLW1509
    )
    try:
        while server.poll() is None:
            readable, _, _ = select.select([sys.stdin], [], [], _LOOK_SECONDS)
            if readable:  # nobody ever writes: readable means closed
                break
    finally:
        _end(server)
        if options.remove:
            shutil.rmtree(options.remove, ignore_errors=True)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


if __name__ == "__main__":
    sys.exit(main())
