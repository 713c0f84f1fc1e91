"""`esmd status`: what a running daemon does, and why it does not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from esmd.cli.exits import Exit
from esmd.cli.reach import api_option, ask

if TYPE_CHECKING:
    from esmd.api.client import DaemonClient

WATCHED_EVERY = 2.0
"""Seconds between two looks of `--watch`."""

_HOME_AND_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@click.command("status")
@click.argument("name", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: as the daemon gives it, on one line where stdout is not a terminal.",
)
@click.option("-w", "--watch", is_flag=True, help="Show it again every two seconds, until it is interrupted.")
@api_option
def command(*, name: str | None, output: str, watch: bool, api: str | None) -> None:
    """Show what the running daemon does: all mappings, or all of the mapping NAME (a name or UUID).

    RECEIVED/S, INVOKED/S and FAILED/S are records per second over the last ten seconds. BEHIND is, of a queue, about how
    many messages wait; of a stream, how old the last record of a batch was when it was sent.

    Exit code 1 if NAME is in trouble: it cannot run, or a failing batch holds up one of its shards. Exit code 69 if no
    daemon answers.

    \b
    Examples:
      esmd status
      esmd status orders
      esmd status orders -o json | jq .mapping.backlog
      esmd status --api http://127.0.0.1:4580 --watch
    """  # noqa: D301 - click reads the character of \b, not its escape
    try:
        code = ask(api, partial(_show, name=name, as_json=output == "json", watch=watch))
    except KeyboardInterrupt:
        code = Exit.OK if watch else Exit.INTERRUPTED
    raise SystemExit(int(code))


async def _show(daemon: DaemonClient, *, name: str | None, as_json: bool, watch: bool) -> Exit:
    while True:
        value, text, code = await _look(daemon, name)
        if watch and sys.stdout.isatty():
            click.echo(_HOME_AND_CLEAR, nl=False)
        if as_json:
            _put(value)
        else:
            click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
        if not watch:
            return code
        await asyncio.sleep(WATCHED_EVERY)


async def _look(daemon: DaemonClient, name: str | None) -> tuple[Any, str, Exit]:
    """What there is to show, as JSON and as text, and the exit code that it is worth."""
    from esmd.status import text  # noqa: PLC0415 - brings what `--help` does not need
    from esmd.status.model import Snapshot  # noqa: PLC0415
    from esmd.status.reading import read  # noqa: PLC0415

    value = await daemon.get("/esmd/v1/status")
    try:
        snapshot = read(Snapshot, value)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if name is None:
        return value, text.overview(snapshot), Exit.OK
    mapping = snapshot.mapping(name)
    if mapping is None:
        known = ", ".join(each.name for each in snapshot.mappings) or "none"
        raise click.BadParameter(f"there is no mapping {name!r}; there are: {known}", param_hint="NAME")
    function = next((each for each in value["functions"] if each["name"] == mapping.function), None)
    one = {
        "at": value["at"],
        "mapping": next(each for each in value["mappings"] if each["name"] == mapping.name),
        "function": function,
        "failures": [each for each in value["failures"] if mapping.concerned_by(each["mapping"], each["function"])],
    }
    return one, text.details(snapshot, mapping), Exit.FAILED if mapping.in_trouble else Exit.OK


def _put(value: Any) -> None:
    from esmd.cli.pretty import put  # noqa: PLC0415

    put(json.dumps(value, separators=(",", ":")).encode())
