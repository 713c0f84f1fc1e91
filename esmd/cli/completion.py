"""`esmd completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from esmd.cli.exits import Exit


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands and options.

    \b
    Examples:
      eval "$(esmd completion bash)"                              # in ~/.bashrc
      eval "$(esmd completion zsh)"                               # in ~/.zshrc
      esmd completion fish > ~/.config/fish/completions/esmd.fish
    """  # noqa: D301 - click reads the character of \b, not its escape
    kind = get_completion_class(shell)
    if kind is None:
        context.exit(Exit.FAILED)
    # Looking for bash's version is left out: who asks for the script may not be the shell that reads it.
    completion = kind(context.find_root().command, {}, "esmd", "_ESMD_COMPLETE")
    click.echo(completion.source_template % completion.source_vars())
