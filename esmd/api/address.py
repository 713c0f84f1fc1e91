"""Where a daemon's API is: a Unix socket, or a URL.

| asked in this order        | meaning                                                  |
|----------------------------|----------------------------------------------------------|
| `--api`, then `ESMD_API`   | a URL, or the path of a socket                           |
| `ESMD_SOCKET`              | the path of a socket; it wins over the configuration's   |
| `api.socket`               | the same, in the configuration                           |
| `XDG_RUNTIME_DIR`          | `esmd/esmd.sock` in there                                |
| else                       | `esmd.sock` in the folder of the default state file      |

The token of a URL is `ESMD_API_TOKEN`, else `api.token` of the configuration. A socket needs none: its mode guards it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.config.schema import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One of `socket` and `url`.

    Attributes:
        socket: path of a Unix socket.
        url: `http://HOST:PORT`, without a slash at its end.
        token: shown to a URL; not part of the address's text.
    """

    socket: Path | None = None
    url: str | None = None
    token: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return str(self.socket if self.url is None else self.url)


def default_socket(environ: Mapping[str, str]) -> Path:
    """The socket of a daemon whose configuration names none.

    A relative `XDG_RUNTIME_DIR` is ignored, as the XDG Base Directory Specification wants.
    """
    if environ.get("ESMD_SOCKET"):
        return Path(environ["ESMD_SOCKET"])
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return Path(runtime) / "esmd" / "esmd.sock"
    from esmd.state.sqlite import default_path  # noqa: PLC0415 - brings SQLite, which few need

    return default_path(environ).with_name("esmd.sock")


def find(given: str | None, *, environ: Mapping[str, str], config: Config | None = None) -> Address:
    """Where to reach the daemon; see the module's table.

    Args:
        given: a URL or a path, such as the value of `--api`; None where nobody said.
        environ: the environment.
        config: the daemon's configuration, where it is at hand.
    """
    chosen = given or environ.get("ESMD_API") or ""
    if chosen.startswith(("http://", "https://")):
        return Address(url=chosen.rstrip("/"), token=environ.get("ESMD_API_TOKEN") or _configured_token(config))
    if chosen:
        return Address(socket=Path(chosen).expanduser())
    return Address(socket=socket_of(config, environ))


def socket_of(config: Config | None, environ: Mapping[str, str]) -> Path:
    """The socket that a daemon of this configuration serves."""
    configured = None if config is None else config.api.socket
    if configured is not None and not environ.get("ESMD_SOCKET"):
        return configured
    return default_socket(environ)


def _configured_token(config: Config | None) -> str | None:
    token = None if config is None else config.api.token
    return None if token is None else token.get_secret_value()
