"""Runs a daemon in the foreground, from a validated configuration to the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from esmd.assembly import SERVICES, Assembly, RunOptions, about, make_clients
from esmd.cli.remote import RemoteRefused, endpoint_found, refuse_remote_functions
from esmd.config import aws
from esmd.config.schema import StreamMapping
from esmd.functions import place_of
from esmd.loop import LoopError, loop_factory, settle_garbage
from esmd.observe import logging
from esmd.observe.daemon_events import ConfigWarning
from esmd.observe.statistics import Statistics
from esmd.observe.telemetry import Broadcast
from esmd.service import ServiceManager
from esmd.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from esmd.cli.exits import Exit
    from esmd.config.report import Diagnostic
    from esmd.config.schema import Config
    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients
    from esmd.state.protocol import DaemonStore

    Companion = Callable[
        [Config, LocalStackClients, Telemetry, Mapping[str, Function]], AbstractAsyncContextManager[None]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How lines are written."""

    log_format: logging.Format
    level: str


def check_names(config: Config, only: frozenset[str]) -> None:
    """Refuse `--only` of a mapping that is not there or not enabled."""
    for name in sorted(only):
        if name not in config.mappings:
            known = ", ".join(sorted(config.mappings)) or "none"
            raise click.BadParameter(f"there is no mapping {name!r}; there are: {known}", param_hint="--only")
        if not config.mappings[name].enabled:
            raise click.BadParameter(f"the mapping {name!r} is disabled", param_hint="--only")


async def refuse_remote(
    config: Config, clients: LocalStackClients, *, allow_remote: bool, environ: Mapping[str, str] = os.environ
) -> None:
    """Never poll somebody's production by accident: refuse an endpoint that is not local, however it was found.

    Raises:
        click.ClickException: with what to do about it.
    """
    if allow_remote or config.aws.allow_remote:
        return
    for service, region in sorted(_services(config)):
        url = await endpoint_found(service, region, clients)
        if (text := aws.remote_refusal(url)) is not None:
            raise RemoteRefused(text if service == "sqs" else f"{service}: {text}")
    names = {mapping.function_name for mapping in config.mappings.values() if mapping.enabled}
    await refuse_remote_functions(config, names, clients, environ=environ)


def _services(config: Config) -> set[tuple[str, str]]:
    """Every service and region that the enabled mappings call."""
    found = set()
    for mapping in config.mappings.values():
        if mapping.enabled:
            region, _ = place_of(mapping)
            found.add((SERVICES[mapping.source], region))
            if isinstance(mapping, StreamMapping) and mapping.on_failure is not None:
                found.add((mapping.on_failure.service, mapping.on_failure.region or region))
    return found


async def launch(
    config: Config,
    options: RunOptions,
    *,
    log: LogOptions,
    allow_remote: bool = False,
    environ: Mapping[str, str] = os.environ,
    companion: Companion | None = None,
    state: DaemonStore | None = None,
    warnings: Sequence[Diagnostic] = (),
    processes: int = 1,
) -> Exit:
    """Run the daemon until it ends.

    Args:
        config: validated.
        options: of the command line.
        log: how lines are written.
        allow_remote: allow endpoints that are not local.
        environ: the environment that decides on endpoints and paths.
        companion: runs beside the daemon, inside the same clients and signals.
        state: where stream mappings keep their progress; None for the file that the configuration names.
        warnings: about the configuration, to be said in the log.
        processes: how many share the work; with one, this one does all of it.
    """
    statistics = Statistics()
    service = ServiceManager(os.environ)  # of this process, whatever `environ` says of endpoints
    sinks = [logging.configure(log_format=log.log_format, level=log.level), statistics.sink]
    telemetry = Broadcast(*sinks, *([service.sink] if service.present else []))
    for warning in warnings:
        telemetry.emit(
            ConfigWarning(
                place=f"{warning.file}:{warning.line}:{warning.column}",
                setting=warning.path,
                message=warning.message,
                hint=warning.hint or None,
            )
        )
    shutdown = Shutdown()
    with shutdown.signals():
        async with (
            service.attended(telemetry),
            make_clients(config.aws, environ) as clients,
            _state(config, options, state) as store,
        ):
            await refuse_remote(config, clients, allow_remote=allow_remote, environ=environ)
            if processes > 1:
                from esmd.processes.fleet import Fleet  # noqa: PLC0415 - needed here only

                return await Fleet(
                    config,
                    options=options,
                    about=about(config, environ),
                    processes=processes,
                    level=log.level,
                    store=store,
                    telemetry=telemetry,
                    shutdown=shutdown,
                ).run()
            assembly = Assembly(
                config,
                options=options,
                clients=clients,
                environ=environ,
                store=store,
                telemetry=telemetry,
                statistics=statistics,
                shutdown=shutdown,
            )
            if companion is None:
                return await assembly.daemon().run()
            async with companion(config, clients, telemetry, assembly.functions):
                return await assembly.daemon().run()


@contextlib.asynccontextmanager
async def _state(config: Config, options: RunOptions, given: DaemonStore | None) -> AsyncIterator[DaemonStore | None]:
    """The state store, open; None where no mapping needs one, so that no file is made for nothing."""
    needed = any(isinstance(mapping, StreamMapping) and mapping.enabled for mapping in options.chosen(config))
    if given is not None or not needed:
        yield given
        return
    from esmd.state.errors import StateError  # noqa: PLC0415
    from esmd.state.sqlite import SqliteStateStore, default_path  # noqa: PLC0415

    try:
        store = await SqliteStateStore.open(config.state.path or default_path(os.environ))
        try:
            await store.clear_leases()  # those of the daemon before, which may have been killed
        except BaseException:
            await store.close()
            raise
    except StateError as error:
        raise click.ClickException(f"{error.message} ({error.hint})") from error
    try:
        yield store
    finally:
        await store.close()


def run_to_exit(main: Coroutine[Any, Any, Exit]) -> NoReturn:
    """Run to the end and leave the process with the exit code."""
    try:
        factory = loop_factory(os.environ)
    except LoopError as error:
        main.close()
        raise click.ClickException(str(error)) from error
    settle_garbage()
    with asyncio.Runner(loop_factory=factory) as runner:
        raise SystemExit(int(runner.run(main)))
