"""The options that several commands share."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esmd.daemon import DaemonOptions

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType[float]):
    """Seconds as a number, or with a unit: `500ms`, `30s`, `5m`, `1h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of the text."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration; write seconds, or 500ms, 30s, 5m, 1h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


def log_format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--log-format`."""
    return click.option(
        "--log-format",
        type=click.Choice(["auto", "console", "json"]),
        default="auto",
        show_default=True,
        envvar="ESMD_LOG_FORMAT",
        help="auto: console on a terminal, JSON lines elsewhere.",
    )(command)


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `run` and `dev` have in common."""
    options: list[Callable[..., Any]] = [
        click.argument("paths", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path)),
        log_format_option,
        click.option(
            "--grace",
            type=Duration(),
            default="30s",
            show_default=True,
            help="How long a drain may take before what still runs is killed and left to be delivered again.",
        ),
        click.option(
            "--exit-when-idle",
            type=Duration(),
            metavar="DURATION",
            help="Drain and exit once nothing was received, run or waiting to be retried for that long; "
            "exit code 1 if a mapping is unavailable then.",
        ),
        click.option(
            "--only", multiple=True, metavar="NAME", help="Run this mapping only; may be given several times."
        ),
        click.option(
            "--stats-every", type=Duration(), default="60s", show_default=True, help="How often mapping.stats is said."
        ),
        click.option("--log-payloads", is_flag=True, help="Log the event of every invocation. It may hold secrets."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def log_level_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--log-level` with a command's own default."""
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default=default,
        show_default=True,
        envvar="ESMD_LOG_LEVEL",
        help="The least level that is logged. Batches that succeed are debug.",
    )


def daemon_options(*, grace: float, exit_when_idle: float | None, fail_fast: bool, stats_every: float) -> DaemonOptions:
    """The daemon's share of the options."""
    if stats_every <= 0:
        raise click.BadParameter("must be more than nothing", param_hint="--stats-every")
    return DaemonOptions(grace=grace, exit_when_idle=exit_when_idle, fail_fast=fail_fast, stats_period=stats_every)


def longest_poll_for(exit_when_idle: float | None) -> int | None:
    """A run that ends when idle must not spend much more than that in its last long poll."""
    return None if exit_when_idle is None else max(1, min(5, math.ceil(exit_when_idle)))
