"""`esmd schema`: the JSON schema of the configuration, for editors."""

from __future__ import annotations

from importlib import resources

import click


@click.command("schema")
def command() -> None:
    """Print the JSON schema of the configuration.

    Save it, and start a configuration with the line `# yaml-language-server: $schema=FILE`: editors then complete
    names and show what they mean.
    """
    click.echo(resources.files("esmd.config").joinpath("schema.json").read_text(encoding="utf-8"), nl=False)
