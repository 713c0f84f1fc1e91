"""`esmd checkpoint`: where stream mappings are, and moving them.

| command            | without a daemon                      | while a daemon has the state file                   |
|--------------------|---------------------------------------|-----------------------------------------------------|
| `show`, `export`   | reads the state file                  | the same: reading disturbs nobody                   |
| `set`, `reset`, `import` | shows what would change         | the same                                            |
| the same, `--yes`  | changes the state file                | has it done by the daemon, else refused             |
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from esmd.cli.configuration import load_configuration
from esmd.cli.exits import Exit
from esmd.cli.pretty import put
from esmd.cli.reach import Unreachable, api_option, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from esmd.config.schema import Config, StreamMapping
    from esmd.positions.change import Change, Planned
    from esmd.state.errors import StateInUseError
    from esmd.state.protocol import Stored, StreamIdentity

T = TypeVar("T")

_MAPPING = click.argument("mapping")
_SHARD = click.option("--shard", metavar="ID", help="This shard only.  [default: all of them]")
_YES = click.option("--yes", is_flag=True, help="Do it. Without this, what would change is shown and nothing is done.")


class _Failed(click.ClickException):
    """Something that the user can see to."""

    exit_code = Exit.FAILED


def _shared(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which state file and which configuration."""
    options = [
        click.option(
            "paths",
            "--config",
            metavar="PATH",
            multiple=True,
            type=click.Path(path_type=Path),
            help="The configuration; may be given several times.  [default: ./esmd.yaml]",
        ),
        click.option(
            "state",
            "--state",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="The state file.  [default: the configuration's]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.group("checkpoint")
def command() -> None:
    """Show how far stream mappings have come, and move them.

    A mapping keeps a position for each shard: every record up to it is processed, or was given up. Positions are in the
    state file. What is moved back is delivered again; what is moved forward skips records.

    \b
    Examples:
      esmd checkpoint show
      esmd checkpoint show orders -o json
      esmd checkpoint set orders 15m                # what would change, if it went on from 15 minutes ago?
      esmd checkpoint set orders 15m --yes
      esmd checkpoint set orders 49600... --shard shardId-000000000000 --yes
      esmd checkpoint reset orders --yes            # back to its starting_position
      esmd checkpoint export orders > orders.json
      esmd checkpoint import orders orders.json --yes
    """  # noqa: D301 - click reads the character of \b, not its escape


# --- looking


@command.command("show")
@click.argument("mapping", required=False)
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@_shared
def show(*, mapping: str | None, output: str, paths: tuple[Path, ...], state: Path | None) -> None:
    """Show the position of every shard, of MAPPING or of all mappings.

    Besides: how long ago it was stored, the batches that are failing (their attempts outlive a restart), and the open
    tumbling window.
    """
    from esmd.positions.files import document  # noqa: PLC0415 - they bring the models, and `--help` needs none
    from esmd.positions.shown import stored_lines  # noqa: PLC0415

    found = _peek(_state_file(_configuration(paths, state), state))
    if mapping is not None:
        found = {mapping: _streams_of(found, mapping)}
    now = time.time()
    if output == "json":
        documents = [document(name, each, now=now) for name, streams in sorted(found.items()) for each in streams]
        put(json.dumps(documents).encode())
        return
    for name, streams in sorted(found.items()):
        for each in streams:
            for line in stored_lines(name, each, now=now):
                click.echo(line)
    if not found:
        click.echo("No stream mapping has run with this state file.")


@command.command("export")
@_MAPPING
@_shared
def export(*, mapping: str, paths: tuple[Path, ...], state: Path | None) -> None:
    """Print the positions of MAPPING as JSON, to be imported again.

    Attempts of failing batches and open windows are part of it.
    """
    from esmd.positions.files import document  # noqa: PLC0415
    from esmd.positions.plan import chosen  # noqa: PLC0415

    config = _configuration(paths, state)
    streams = _streams_of(_peek(_state_file(config, state)), mapping)
    stored = _or_fail(lambda: chosen(streams, mapping=mapping, arn=_arn(config, mapping)))
    put(json.dumps(document(mapping, stored, now=time.time())).encode())


# --- moving


@command.command("set")
@_MAPPING
@click.argument("position")
@_SHARD
@_YES
@api_option
@_shared
def set_(
    *,
    mapping: str,
    position: str,
    shard: str | None,
    yes: bool,
    api: str | None,
    paths: tuple[Path, ...],
    state: Path | None,
) -> None:
    """Move the shards of MAPPING to POSITION.

    \b
    POSITION is one of
      TRIM_HORIZON            the oldest record kept
      LATEST                  what is written from now on
      2026-01-31T12:00:00Z    the first record that arrived then or later; also @1769860800
      15m                     the same, so long ago: s, m, h or d
      49600...                behind the record of that sequence number; needs --shard

    Failing batches start with fresh attempts, an open tumbling window is given up.
    """  # noqa: D301
    from esmd.positions.change import Change  # noqa: PLC0415
    from esmd.positions.targets import parse_target  # noqa: PLC0415

    target = _or_fail(lambda: parse_target(position, now=time.time()), usage=True)
    config = _configuration(paths, state)
    change = Change(mapping=mapping, arn=_arn(config, mapping), to=target, shard=shard)
    _change(
        change, _state_file(config, state), body={"to": position, **_of_shard(shard)}, yes=yes, api=_daemon(config, api)
    )


@command.command("reset")
@_MAPPING
@_SHARD
@_YES
@api_option
@_shared
def reset(
    *, mapping: str, shard: str | None, yes: bool, api: str | None, paths: tuple[Path, ...], state: Path | None
) -> None:
    """Move the shards of MAPPING back to its starting_position.

    LATEST means from now on, not from the daemon's next start on.
    """
    from esmd.positions.change import Change  # noqa: PLC0415
    from esmd.streams.build import start_of  # noqa: PLC0415
    from esmd.streams.positions import to_position  # noqa: PLC0415

    config = load_configuration(paths, warnings=[])
    settings = _settings(config, mapping)
    if settings is None:
        known = ", ".join(sorted(config.mappings)) or "none"
        raise click.BadParameter(
            f"the configuration has no stream mapping {mapping!r}; its mappings: {known}", param_hint="MAPPING"
        )
    change = Change(mapping=mapping, arn=settings.event_source_arn, to=to_position(start_of(settings)), shard=shard)
    _change(
        change, _state_file(config, state), body={"reset": True, **_of_shard(shard)}, yes=yes, api=_daemon(config, api)
    )


@command.command("import")
@_MAPPING
@click.argument("file", type=click.File("rb"))
@_YES
@api_option
@_shared
def import_(
    *, mapping: str, file: Any, yes: bool, api: str | None, paths: tuple[Path, ...], state: Path | None
) -> None:
    """Put the shards of MAPPING where FILE has them, which `esmd checkpoint export` has written.

    Shards that FILE does not have stay. Positions of another stream are refused, also of a stream that was made anew
    under its name: sequence numbers mean nothing there. Where nothing is stored of MAPPING yet, the stream is looked up.
    """
    from esmd.positions.change import Change  # noqa: PLC0415
    from esmd.positions.files import document, read  # noqa: PLC0415

    exported = _or_fail(lambda: read(file.read()))
    config = _configuration(paths, state)
    path, arn = _state_file(config, state), _arn(config, mapping)
    source = arn or exported.stored.identity.arn
    known = _peek(path).get(mapping, []) if path.exists() else []
    stream = None
    if config is not None and not any(each.identity.arn == source for each in known):
        stream = _run(_look_up(config, source))
    change = Change(mapping=mapping, arn=arn, to=exported, stream=stream)
    body = {"import": document(exported.mapping, exported.stored, now=time.time())}
    _change(change, path, body=body, yes=yes, api=_daemon(config, api))


def _change(change: Change, path: Path, *, body: dict[str, Any], yes: bool, api: str | None) -> None:
    """Show what a change comes to; do it if that was wanted, on the state file or by the daemon that has it.

    Args:
        change: what is wanted.
        path: the state file.
        body: the same for the daemon.
        yes: whether to do it.
        api: where the daemon is, if that was said.
    """
    from esmd.positions.change import plan  # noqa: PLC0415
    from esmd.positions.shown import PLANNED, planned_rows, table  # noqa: PLC0415
    from esmd.state.errors import StateInUseError  # noqa: PLC0415

    streams = _peek(path).get(change.mapping, []) if path.exists() else []
    planned = _or_fail(lambda: plan(change, streams, now=time.time()))
    arn, rows = planned.identity.arn, list[tuple[str, ...]](planned_rows(planned))
    if yes and rows:
        try:
            rows = list(planned_rows(_run(_carry_out(change, path))))
        except StateInUseError as error:
            rows = _through_daemon(change.mapping, body, error, api)
    click.echo(f"{change.mapping}: {arn}")
    if not rows:
        click.echo("every shard is there already")
        return
    for line in table(PLANNED, rows):
        click.echo(line)
    click.echo(f"{len(rows)} moved" if yes else f"{len(rows)} would move; nothing was changed, --yes does it")


async def _carry_out(change: Change, path: Path) -> Planned:
    """Change the state file, as its only owner."""
    from esmd.positions.change import carry_out  # noqa: PLC0415
    from esmd.state.sqlite import SqliteStateStore  # noqa: PLC0415

    store = await SqliteStateStore.open(path)
    try:
        return await carry_out(change, store, now=time.time())
    finally:
        await store.close()


def _through_daemon(
    mapping: str, body: dict[str, Any], in_use: StateInUseError, api: str | None
) -> list[tuple[str, ...]]:
    """Have the daemon do it that has the state file: the mapping drains, moves and goes on."""
    from esmd.positions.shown import PLANNED  # noqa: PLC0415

    path = f"/esmd/v1/mappings/{quote(mapping, safe='')}/checkpoint"
    try:
        answer = ask(api, lambda daemon: daemon.post(path, {**body, "yes": True, "pid": in_use.pid}))
    except Unreachable as error:
        raise Unreachable(f"{in_use.message}, and {error.message}. Or stop it, and do this again.") from error
    return [tuple(move[title] for title in PLANNED) for move in answer["moves"]]


async def _look_up(config: Config, arn: str) -> StreamIdentity:
    """The stream as it is now."""
    from esmd.assembly import make_clients  # noqa: PLC0415 - brings botocore
    from esmd.state.protocol import StreamIdentity  # noqa: PLC0415
    from esmd.streams.lookup import stream_of  # noqa: PLC0415

    async with make_clients(config.aws, os.environ) as clients:
        info = await stream_of(arn, clients).describe()
    return StreamIdentity(arn, info.created_at)


# --- finding, and failing


def _daemon(config: Config | None, api: str | None) -> str | None:
    """Where the daemon of this configuration is, if nobody says so: its own file need not be `./esmd.yaml`."""
    if api is not None or config is None:
        return api
    from esmd.api.address import find  # noqa: PLC0415

    return str(find(None, environ=os.environ, config=config))


def _of_shard(shard: str | None) -> dict[str, Any]:
    return {} if shard is None else {"shard": shard}


def _configuration(paths: Sequence[Path], state: Path | None) -> Config | None:
    """The configuration; none is needed where the state file is named and no configuration."""
    if state is not None and not paths and not Path("esmd.yaml").exists() and not os.environ.get("ESMD_CONFIG"):
        return None
    return load_configuration(paths, warnings=[])


def _state_file(config: Config | None, given: Path | None) -> Path:
    from esmd.state.sqlite import default_path  # noqa: PLC0415

    return given or (config and config.state.path) or default_path(os.environ)


def _settings(config: Config | None, name: str) -> StreamMapping | None:
    from esmd.config.schema import StreamMapping  # noqa: PLC0415

    found = None if config is None else config.mappings.get(name)
    return found if isinstance(found, StreamMapping) else None


def _arn(config: Config | None, name: str) -> str | None:
    settings = _settings(config, name)
    return None if settings is None else settings.event_source_arn


def _peek(path: Path) -> dict[str, list[Stored]]:
    from esmd.state.peek import peek  # noqa: PLC0415

    return _or_fail(lambda: peek(path))


def _streams_of(found: dict[str, list[Stored]], mapping: str) -> list[Stored]:
    if mapping not in found:
        known = ", ".join(sorted(found)) or "none"
        raise _Failed(f"nothing is stored of a mapping {mapping!r}; there are positions of: {known}")
    return found[mapping]


def _or_fail(call: Callable[[], T], *, usage: bool = False) -> T:
    """What a call returns; what keeps it from that is the user's to see."""
    from esmd.pollers.errors import SourceError  # noqa: PLC0415
    from esmd.positions.errors import PositionsError  # noqa: PLC0415
    from esmd.state.errors import StateError, StateInUseError  # noqa: PLC0415

    try:
        return call()
    except StateInUseError:
        raise  # a daemon has it, and may do it
    except (PositionsError, StateError) as error:
        text = f"{error.message}. {error.hint}" if error.hint else error.message
        raise (click.UsageError(text) if usage else _Failed(text)) from error
    except SourceError as error:
        raise _Failed(f"the stream cannot be looked up: {error.failure.message}") from error


def _run(main: Coroutine[Any, Any, T]) -> T:
    return _or_fail(lambda: asyncio.run(main))
