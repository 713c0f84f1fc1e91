"""What runs beside the daemon in `esmd dev`: sources are made first; then traffic, dead letters, code."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from botocore.exceptions import BotoCoreError, ClientError

from esmd.dev import dead_letters, watch
from esmd.dev.events import DevChoreFailed, DevEndpoint
from esmd.dev.sources import Maker
from esmd.dev.traffic import make_up, send_samples
from esmd.pollers.errors import classify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence

    from esmd.config.schema import Config
    from esmd.dev.sources import DevSources
    from esmd.dev.traffic import Sample
    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """What `esmd dev` was asked for.

    Attributes:
        endpoint_url: the AWS in use.
        embedded: whether it was started for this run.
        samples: messages to send once.
        made_up: whether to send made-up orders for ever.
        reload: whether to load code anew when it changes.
    """

    endpoint_url: str
    embedded: bool
    samples: Sequence[Sample]
    made_up: bool
    reload: bool


@contextlib.asynccontextmanager
async def beside(
    config: Config,
    clients: LocalStackClients,
    telemetry: Telemetry,
    functions: Mapping[str, Function],
    *,
    options: DevOptions,
) -> AsyncIterator[None]:
    """Make the sources, then run the chores until the daemon has ended.

    Args:
        config: validated.
        clients: of the daemon.
        telemetry: where events go.
        functions: of the daemon, as they are made.
        options: what was asked for.

    Raises:
        click.ClickException: the queues cannot be made; the text says why.
    """
    telemetry.emit(DevEndpoint(endpoint_url=options.endpoint_url, embedded=options.embedded))
    sources = await make_sources(config, clients, telemetry, endpoint_url=options.endpoint_url)
    chores: dict[str, Coroutine[None, None, None]] = {
        "dead letters": dead_letters.watch(sources.queues, clients, telemetry)
    }
    if options.samples:
        chores["traffic"] = send_samples(options.samples, sources, clients, telemetry)
    if options.made_up:
        chores["made-up traffic"] = make_up(sources, clients, telemetry)
    if options.reload:
        chores["code reload"] = watch.watch(config, functions, telemetry)
    tasks = [asyncio.create_task(_say_failure(name, chore, telemetry)) for name, chore in chores.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def make_sources(
    config: Config, clients: LocalStackClients, telemetry: Telemetry, *, endpoint_url: str
) -> DevSources:
    """Make what the configuration reads from and the endpoint lacks.

    Raises:
        click.ClickException: it cannot be made; the text says why.
    """
    try:
        return await Maker(clients, telemetry).make_all(config)
    except (BotoCoreError, ClientError) as error:
        why = classify(error)
        raise click.ClickException(f"the queues cannot be made at {endpoint_url}: {why.code}: {why.message}") from error


async def _say_failure(name: str, chore: Coroutine[None, None, None], telemetry: Telemetry) -> None:
    """A chore that fails is said; the daemon goes on without it."""
    try:
        await chore
    except Exception as error:  # noqa: BLE001 - whatever it is, the mappings run on
        telemetry.emit(DevChoreFailed(chore=name, error_type=type(error).__name__, error_message=str(error)))
