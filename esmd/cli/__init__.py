"""The command line: one module per command, imported only when it is called."""

from __future__ import annotations

import gc
import importlib
import keyword

import click

from esmd import __version__

_COMMANDS = {
    "run": "Run the daemon on a configuration.",
    "dev": "Run the daemon with an AWS of its own, for development.",
    "status": "Show what a running daemon does.",
    "top": "Watch a running daemon, as top watches a system.",
    "trace": "Show what became of one record.",
    "pause": "Stop polling for mappings, and let what is under way end.",
    "resume": "Poll again for mappings that were paused.",
    "reload": "Have the daemon load its configuration anew.",
    "invoke": "Invoke a function once, and show what comes of it.",
    "event": "Print an event as AWS would send it.",
    "lint": "Check configuration files, offline.",
    "filter": "Grep for events: print the JSON lines that a pattern matches.",
    "checkpoint": "Show how far stream mappings have come, and move them.",
    "replay": "Handle again what was given up: failure records and dead letters.",
    "doctor": "Look whether a configuration can run, and what will hurt later.",
    "schema": "Print the JSON schema of the configuration.",
    "import": "Write a configuration from mappings that stand elsewhere.",
    "init": "Write a small configuration that works, with its handler.",
    "completion": "Print the script by which a shell completes commands.",
}

_EPILOG = """\b
Exit codes
  0    done; after TERM or INT: drained completely
  1    failed while running; `filter`: nothing matched
  2    wrong usage
  69   endpoint unreachable with --fail-fast; no daemon answers
  75   drain cut short by --grace: unfinished work is delivered again
  78   invalid configuration or pattern
  130  ended at once by a second interrupt
"""


class _Commands(click.Group):
    """Finds a command in the module of its name, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"esmd.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="esmd")
def cli() -> None:
    """AWS Lambda's event source mappings, anywhere.

    esmd polls queues on LocalStack, any AWS-compatible endpoint or AWS, batches records as Lambda does, invokes the
    handlers you registered, and applies Lambda's failure rules. Start with `esmd dev`, then write an esmd.yaml.
    """


_LOADED = 200_000
"""More objects than loading all of this makes, hardly any of which go again: looking for those is a tenth of the work."""


def main() -> None:
    """Entry point of the `esmd` command."""
    gc.set_threshold(_LOADED)
    cli()
