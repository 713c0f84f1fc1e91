"""What the commands reach a running daemon with: JSON over its Unix socket, or over HTTP."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from esmd.api import address as addresses
from esmd.api.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from esmd.config.schema import Config

CONNECT_SECONDS = 5.0
"""Most seconds until the daemon takes a connection."""


class DaemonUnreachable(Exception):  # noqa: N818 - says what is, as the other outcomes do
    """Nobody answers at the address.

    Attributes:
        message: what was tried.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message} ({hint})")
        self.message = message
        self.hint = hint


class DaemonRefused(Exception):  # noqa: N818
    """The daemon said no.

    Attributes:
        message: why.
        hint: what to do about it; may be empty.
        status: of HTTP.
        error: which kind of refusal, such as `NotFound`.
    """

    def __init__(self, message: str, *, hint: str = "", status: int, error: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint
        self.status = status
        self.error = error


class DaemonClient:
    """A connection to one daemon; use it as an async context manager."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None

    @staticmethod
    def find(given: str | None, environ: Mapping[str, str], config: Config | None = None) -> Address:
        """Where the daemon is; see `esmd.api.address`."""
        return addresses.find(given, environ=environ, config=config)

    @classmethod
    def connect(cls, address: Address | Path | str) -> Self:
        """A client of the daemon at an address; nothing is sent before the first call."""
        match address:
            case Address():
                return cls(address)
            case str() if address.startswith(("http://", "https://")):
                return cls(Address(url=address.rstrip("/")))
            case _:
                return cls(Address(socket=Path(address)))

    async def __aenter__(self) -> Self:
        socket = self._address.socket
        connector = None if socket is None else aiohttp.UnixConnector(str(socket))
        token = self._address.token
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            # An answer may wait for a drain; that the daemon is there at all shows at once.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Any:
        """What the daemon has at `path`: parsed JSON, or text where it is not JSON.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: it said no.
        """
        return await self._call("GET", path, None)

    async def post(self, path: str, body: Any = None) -> Any:
        """What comes of sending `body`, as JSON, to `path`.

        Raises:
            DaemonUnreachable: nobody answers, or it ended before it had answered.
            DaemonRefused: it said no.
        """
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: Any) -> Any:
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with`")
        url = f"{self._address.url or 'http://localhost'}{path}"
        try:
            async with self._session.request(
                method, url, json=body, allow_redirects=False, skip_auto_headers=("Accept-Encoding",)
            ) as response:
                text = await response.text()
                status = response.status
                is_json = response.content_type == "application/json"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if status >= 300:
            raise _refusal(status, text)
        return json.loads(text) if is_json else text

    def _unreachable(self, error: Exception) -> DaemonUnreachable:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        where = "at" if self._address.socket is None else "on the socket"
        return DaemonUnreachable(
            f"no daemon answers {where} {self._address}: {reason}",
            hint="start one with esmd run, or say where it is with --api PATH or --api URL (ESMD_API)",
        )


def _refusal(status: int, text: str) -> DaemonRefused:
    """What an answer that is no success says: ours has an `error`, a `message` and a `hint`."""
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict) and isinstance(said.get("message"), str):
            return DaemonRefused(
                said["message"], hint=said.get("hint") or "", status=status, error=said.get("error") or ""
            )
    return DaemonRefused(f"the daemon answered {status}: {text.strip()[:200]}", status=status)
