"""`esmd doctor`: what keeps a configuration from running, or will hurt later."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esmd.cli.configuration import configuration_paths, hint_at_default
from esmd.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.config.report import Diagnostic
    from esmd.config.schema import Config
    from esmd.doctor.findings import Finding

_COLOURS = {"ok": "green", "advice": "yellow", "problem": "red"}


@click.command("doctor")
@click.argument("paths", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "output",
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or an object with all findings.",
)
@click.option("--strict", is_flag=True, help="Fail on advice too.")
@click.option(
    "--allow-remote", is_flag=True, help="Allow an endpoint that is not local, such as AWS itself (aws.allow_remote)."
)
def command(*, paths: tuple[Path, ...], output: str, strict: bool, allow_remote: bool) -> None:
    """Look whether CONFIG can run: endpoint, credentials, sources, functions, clock, state file.

    It changes nothing and invokes nothing; handlers are loaded, in processes of their own. Each finding comes with what to
    do about it. Ends with 1 if something cannot run, or with --strict if something is advised.

    \b
    Examples:
      esmd doctor
      esmd doctor esmd.yaml --strict
      esmd doctor -o json | jq '.findings[] | select(.level != "ok")'
    """  # noqa: D301 - click reads the character of \b, not its escape
    from esmd.config.loader import load  # noqa: PLC0415
    from esmd.doctor.findings import failed  # noqa: PLC0415

    files = configuration_paths(paths, environ=os.environ)
    loaded = load(files, environ=os.environ)
    findings = _of_configuration(files, loaded.diagnostics)
    if loaded.config is None:
        hint_at_default(paths, files)
    else:
        findings += asyncio.run(_examine(loaded.config, allow_remote=allow_remote))
    _show(findings, output)
    if failed(findings, strict=strict):
        raise SystemExit(Exit.FAILED)


def _of_configuration(files: Sequence[Path], diagnostics: Sequence[Diagnostic]) -> list[Finding]:
    from esmd.doctor.findings import advice, ok, problem  # noqa: PLC0415

    check, names = "configuration", ", ".join(map(str, files))
    found: list[Finding] = []
    for each in diagnostics:
        make = problem if each.severity == "error" else advice
        place = f"{each.file}:{each.line}:{each.column}" if each.line else str(each.file)
        message = f"{each.path}: {each.message}" if each.path else each.message
        found.append(make(check, place, message, fix=each.hint or "see docs/configuration.md"))
    return found if any(each.severity == "error" for each in diagnostics) else [ok(check, names, "is valid"), *found]


async def _examine(config: Config, *, allow_remote: bool) -> list[Finding]:
    # All of this brings botocore, which a wrong configuration need not wait for.
    from esmd.assembly import make_clients  # noqa: PLC0415
    from esmd.cli.launch import refuse_remote  # noqa: PLC0415
    from esmd.doctor.examination import examine  # noqa: PLC0415
    from esmd.doctor.findings import problem  # noqa: PLC0415
    from esmd.doctor.surroundings import Surroundings  # noqa: PLC0415

    async with make_clients(config.aws, os.environ) as clients:
        around = Surroundings(config=config, clients=clients, environ=os.environ)
        try:
            await refuse_remote(config, clients, allow_remote=allow_remote, environ=os.environ)
        except click.ClickException as refused:
            what, _, fix = refused.message.partition(". ")
            found = [problem("endpoint", "aws", what, fix=fix or "name a local endpoint")]
            return [*found, *await examine(around, remote=False)]
        return await examine(around, remote=True)


def _show(findings: Sequence[Finding], output: str) -> None:
    counts = {level: sum(each.level == level for each in findings) for level in _COLOURS}
    if output == "json":
        click.echo(json.dumps({"counts": counts, "findings": [asdict(each) for each in findings]}, indent=2))
        return
    colours = False if os.environ.get("NO_COLOR") else None  # None: on a terminal
    for each in findings:
        level = click.style(f"{each.level:<8}", fg=_COLOURS[each.level])
        click.echo(f"{level} {each.check}: {each.subject}: {_one_line(each.message)}", color=colours)
        if each.fix:
            click.echo(f"         fix: {_one_line(each.fix)}")
    click.echo(", ".join(f"{count} {level}" for level, count in counts.items()), err=True)


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
