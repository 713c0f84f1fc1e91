"""`esmd pause`: stops polling for mappings until they are resumed."""

from __future__ import annotations

import click

from esmd.cli.asking import ask_for_each
from esmd.cli.reach import api_option


@click.command("pause")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Return when nothing is under way any more, or as soon as no more is received.",
)
@api_option
def command(*, names: tuple[str, ...], wait: bool, api: str | None) -> None:
    """Stop polling for mappings, and let what is under way end.

    NAME is a mapping's name or its UUID. Nothing new is received from here on; what runs is finished, what was received
    and never started goes back to its queue. The command returns when that is done. A mapping stays paused, over restarts
    of the daemon too, until `esmd resume`.

    \b
    Examples:
      esmd pause orders
      esmd pause orders payments --no-wait
    """  # noqa: D301 - click reads the character of \b, not its escape
    ask_for_each("pause", names, wait=wait, api=api)
