"""`esmd reload`: has the daemon load its configuration anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from esmd.cli.exits import Exit
from esmd.cli.reach import api_option, ask

if TYPE_CHECKING:
    from esmd.api.client import DaemonClient


@click.command("reload")
@api_option
@click.pass_context
def command(context: click.Context, *, api: str | None) -> None:
    """Have the daemon load its configuration anew, and show what that changed.

    Mappings that changed drain and go on with their new settings, mappings that are gone drain, new ones begin; what did
    not change is not touched. With errors in the files nothing is changed, and the exit code is 78. SIGHUP does the same.

    \b
    Examples:
      esmd reload
      esmd reload --api http://127.0.0.1:4580
    """  # noqa: D301 - click reads the character of \b, not its escape

    async def call(daemon: DaemonClient) -> Any:
        return await daemon.post("/esmd/v1/reload")

    outcome = ask(api, call)
    for line in outcome["diagnostics"]:
        click.echo(line, err=True)
    if not outcome["applied"]:
        click.echo("nothing was changed", err=True)
        context.exit(Exit.CONFIG)
    for what in ("added", "changed", "removed", "functions"):
        if outcome[what]:
            click.echo(f"{what}: {', '.join(outcome[what])}")
    click.echo(f"unchanged: {outcome['unchanged']}")
    if outcome["restart_needed"]:
        click.echo(f"takes effect when the daemon is started anew: {', '.join(outcome['restart_needed'])}")
