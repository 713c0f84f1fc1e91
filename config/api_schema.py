"""The settings of the daemon's own API: where it is served, and who may use it."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema

from esmd.config.fields import FilePath, Settings

SHORTEST_TOKEN = 16
"""Fewest characters of a token: what is shorter can be guessed."""


def host_and_port(text: str) -> tuple[str, int]:
    """The parts of HOST:PORT; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    usable = colon and host and port.isascii() and port.isdigit() and 0 <= int(port) <= 65_535
    if not usable or bracketed != (":" in host) or not host.isprintable() or set(host) & set(" /@?#"):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:4580 or [::1]:4580")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(text: str) -> str:
    host_and_port(text)
    return text


def _token(value: Any) -> Any:
    """Refuses a token without ever repeating it."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError("must be text: put it in quotes")  # noqa: TRY004 - pydantic turns only this into a finding
    if len(text) < SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must be at least {SHORTEST_TOKEN} printable ASCII characters without spaces")
    return value


class ApiSettings(Settings):
    """The daemon's own API, for `esmd pause` and its like, AWS's tools, and the status page."""

    enabled: bool = True
    """Whether the API is served at all."""
    socket: FilePath | None = None
    """A Unix socket that only the daemon's user may use. Left out: `ESMD_SOCKET`, then `esmd/esmd.sock` below
    `XDG_RUNTIME_DIR`, then `esmd.sock` beside the default state file. `ESMD_SOCKET` wins over this setting."""
    listen: Annotated[str, AfterValidator(_listen)] | None = None
    """`HOST:PORT` to serve HTTP on too, such as `127.0.0.1:4580`. Left out: the Unix socket only. A host that
    other machines can reach needs a `token`."""
    hosts: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=100)] = ()
    """Further names under which HTTP clients may call, such as `esmd.internal`. IP addresses, `localhost`
    and the host of `listen` always work; a request for any other name is refused."""
    token: Annotated[SecretStr, BeforeValidator(_token), WithJsonSchema({"type": "string"})] | None = None
    """What HTTP clients have to show, as `Authorization: Bearer TOKEN`; at least 16 characters. Write
    `${VARIABLE}` to keep it out of the file. The Unix socket needs none."""
