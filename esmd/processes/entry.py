"""The script that a child process is started with: takes the parent's import path over, sees to it that it does not outlive it.

`python -P entry.py DESCRIPTOR PARENT`: the descriptor of its end of the socket pair, and the parent's process id. The first
thing that comes over the socket is the import path, as JSON: before it nothing of ours can be imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import threading


def die_with(parent: int, end: socket.socket) -> None:
    """End this process when the parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    else:

        def watch() -> None:
            hangup = select.poll()
            hangup.register(end, 0)
            hangup.poll()
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, name="esmd-watch", daemon=True).start()
    if os.getppid() != parent:  # it was gone before the above could take effect
        os._exit(1)


def received(end: socket.socket, length: int) -> bytes:
    """So many bytes of the socket."""
    data = b""
    while len(data) < length:
        if not (more := end.recv(length - len(data))):
            os._exit(1)
        data += more
    return data


def main(descriptor: int, parent: int) -> int:
    """Run a child to its end; its exit code."""
    # Whoever stops the service may tell every process of it; the parent decides, and tells the children itself.
    # A handler, since programs started from here would inherit SIG_IGN.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    end = socket.socket(fileno=descriptor)
    end.set_inheritable(False)
    die_with(parent, end)
    sys.path[:] = json.loads(received(end, int.from_bytes(received(end, 4))))
    from esmd.processes import child  # noqa: PLC0415 - see the module's docstring

    return child.main(end)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
