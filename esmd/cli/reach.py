"""How commands reach a running daemon, and what they say where there is none."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from esmd.cli.configuration import configuration_paths
from esmd.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esmd.api.address import Address
    from esmd.api.client import DaemonClient

_Result = TypeVar("_Result")


def api_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--api`."""
    return click.option(
        "--api",
        metavar="PATH|URL",
        envvar="ESMD_API",
        help="The daemon's socket, or the URL of its API (its token is ESMD_API_TOKEN). Left out: ESMD_SOCKET, then "
        "api.socket of the configuration, then the default socket.",
    )(command)


class Unreachable(click.ClickException):
    """No daemon answers."""

    exit_code = Exit.UNAVAILABLE


def ask(api: str | None, call: Callable[[DaemonClient], Awaitable[_Result]]) -> _Result:
    """What a call to the daemon comes to.

    Raises:
        click.ClickException: no daemon answers, or it said no; with what to do about it.
    """
    # aiohttp takes a fifth of a second that `--help` does not need.
    from esmd.api.client import DaemonClient, DaemonRefused, DaemonUnreachable  # noqa: PLC0415

    address, broken = _address(api)

    async def run() -> _Result:
        async with DaemonClient.connect(address) as daemon:
            return await call(daemon)

    try:
        return asyncio.run(run())
    except DaemonUnreachable as error:
        more = (
            f"\n{broken} has errors: if it names api.socket, say that with --api; esmd lint says more" if broken else ""
        )
        raise Unreachable(f"{error}{more}") from error
    except DaemonRefused as error:
        raise click.ClickException(str(error)) from error


def _address(api: str | None) -> tuple[Address, str]:
    """Where the daemon is, and the names of files that may say otherwise and cannot be read.

    The configuration need not be valid to say so, as far as its section `api` is.
    """
    from esmd.api.address import find  # noqa: PLC0415

    paths = configuration_paths((), environ=os.environ)
    config, broken = None, ""
    if all(path.exists() for path in paths):
        from esmd.config.loader import load  # noqa: PLC0415
        from esmd.config.schema import Config  # noqa: PLC0415

        loaded = load(paths, environ=os.environ)
        config = Config(api=loaded.api)
        broken = "" if api or loaded.config is not None else ", ".join(map(str, paths))
    return find(api, environ=os.environ, config=config), broken
