"""`esmd run`: the daemon in the foreground."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import click

from esmd.cli.configuration import configuration_paths, load_configuration
from esmd.cli.options import daemon_options, log_level_option, longest_poll_for, shared_options

if TYPE_CHECKING:
    from pathlib import Path

    from esmd.config.report import Diagnostic
    from esmd.control.triggers import Changes
    from esmd.observe.logging import Format


class Processes(click.ParamType[int]):
    """A number of processes, or `auto` for one on each core that this process may use."""

    name = "processes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        if value == "auto":
            return usable_cores()
        if not re.fullmatch(r"[1-9][0-9]{0,3}", str(value), re.ASCII):
            self.fail(f"{value!r} is not a number of processes; write 1 or more, or auto", param, ctx)
        return int(value)


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@click.command("run")
@shared_options
@log_level_option("info")
@click.option(
    "--fail-fast",
    is_flag=True,
    help="End when a mapping cannot run at the start: exit code 69 for its queue or endpoint, 1 for its function. "
    "Without it such a mapping says why, waits and heals by itself.",
)
@click.option(
    "--processes",
    type=Processes(),
    default="1",
    show_default=True,
    metavar="N",
    help="Share the work among so many processes; auto: one for each usable core. Each polls every queue; the shards of a "
    "stream and every limit on concurrency are divided among them. One is enough unless it keeps a core busy.",
)
@click.option(
    "--emf",
    is_flag=True,
    envvar="ESMD_EMF",
    help="Add CloudWatch's Embedded Metric Format to mapping.stats and function.stats; the log is JSON then.",
)
@click.option(
    "--allow-remote", is_flag=True, help="Allow an endpoint that is not local, such as AWS itself (aws.allow_remote)."
)
@click.option(
    "--watch",
    "watched",
    is_flag=True,
    help="Load the configuration anew whenever one of its files changes, as esmd reload does. Needs watchfiles: "
    "pip install 'esmd[dev]'.",
)
def command(
    *,
    paths: tuple[Path, ...],
    log_format: Format,
    log_level: str,
    grace: float,
    exit_when_idle: float | None,
    only: tuple[str, ...],
    stats_every: float,
    log_payloads: bool,
    fail_fast: bool,
    processes: int,
    allow_remote: bool,
    emf: bool,
    watched: bool,
) -> None:
    """Run the mappings of CONFIG until it is told to stop.

    CONFIG is any number of YAML files, or folders of them; by default ./esmd.yaml, else what ESMD_CONFIG names.

    The first INT or TERM drains: nothing new is received, what runs is finished, what was received and never started
    goes back to its queue. A second one ends the process at once; nothing is lost, but some of it is delivered again.

    \b
    Examples:
      esmd run
      esmd run orders.yaml payments.yaml --log-format json
      AWS_ENDPOINT_URL=http://127.0.0.1:4566 esmd run --exit-when-idle 5s
      esmd run --processes auto       # use every core
      esmd run --allow-remote         # poll AWS itself
    """  # noqa: D301 - click reads the character of \b, not its escape
    if emf and log_format == "console":
        raise click.BadParameter("the metrics need JSON lines: leave --log-format console out", param_hint="--emf")
    from esmd.control.triggers import hold_hangups  # noqa: PLC0415 - the help needs nothing of it

    hold_hangups()
    warnings: list[Diagnostic] = []
    config = load_configuration(paths, warnings=warnings)
    from esmd.assembly import RunOptions  # noqa: PLC0415 - brings botocore, which a bad configuration need not wait for
    from esmd.cli.launch import LogOptions, check_names, launch, run_to_exit  # noqa: PLC0415

    watching = _watching(processes) if watched else None
    check_names(config, frozenset(only))
    options = RunOptions(
        daemon=daemon_options(grace=grace, exit_when_idle=exit_when_idle, fail_fast=fail_fast, stats_every=stats_every),
        only=frozenset(only),
        longest_poll=longest_poll_for(exit_when_idle),
        log_payloads=log_payloads,
    )
    run_to_exit(
        launch(
            config,
            options,
            log=LogOptions(log_format="json" if emf else log_format, level=log_level, emf=emf),
            allow_remote=allow_remote,
            environ=os.environ,
            warnings=warnings,
            processes=processes,
            paths=configuration_paths(paths, environ=os.environ),
            watching=watching,
        )
    )


def _watching(processes: int) -> Changes:
    """What tells of changed files.

    Raises:
        click.ClickException: it cannot be had; with what to do about it.
    """
    from esmd.control.triggers import watchfiles  # noqa: PLC0415 - needed here only

    if processes > 1:
        raise click.BadParameter("needs one process: several are started anew to change them", param_hint="--watch")
    found = watchfiles()
    if found is None:
        raise click.ClickException("--watch needs the package watchfiles: pip install 'esmd[dev]'")
    return found
