"""How commands that look at a running daemon find it, and what they end with when nobody answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from esmd.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.api.client import DaemonClient


class DaemonSilent(click.ClickException):
    """Nobody answers."""

    exit_code = Exit.UNAVAILABLE


def api_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--api`."""
    return click.option(
        "--api",
        metavar="URL|PATH",
        envvar="ESMD_API",
        help="Where the daemon is: a URL, or the path of its socket. By default the socket of a daemon of this user.",
    )(command)


def daemon_at(api: str | None) -> DaemonClient:
    """The client of the daemon at an address; use it as an async context manager."""
    from esmd.api.client import DaemonClient  # noqa: PLC0415 - brings aiohttp

    return DaemonClient.connect(DaemonClient.find(api, os.environ))
