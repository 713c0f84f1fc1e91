"""Carries out `esmd replay`: clients, functions, the source and the worker that were asked for, and what is shown."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import click

from esmd.assembly import make_clients
from esmd.cli.remote import RemoteRefused, endpoint_found, refuse_remote_functions
from esmd.config import aws
from esmd.functions import LONGEST_INVOCATION, Functions
from esmd.observe import logging
from esmd.observe.telemetry import Broadcast
from esmd.pollers.errors import SourceError
from esmd.pollers.sqs import MAX_RECEIVE
from esmd.replay.buckets import BucketSource
from esmd.replay.handlers import FunctionHandlers
from esmd.replay.names import parse_queue, parse_s3
from esmd.replay.queues import QueueSource, ReplayQueue
from esmd.replay.routes import route
from esmd.replay.run import Pace, run
from esmd.replay.sources import FileSource
from esmd.replay.workers import LetterHandling, LetterSending, RecordReplay
from esmd.streams.lookup import stream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.progress import Progress

    from esmd.config.schema import Config
    from esmd.pollers.localstack import LocalStackClients
    from esmd.replay.run import Result, Tally, Worker
    from esmd.replay.sources import Item, ReplaySource

_SENDING_SECONDS = 5.0
"""What sending a message back may take."""


_DUMB = {None, "", "dumb", "unknown"}
"""Terminals on which a bar cannot be drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says; one of `queue`, `s3`, `file` and `dlq` is there."""

    queue: str | None
    s3: str | None
    file: Path | None
    dlq: str | None
    to: str | None
    function: str | None
    wanted: Callable[[Mapping[str, Any]], bool]
    rate: float | None
    limit: int | None
    dry_run: bool
    delete: bool
    delete_expired: bool
    new_ids: bool

    @property
    def between(self) -> float:
        """Seconds between two calls."""
        return 0.0 if self.rate is None else 1 / self.rate


async def replay(
    config: Config, asked: Asked, *, log_format: logging.Format, log_level: str, allow_remote: bool
) -> bool:
    """Replay, and say what came of it; whether all went well."""
    # As an interrupt does: what is held is given back.
    this_task = asyncio.current_task()
    if this_task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this_task.cancel)
    telemetry = Broadcast(logging.configure(log_format=log_format, level=log_level))
    async with make_clients(config.aws, os.environ) as clients:
        may = allow_remote or config.aws.allow_remote

        async def allowed(name: str) -> None:
            if not may:
                await refuse_remote_functions(config, [name], clients, environ=os.environ)

        if not may:
            await _refuse_remote(config, asked, clients)
        functions = Functions(config, clients=clients, environ=os.environ, telemetry=telemetry)
        handlers = FunctionHandlers(functions, allowed=allowed)
        try:
            source, worker = await _parts(config, asked, clients, handlers)
            with Shown(await source.count(), limit=asked.limit) as shown:
                tally = await run(
                    source,
                    worker,
                    pace=Pace(asked.rate),
                    limit=asked.limit,
                    delete_expired=asked.delete_expired,
                    say=shown.say,
                )
        except SourceError as error:
            raise click.ClickException(error.failure.message) from error
        finally:
            await handlers.close()
    _report(tally)
    return tally.went_well


async def _refuse_remote(config: Config, asked: Asked, clients: LocalStackClients) -> None:
    """Never touch somebody's production by accident."""
    services = {"sqs"} if asked.dlq or asked.queue else {"s3"} if asked.s3 else set()
    if not asked.dlq and not asked.s3:
        services |= {"kinesis", "dynamodbstreams"}
    for service in sorted(services):
        where = aws.endpoint(service, settings=config.aws, environ=os.environ)
        region = aws.region(where, settings=config.aws, environ=os.environ) or aws.DEFAULT_REGION
        if (text := aws.remote_refusal(await endpoint_found(service, region, clients))) is not None:
            raise RemoteRefused(f"{service}: {text}")


async def _parts(
    config: Config, asked: Asked, clients: LocalStackClients, handlers: FunctionHandlers
) -> tuple[ReplaySource, Worker]:
    """Where it comes from, and what is done with it."""
    if asked.dlq is not None:
        return await _letters(config, asked, clients, handlers)
    is_local = aws.endpoint("kinesis", settings=config.aws, environ=os.environ).is_local
    worker = RecordReplay(
        config,
        handlers=handlers,
        stream_of=partial(stream_of, clients=clients),
        function=asked.function,
        wanted=asked.wanted,
        pause=0.01 if is_local else 0.2,
        dry_run=asked.dry_run,
    )
    if asked.file is not None:
        try:
            return FileSource(asked.file), worker
        except OSError as error:
            raise click.ClickException(f"{asked.file}: {error.strerror}") from error
        except ValueError as error:
            raise click.ClickException(f"{asked.file}: not JSON in UTF-8: {error}") from error
    if asked.s3 is not None:
        bucket, prefix = parse_s3(asked.s3)
        client, _ = await clients.client("s3", None)
        return BucketSource(client, bucket, prefix, delete=asked.delete), worker
    queue = await ReplayQueue.open(parse_queue(asked.queue or ""), clients)
    return QueueSource(queue, most=1, hold=_longest(config, asked.function) + asked.between, began=time.time()), worker


async def _letters(
    config: Config, asked: Asked, clients: LocalStackClients, handlers: FunctionHandlers
) -> tuple[ReplaySource, Worker]:
    """The same for dead letters."""
    queue = await ReplayQueue.open(parse_queue(asked.dlq or ""), clients)
    origin = await _origin(asked, queue, clients)
    source_arn = queue.arn if origin is None else origin.arn
    if asked.function is not None:
        mapping = route(config, source_arn, failed=None, wanted=asked.function).mapping
        handling = LetterHandling(
            config,
            handlers=handlers,
            function=asked.function,
            queue=queue,
            source_arn=source_arn,
            wanted=asked.wanted,
            at_once=min(MAX_RECEIVE, MAX_RECEIVE if mapping is None else mapping.batch_size),
            dry_run=asked.dry_run,
        )
        hold = _longest(config, asked.function) + asked.between
        return QueueSource(queue, most=handling.at_once, hold=hold, began=time.time()), handling
    if origin is None:
        raise click.UsageError(
            f"no queue names {queue.name.name} in its redrive policy, or several do: say where to with --to"
        )
    if origin.name.fifo != queue.name.fifo:
        raise click.UsageError(f"{queue.name.name} and {origin.name.name}: one is a FIFO queue, the other is not")
    sending = LetterSending(
        origin,
        source_arn=source_arn,
        wanted=asked.wanted,
        new_ids=asked.new_ids,
        dry_run=asked.dry_run,
    )
    return QueueSource(queue, most=MAX_RECEIVE, hold=_SENDING_SECONDS + asked.between, began=time.time()), sending


async def _origin(asked: Asked, queue: ReplayQueue, clients: LocalStackClients) -> ReplayQueue | None:
    """The queue that the letters go to or came from; None where that is not clear."""
    if asked.to is not None:
        return await ReplayQueue.open(parse_queue(asked.to), clients)
    urls = await queue.sources()
    return await ReplayQueue.open(parse_queue(urls[0]), clients) if len(urls) == 1 else None


def _longest(config: Config, function: str | None) -> float:
    """Most seconds that an invocation may take; of any function where none is named."""
    names = config.functions if function is None else [function]
    return max((config.longest_invocation(name) or LONGEST_INVOCATION for name in names), default=LONGEST_INVOCATION)


class Shown:
    """Shows each result: on a terminal a bar, and a line for what did not go well; elsewhere a line for each.

    Args:
        total: about how many there are; None where nobody knows.
        limit: most that are tried.
    """

    def __init__(self, total: int | None, *, limit: int | None) -> None:
        self._total = total if limit is None or total is None else min(total, limit)
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and os.environ.get("TERM") not in _DUMB:
            from rich.console import Console  # noqa: PLC0415 - takes a moment, and pipes need none
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bar = Progress(
                TextColumn("replay"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("replay", total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, item: Item, result: Result) -> None:
        """Show what became of an item."""
        line = f"{result.status:8}  {item.name}: {result.text}"
        if self._bar is None:
            click.echo(line)
            return
        self._bar.advance(self._task)
        if result.status != "replayed":
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _report(tally: Tally) -> None:
    for line in tally.stuck:
        click.echo(f"esmd replay: replayed and not deleted, it will come again: {line}", err=True)
    click.echo(f"esmd replay: {tally}")
