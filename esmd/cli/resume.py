"""`esmd resume`: polls again for mappings that were paused."""

from __future__ import annotations

import click

from esmd.cli.asking import ask_for_each
from esmd.cli.reach import api_option


@click.command("resume")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Return when it polls or has said why it cannot, or at once.",
)
@api_option
def command(*, names: tuple[str, ...], wait: bool, api: str | None) -> None:
    """Poll again for mappings that were paused.

    NAME is a mapping's name or its UUID. A stream is read on from where it was paused. What `enabled: false` disables in a
    file is enabled there.

    \b
    Examples:
      esmd resume orders
    """  # noqa: D301 - click reads the character of \b, not its escape
    ask_for_each("resume", names, wait=wait, api=api)
