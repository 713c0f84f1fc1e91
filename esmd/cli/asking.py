"""Asks the daemon for a change of one mapping after the other, and shows what state each is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from esmd.cli.reach import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.api.client import DaemonClient


def ask_for_each(what: str, names: Sequence[str], *, wait: bool, api: str | None) -> None:
    """Ask for all of them first, so that none waits for another one's drain; then, if wanted, wait for each.

    Raises:
        click.ClickException: no daemon answers, or it said no; those before are changed.
    """

    async def call(daemon: DaemonClient) -> None:
        for name in names:
            entry = await daemon.post(f"/esmd/v1/mappings/{quote(name, safe='')}/{what}")
            if not wait:
                _show(entry)
        if wait:
            for name in names:
                _show(await daemon.post(f"/esmd/v1/mappings/{quote(name, safe='')}/{what}?wait=1"))

    ask(api, call)


def _show(entry: dict[str, Any]) -> None:
    trouble = f" ({entry['trouble']})" if entry["trouble"] else ""
    click.echo(f"{entry['name']}: {entry['state']}{trouble}")
