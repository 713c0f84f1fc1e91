"""`esmd trace`: what became of one record."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote

import click

from esmd.cli.exits import Exit
from esmd.cli.reach import api_option, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.api.client import DaemonClient
    from esmd.trace.life import Life

_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of standard input that are kept in memory; more goes to a temporary file."""


@click.command("trace")
@click.argument("wanted", metavar="ID")
@click.argument("logs", metavar="[LOG]...", nargs=-1, type=click.File("rb"))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: its events as the log spells them.",
)
@api_option
def command(*, wanted: str, logs: Sequence[BinaryIO], output: str, api: str | None) -> None:
    """Show what became of a record: received, filtered, invoked and with which others, failed, deleted, given up.

    ID is a message id, a sequence number, or the request id of an invocation. LOG is the daemon's log in JSON, "-" for
    standard input; what journald (-o cat, short or json) and Docker make of it is read too. Give several in the order in which
    they were written. Without LOG the running daemon is asked for what it remembers: about the last ten thousand records.

    A log tells what went well at --log-level debug only; what failed, always.

    Exit code 1 if nothing is known of ID. Exit code 69 if no daemon answers.

    \b
    Examples:
      esmd trace 5fea7756-0ea4-451a-a703-a558b933e274
      esmd trace 49590338271490256608559692538361571095921575989136588898 esmd.log
      journalctl -u esmd -o cat | esmd trace 5fea7756-0ea4-451a-a703-a558b933e274 -
    """  # noqa: D301 - click reads the character of \b, not its escape
    life = _from_logs(wanted, logs) if logs else ask(api, lambda daemon: _from_daemon(daemon, wanted))
    if output == "json":
        from esmd.cli.pretty import put  # noqa: PLC0415 - brings what `--help` does not need

        put(json.dumps(dataclasses.asdict(life), separators=(",", ":")).encode())
        return
    from esmd.trace.text import timeline  # noqa: PLC0415

    click.echo(timeline(life))


async def _from_daemon(daemon: DaemonClient, wanted: str) -> Life:
    from esmd.trace.life import Life  # noqa: PLC0415

    value: dict[str, Any] = await daemon.get(f"/esmd/v1/trace/{quote(wanted, safe='')}")
    return Life(**value | {"events": tuple(value["events"])})


def _from_logs(wanted: str, logs: Sequence[BinaryIO]) -> Life:
    from esmd.trace.logs import trace_logs  # noqa: PLC0415

    with ExitStack() as stack:
        life, read = trace_logs(wanted, [_seekable(each, stack) for each in logs])
    if life is None:
        why = "" if read.debug else "; none is of level debug, and only those tell what went well"
        click.echo(f"esmd trace: nothing is known of {wanted!r} in {read.lines} lines{why}", err=True)
        sys.exit(Exit.FAILED)
    return life


def _seekable(log: BinaryIO, stack: ExitStack) -> BinaryIO:
    """The log, or a copy of one that can be read only once."""
    if log.seekable():
        return log
    copy = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(log, copy)
    copy.seek(0)
    return cast("BinaryIO", copy)
