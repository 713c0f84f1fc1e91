"""Where the daemon's API listens. The server is loaded when the first connection comes: an idle daemon stays small.

| at the Unix socket's path         | what happens                                                        |
|-----------------------------------|---------------------------------------------------------------------|
| nothing                           | it is made, for this user only (mode 0600)                          |
| a socket that a dead daemon left  | it is replaced                                                      |
| a living daemon's socket          | `api.unavailable`; that one keeps it, this one runs without         |
| anything else                     | `api.unavailable`; it is left as it is                              |

`<path>.lock` beside it says who owns it: the kernel releases the lock when its holder ends, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import os
import socket
import stat
from typing import TYPE_CHECKING, Protocol

from esmd.config.api_schema import host_and_port
from esmd.observe.control_events import ApiListening, ApiUnavailable
from esmd.observe.daemon_events import InternalError
from esmd.observe.stacks import stack_of
from esmd.tasks import Lasting, unhurried

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from esmd.api.parts import ApiParts

_BACKLOG = 64


class Served(Protocol):
    """A server at work."""

    async def close(self) -> None:
        """End it; requests under way get a moment."""
        ...


class _TakenError(Exception):
    """The socket's path cannot be had; its arguments are why, and what to do about it."""


class Listening:
    """Use it as an async context manager around the daemon's life."""

    def __init__(self, parts: ApiParts, *, path: Path, listen: str | None) -> None:
        self._parts = parts
        self._path = path
        self._listen = listen
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._lock: int | None = None
        self._bound = False
        self._starting: Lasting | None = None
        self._served: Served | None = None

    async def __aenter__(self) -> None:
        self._open_path()
        if self._listen is not None:
            self._open_port(self._listen)
        for each in self._sockets:
            each.setblocking(False)
            self._loop.add_reader(each, self._first_connection)

    async def __aexit__(self, *_: object) -> None:
        self._stop_waiting()
        try:
            if self._starting is not None:
                await unhurried(asyncio.wait([self._starting.ended]))
            if self._served is not None:
                await unhurried(self._served.close())
        finally:
            self._let_go()

    def _let_go(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets.clear()
        if self._bound:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- the server

    def _stop_waiting(self) -> None:
        if self._starting is None:
            for each in self._sockets:
                self._loop.remove_reader(each)

    def _first_connection(self) -> None:
        self._stop_waiting()
        self._starting = Lasting(self._serve)

    async def _serve(self) -> None:
        """Load the server and let it take what waits at the sockets."""
        try:
            server = await asyncio.to_thread(importlib.import_module, "esmd.api.server")
            self._served = await server.serve(self._parts, self._sockets)
        except Exception as error:  # noqa: BLE001 - without its API the daemon runs on
            self._parts.telemetry.emit(
                InternalError(
                    where="api",
                    error_type=type(error).__name__,
                    error_message=str(error),
                    stack=stack_of(error),
                )
            )

    # --- the sockets

    def _open_path(self) -> None:
        try:
            self._sockets.append(self._bind())
        except _TakenError as error:
            message, hint = error.args
            self._unavailable(str(self._path), message, hint)
        except OSError as error:
            self._unavailable(
                str(self._path),
                error.strerror or str(error),
                "name another path with ESMD_SOCKET or api.socket, or set api.enabled: false",
            )

    def _bind(self) -> socket.socket:
        """The Unix socket, listening.

        Raises:
            _TakenError: somebody else has its path.
            OSError: it cannot be made.
        """
        path = self._path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _locked(path)
        if path.is_symlink() or path.exists():
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise _TakenError("there is something at its path that is no socket", "name another path")
            path.unlink()
        made = socket.socket(socket.AF_UNIX)
        try:
            made.bind(str(path))
            self._bound = True
            path.chmod(0o600)  # before anybody can connect
            made.listen(_BACKLOG)
        except BaseException:
            made.close()
            raise
        self._parts.telemetry.emit(ApiListening(address=str(path)))
        return made

    def _open_port(self, listen: str) -> None:
        host, port = host_and_port(listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            made = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            self._unavailable(f"http://{listen}", error.strerror or str(error), "choose another api.listen")
            return
        self._sockets.append(made)
        shown = f"[{host}]" if ":" in host else host
        self._parts.telemetry.emit(ApiListening(address=f"http://{shown}:{made.getsockname()[1]}"))

    def _unavailable(self, address: str, message: str, hint: str) -> None:
        self._parts.telemetry.emit(ApiUnavailable(address=address, error_message=message, hint=hint))

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """Those it listens on."""
        return self._sockets


def _locked(path: Path) -> int:
    """The descriptor of the lock beside a socket.

    Raises:
        _TakenError: another process has it.
        OSError: it cannot be made.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise _TakenError(
            f"the daemon with process id {pid or 'unknown'} serves there",
            "give this one a socket of its own with ESMD_SOCKET or api.socket, or set api.enabled: false",
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
