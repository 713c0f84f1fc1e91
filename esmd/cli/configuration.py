"""How every command finds its configuration, and says what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esmd.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esmd.config.report import Diagnostic
    from esmd.config.schema import Config

DEFAULT_FILE = "esmd.yaml"


def configuration_paths(given: Sequence[str | Path], *, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The files and folders to read: those given, else `./esmd.yaml`, else what `ESMD_CONFIG` names.

    Without any of them it is `esmd.yaml`, and reading it says that it is missing.
    """
    if given:
        return tuple(Path(each) for each in given)
    default = Path(DEFAULT_FILE)
    if not default.exists() and environ.get("ESMD_CONFIG"):
        return (Path(environ["ESMD_CONFIG"]),)
    return (default,)


def load_configuration(
    given: Sequence[str | Path],
    *,
    environ: Mapping[str, str] | None = None,
    warnings: list[Diagnostic] | None = None,
) -> Config:
    """The configuration of a command that cannot go on without a valid one.

    Errors and warnings go to stderr; of a valid configuration, warnings go to the list instead if one is given.

    Raises:
        SystemExit: with `Exit.CONFIG`, where there are errors.
    """
    # pydantic and the models take a tenth of a second that `--help` does not need.
    from esmd.config.loader import load  # noqa: PLC0415

    variables = os.environ if environ is None else environ
    paths = configuration_paths(given, environ=variables)
    loaded = load(paths, environ=variables)
    if warnings is not None and loaded.config is not None:
        warnings += loaded.diagnostics
        return loaded.config
    for diagnostic in loaded.diagnostics:
        click.echo(str(diagnostic), err=True)
    if loaded.config is None:
        hint_at_default(given, paths)
        raise SystemExit(Exit.CONFIG)
    return loaded.config


def hint_at_default(given: Sequence[str | Path], paths: Sequence[Path]) -> None:
    """Say how to name a configuration where none was named and the default is not there."""
    if not given and not any(path.exists() for path in paths):
        click.echo("Name a file or folder, write ./esmd.yaml, or set ESMD_CONFIG.", err=True)
