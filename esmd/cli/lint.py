"""`esmd lint`: everything that is wrong with a configuration, offline."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from esmd.cli.configuration import configuration_paths, hint_at_default
from esmd.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from esmd.config.loader import Loaded
    from esmd.config.report import Diagnostic


@click.command("lint")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option(
    "output",
    "--format",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="Lines for people and editors, a JSON list, or annotations for GitHub Actions.",
)
@click.pass_context
def command(context: click.Context, paths: tuple[str, ...], *, strict: bool, output: str) -> None:
    """Check configuration files and folders, offline.

    Without PATH: ./esmd.yaml, else what ESMD_CONFIG names. Several of them are one configuration. Ends with 78 if
    there are errors, or warnings under --strict.
    """
    # pydantic and the models take a tenth of a second that `--help` does not need.
    from esmd.config.loader import load  # noqa: PLC0415

    files = configuration_paths(paths, environ=os.environ)
    loaded = load(files, environ=os.environ)
    if output == "json":
        click.echo(json.dumps([_as_json(each) for each in loaded.diagnostics], indent=2))
    else:
        for each in loaded.diagnostics:
            click.echo(_annotation(each) if output == "github" else str(each))
    if output == "text":
        _summary(files, loaded)
    if loaded.config is None:
        hint_at_default(paths, files)
    if loaded.config is None or (strict and loaded.diagnostics):
        context.exit(Exit.CONFIG)


def _summary(files: Sequence[Path], loaded: Loaded) -> None:
    warnings = sum(each.severity == "warning" for each in loaded.diagnostics)
    errors = len(loaded.diagnostics) - warnings
    names = ", ".join(str(file) for file in files)
    if loaded.config is None:
        counts = [_count(errors, "error")]
        counts += [_count(warnings, "warning")] if warnings else []
        click.echo(f"{names}: {', '.join(counts)}", err=True)
        return
    counts = [_count(len(loaded.config.functions), "function"), _count(len(loaded.config.mappings), "mapping")]
    counts += [_count(warnings, "warning")] if warnings else []
    click.echo(f"{names}: ok ({', '.join(counts)})")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _as_json(diagnostic: Diagnostic) -> dict[str, str | int]:
    return {
        "file": str(diagnostic.file),
        "line": diagnostic.line,
        "column": diagnostic.column,
        "path": diagnostic.path,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "severity": diagnostic.severity,
    }


def _annotation(diagnostic: Diagnostic) -> str:
    """A workflow command of GitHub Actions, with its escapes."""
    properties = {"file": str(diagnostic.file)}
    if diagnostic.line:
        properties |= {"line": str(diagnostic.line), "col": str(diagnostic.column)}
    fields = ",".join(
        f"{name}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for name, value in properties.items()
    )
    return f"::{diagnostic.severity} {fields}::{_escaped(diagnostic.text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
