"""`esmd dev`: the daemon with an AWS of its own."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esmd.cli.configuration import configuration_paths, load_configuration
from esmd.cli.options import daemon_options, log_level_option, longest_poll_for, shared_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esmd.assembly import RunOptions
    from esmd.cli.exits import Exit
    from esmd.cli.launch import LogOptions
    from esmd.config.report import Diagnostic
    from esmd.config.schema import Config
    from esmd.observe.logging import Format
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

_POLL_SECONDS = 1
"""Longest long poll, so that Ctrl-C is answered within a second."""


@click.command("dev")
@shared_options
@log_level_option("debug")
@click.option(
    "--traffic",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Send sample records: the JSON lines of FILE once, or made-up orders to every source for ever. "
    'A line is {"queue" or "stream" or "table": NAME, "body": TEXT or JSON, "key": TEXT}.',
)
@click.option(
    "--reload/--no-reload",
    default=True,
    show_default=True,
    help="Load the code of a handler anew when one of its files changes, and the configuration when that does. What runs "
    "finishes with the old code.",
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
    traffic: str | None,
    reload: bool,
) -> None:
    """Run the mappings of CONFIG against an AWS of their own.

    Unless an endpoint is configured (aws.endpoint_url, AWS_ENDPOINT_URL, LOCALSTACK_HOST), an emulator is started on a
    free port of this machine and ended with the daemon. Queues, streams, tables and on-failure destinations that CONFIG
    names and the endpoint lacks are created; a table's stream is named by the label `latest`. Positions in streams of the
    emulator are kept in memory only, since they end with it.

    A handler's code is watched: save a file, and the next invocation runs it. What runs then finishes with the code it
    began with; a file that does not load is said, and healed by the next save. So is the configuration: what it newly names
    is created, and mappings that did not change are not touched.

    \b
    Examples:
      esmd dev examples/quickstart --traffic examples/quickstart/traffic.jsonl
      esmd dev --traffic --exit-when-idle 5s
      LOCALSTACK_HOST=127.0.0.1:4566 esmd dev
    """  # noqa: D301 - click reads the character of \b, not its escape
    from esmd.control.triggers import hold_hangups  # noqa: PLC0415 - the help needs nothing of it

    hold_hangups()
    warnings: list[Diagnostic] = []
    config = load_configuration(paths, warnings=warnings)
    from esmd.assembly import RunOptions  # noqa: PLC0415 - brings botocore, which a bad configuration need not wait for
    from esmd.cli.launch import LogOptions, check_names, run_to_exit  # noqa: PLC0415

    check_names(config, frozenset(only))
    options = RunOptions(
        daemon=daemon_options(grace=grace, exit_when_idle=exit_when_idle, fail_fast=False, stats_every=stats_every),
        only=frozenset(only),
        longest_poll=min(_POLL_SECONDS, longest_poll_for(exit_when_idle) or _POLL_SECONDS),
        log_payloads=log_payloads,
    )
    run_to_exit(
        _dev(
            config,
            options,
            log=LogOptions(log_format=log_format, level=log_level),
            traffic=traffic,
            reload=reload,
            warnings=warnings,
            paths=configuration_paths(paths, environ=os.environ),
        )
    )


async def _dev(
    config: Config,
    options: RunOptions,
    *,
    log: LogOptions,
    traffic: str | None,
    reload: bool,
    warnings: Sequence[Diagnostic],
    paths: Sequence[Path],
) -> Exit:
    """Find or start an endpoint, and run on it."""
    from esmd.cli.launch import launch  # noqa: PLC0415
    from esmd.config import aws  # noqa: PLC0415
    from esmd.control.triggers import watchfiles  # noqa: PLC0415
    from esmd.dev.companion import DevOptions, beside, make_sources  # noqa: PLC0415
    from esmd.dev.traffic import read_samples  # noqa: PLC0415
    from esmd.state.memory import MemoryStateStore  # noqa: PLC0415
    from esmd.testing.embedded import EmbeddedAws, EmulatorMissingError  # noqa: PLC0415

    samples = read_samples(Path(traffic)) if traffic else []
    environ: Mapping[str, str] = os.environ
    url = aws.endpoint("sqs", settings=config.aws, environ=environ).url
    if url is not None and not aws.is_local(url):
        raise click.ClickException(
            f"{url} is not a local endpoint, and this command creates queues, streams and tables: use esmd run there"
        )
    async with contextlib.AsyncExitStack() as stack:
        embedded = url is None
        if url is None:
            try:
                url = (await stack.enter_async_context(EmbeddedAws())).endpoint_url
            except EmulatorMissingError as error:
                raise click.ClickException(str(error)) from error
            environ = {**environ, "AWS_ENDPOINT_URL": url, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": ""}
        chosen = DevOptions(endpoint_url=url, embedded=embedded, samples=samples, made_up=traffic == "", reload=reload)

        async def prepare(config: Config, clients: LocalStackClients, telemetry: Telemetry) -> None:
            await make_sources(config, clients, telemetry, endpoint_url=chosen.endpoint_url)

        state = MemoryStateStore() if embedded and config.state.path is None else None
        return await launch(
            config,
            options,
            log=log,
            environ=environ,
            companion=partial(beside, options=chosen),
            state=state,
            warnings=warnings,
            paths=paths,
            watching=watchfiles() if reload else None,
            prepare=prepare,
        )
