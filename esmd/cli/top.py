"""`esmd top`: a running daemon, watched on a full screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from esmd.cli.exits import Exit
from esmd.cli.options import Duration
from esmd.cli.reach import api_option, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from esmd.api.client import DaemonClient
    from esmd.status.model import Snapshot

_QUIT = frozenset("qQ\x03\x04")


@click.command("top")
@click.option(
    "--every", type=Duration(), default="1s", show_default=True, metavar="DURATION", help="How often it is looked at."
)
@api_option
def command(*, every: float, api: str | None) -> None:
    """Watch the running daemon: mappings with their rates, shards that are held up, functions, the last failures.

    `q` or Ctrl-C ends it. Without a terminal that can move its cursor (TERM=dumb, or output into a file) it is shown once
    for each look, one below the other; `esmd status` is better for that.

    \b
    Examples:
      esmd top
      esmd top --every 5s --api http://127.0.0.1:4580
    """  # noqa: D301 - click reads the character of \b, not its escape
    if every <= 0:
        raise click.BadParameter("must be more than nothing", param_hint="--every")
    with contextlib.suppress(KeyboardInterrupt):
        ask(api, partial(_watch, every=every))
    raise SystemExit(int(Exit.OK))


async def _watch(daemon: DaemonClient, *, every: float) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    quitting = asyncio.Event()
    snapshot = await _look(daemon)
    if not console.is_terminal or console.is_dumb_terminal:
        await _plainly(daemon, snapshot, every)
        return
    with _keys(quitting):
        await _on_screen(console, daemon, snapshot, every=every, quitting=quitting)


async def _on_screen(
    console: Console, daemon: DaemonClient, snapshot: Snapshot, *, every: float, quitting: asyncio.Event
) -> None:
    from rich.live import Live  # noqa: PLC0415

    from esmd.api.client import DaemonRefused, DaemonUnreachable  # noqa: PLC0415
    from esmd.status.screen import screen  # noqa: PLC0415

    trouble: str | None = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not quitting.is_set():
            ascii_only = not (console.encoding or "").lower().startswith("utf")
            live.update(
                screen(snapshot, width=console.width, height=console.height, ascii_only=ascii_only, trouble=trouble),
                refresh=True,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await quitting.wait()
            try:
                snapshot, trouble = await _look(daemon), None
            except (DaemonUnreachable, DaemonRefused) as error:  # it may be started anew: what was seen last stays
                trouble = error.message


async def _plainly(daemon: DaemonClient, snapshot: Snapshot, every: float) -> None:
    from esmd.status.text import overview  # noqa: PLC0415

    while True:
        click.echo(overview(snapshot) + "\n")
        await asyncio.sleep(every)
        snapshot = await _look(daemon)


async def _look(daemon: DaemonClient) -> Snapshot:
    from esmd.status.model import Snapshot  # noqa: PLC0415 - as above
    from esmd.status.reading import read  # noqa: PLC0415

    value = await daemon.get("/esmd/v1/status")
    try:
        return read(Snapshot, value)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _keys(quitting: asyncio.Event) -> Iterator[None]:
    """Hear single keys while inside; the terminal is as it was afterwards. Ctrl-C stays what it is."""
    if not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415 - there is none on every system
    import tty  # noqa: PLC0415

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def pressed() -> None:
        pressed_keys = os.read(descriptor, 64).decode(errors="replace")
        if not pressed_keys or _QUIT & set(pressed_keys):
            quitting.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
