"""Runs a daemon in the foreground, from a validated configuration to the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from esmd.api.address import socket_of
from esmd.api.listening import Listening
from esmd.api.parts import ApiParts
from esmd.assembly import SERVICES, Assembly, RunOptions, about, make_clients
from esmd.cli.remote import RemoteRefused, endpoint_found, refuse_remote_functions
from esmd.config import aws
from esmd.config.loader import load
from esmd.config.schema import StreamMapping
from esmd.control.members import uuid_of
from esmd.control.protocol import InvalidError
from esmd.control.results import LastResults
from esmd.control.several import SeveralProcesses
from esmd.control.triggers import on_hangup, watched
from esmd.functions import place_of
from esmd.loop import LoopError, loop_factory, settle_garbage
from esmd.observe import logging
from esmd.observe.control_events import RegistryUnavailable
from esmd.observe.daemon_events import ConfigWarning
from esmd.observe.emf import EmbeddedMetrics
from esmd.observe.statistics import Statistics
from esmd.observe.telemetry import Broadcast
from esmd.service import ServiceManager
from esmd.shutdown import Shutdown
from esmd.state.errors import StateError
from esmd.state.lazy import LazyStateStore
from esmd.state.sqlite import default_path
from esmd.status.heard import hearing
from esmd.status.history import History
from esmd.status.source import Process, StatusSource
from esmd.trace.trail import Trail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from esmd.cli.exits import Exit
    from esmd.config.loader import Loaded
    from esmd.config.report import Diagnostic
    from esmd.config.schema import Config
    from esmd.control.triggers import Changes
    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients
    from esmd.state.protocol import DaemonStore

    Prepare = Callable[[Config, LocalStackClients, Telemetry], Awaitable[None]]
    Companion = Callable[
        [Config, LocalStackClients, Telemetry, Mapping[str, Function]], AbstractAsyncContextManager[None]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How lines are written; `emf` adds CloudWatch's metrics to those with statistics, and wants JSON."""

    log_format: logging.Format
    level: str
    emf: bool = False


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
    paths: Sequence[Path] | None = None,
    watching: Changes | None = None,
    prepare: Prepare | None = None,
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
        paths: what the configuration was read from, and is read from again; None where it cannot be.
        watching: tells when the files may have changed; None where nobody watches them.
        prepare: makes ready for a configuration that is about to be applied while the daemon runs.
    """
    statistics, results, history, trail = Statistics(), LastResults(), History(), Trail()
    metrics = EmbeddedMetrics() if log.emf else None
    write = logging.configure(log_format=log.log_format, level=log.level, beside=metrics)
    service = ServiceManager(os.environ)  # of this process, whatever `environ` says of endpoints
    # Without an API nobody can ask for a trace.
    telemetry = Broadcast(write, statistics, results, history, service, *([trail] if config.api.enabled else []))
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
    process = Process(about=about(config, environ), started_at=time.time(), draining=shutdown.drain.is_set)
    if metrics is not None:
        metrics.uuid_of = partial(_uuid, config)
    with shutdown.signals(), hearing(history):
        async with (
            service.attended(telemetry),
            make_clients(config.aws, environ) as clients,
            _state(config, options, state, telemetry) as store,
        ):
            await refuse_remote(config, clients, allow_remote=allow_remote, environ=environ)
            if processes > 1:
                from esmd.processes.fleet import Fleet  # noqa: PLC0415 - needed here only

                several = await SeveralProcesses.begin(
                    config, only=options.only, registry=store, telemetry=telemetry, wall=time.time
                )
                fleet = Fleet(
                    several.work,
                    options=replace(options, only=frozenset()),  # what counts has been chosen
                    process=process,
                    processes=processes,
                    level=log.level,
                    store=store,
                    telemetry=telemetry,
                    shutdown=shutdown,
                    paused=several.paused,
                )
                parts = ApiParts(
                    control=several, status=fleet.status, telemetry=telemetry, config=config, trail=fleet.trail
                )
                async with _served(parts, environ):
                    with on_hangup(service.telling(several.reload), telemetry=telemetry, shutdown=shutdown):
                        return await fleet.run()
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
            mappings = assembly.mappings(
                registry=store,
                results=results,
                read=None if paths is None else partial(_read, paths, environ),
                permit=partial(
                    _permit,
                    clients=clients,
                    telemetry=telemetry,
                    allow_remote=allow_remote,
                    environ=environ,
                    prepare=prepare,
                ),
            )
            await mappings.begin()
            async with contextlib.AsyncExitStack() as beside:
                if config.api.enabled:
                    status = StatusSource(mappings, process=process, statistics=statistics, history=history)
                    await beside.enter_async_context(status.running())
                    parts = ApiParts(
                        control=mappings,
                        status=status,
                        telemetry=telemetry,
                        config=config,
                        store=store,
                        trail=trail,
                    )
                    await beside.enter_async_context(_served(parts, environ))
                if paths is not None:
                    reload = service.telling(mappings.reload)
                    beside.enter_context(on_hangup(reload, telemetry=telemetry, shutdown=shutdown))
                    if watching is not None:
                        await beside.enter_async_context(watched(paths, watching, reload, telemetry))
                if companion is not None:
                    await beside.enter_async_context(companion(config, clients, telemetry, assembly.functions))
                return await assembly.daemon(mappings).run()


def _served(parts: ApiParts, environ: Mapping[str, str]) -> AbstractAsyncContextManager[None]:
    """The API, for as long as the daemon lives; nothing, where the configuration wants none."""
    settings = parts.config.api
    if not settings.enabled:
        return contextlib.nullcontext()
    return Listening(parts, path=socket_of(parts.config, environ), listen=settings.listen)


def _uuid(config: Config, name: str) -> str:
    """The UUID of a mapping; one of the API has no other name."""
    mapping = config.mappings.get(name)
    return name if mapping is None else str(uuid_of(name, mapping.event_source_arn))


async def _read(paths: Sequence[Path], environ: Mapping[str, str]) -> Loaded:
    """The configuration as its files are now, read beside the loop."""
    return await asyncio.to_thread(load, paths, environ=environ)


async def _permit(
    config: Config,
    *,
    clients: LocalStackClients,
    telemetry: Telemetry,
    allow_remote: bool,
    environ: Mapping[str, str],
    prepare: Prepare | None,
) -> None:
    """Refuse what would have been refused at the start, and prepare what would have been prepared.

    Raises:
        InvalidError: with what to do about it.
    """
    try:
        await refuse_remote(config, clients, allow_remote=allow_remote, environ=environ)
        if prepare is not None:
            await prepare(config, clients, telemetry)
    except click.ClickException as error:
        raise InvalidError(error.message) from error


@contextlib.asynccontextmanager
async def _state(
    config: Config, options: RunOptions, given: DaemonStore | None, telemetry: Telemetry
) -> AsyncIterator[DaemonStore]:
    """The state store; a file is opened now if it is needed now, so that none is made for nothing."""
    if given is not None:
        yield given
        return
    needed = any(isinstance(mapping, StreamMapping) and mapping.enabled for mapping in options.chosen(config))
    store = LazyStateStore(config.state.path or default_path(os.environ))
    try:
        try:
            if needed:
                await store.open()
            elif (error := await store.look()) is not None:
                telemetry.emit(RegistryUnavailable(error_message=error.message, hint=error.hint))
        except StateError as error:
            raise click.ClickException(f"{error.message} ({error.hint})") from error
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
