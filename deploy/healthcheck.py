"""Asks the daemon in this container whether it lives: GET /livez on its control socket. Exit code 0 for yes, else 1.

Nothing but the standard library, so that a check costs little. The socket is `ESMD_SOCKET`, or the first argument.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys

_SECONDS = 4.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(self._path)


def main(path: str) -> int:
    """The exit code."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"{path}: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{path}: {status}\n")
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ESMD_SOCKET", "/run/esmd/esmd.sock")))
