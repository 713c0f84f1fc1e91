"""What makes a daemon load its configuration anew without a command: SIGHUP, and a file that changes.

| SIGHUP comes                              | what follows                                                   |
|-------------------------------------------|----------------------------------------------------------------|
| from whoever asks for a reload            | a reload                                                       |
| since the terminal it ran in was closed   | a drain, as for TERM                                           |
| before the daemon can listen to it        | a reload as soon as it can; without `hold_hangups` its end     |
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from esmd.control.protocol import ControlError
from esmd.observe.control_events import ConfigRejected, ConfigWatched, ConfigWatchFailed
from esmd.tasks import Lasting, all_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from esmd.control.protocol import Reloaded
    from esmd.observe.telemetry import Telemetry
    from esmd.shutdown import Shutdown

    Reload = Callable[[], Awaitable[Reloaded]]
    Changes = Callable[[Sequence[Path]], AsyncIterator[object]]

QUIET_MS = 50
"""Files that change with less than this between them are one change, as when an editor writes, renames and formats."""

MOST_MS = 400
"""Longest wait for such a pause."""


async def reload_and_say(reload: Reload, telemetry: Telemetry) -> None:
    """Load the configuration anew; what keeps that from being done is said."""
    try:
        await reload()
    except ControlError as error:
        telemetry.emit(ConfigRejected(errors=(f"{error.message} ({error.hint})" if error.hint else error.message,)))


_held: list[int] = []
"""SIGHUPs that came before anybody listened."""


def hold_hangups() -> None:
    """From here on, remember a SIGHUP until `on_hangup` listens. Without it a process ends of one that comes while it starts.

    A terminal's is left alone: there it means that the terminal was closed.
    """
    if not sys.stderr.isatty():
        signal.signal(signal.SIGHUP, lambda number, _: _held.append(number))


@contextmanager
def on_hangup(reload: Reload, *, telemetry: Telemetry, shutdown: Shutdown) -> Iterator[None]:
    """Listen to SIGHUP while inside."""
    loop = asyncio.get_running_loop()
    in_terminal = sys.stderr.isatty()
    under_way: set[Lasting] = set()

    def received() -> None:
        if in_terminal and not _has_terminal():
            shutdown.request("SIGHUP")
            return
        loading = Lasting(partial(reload_and_say, reload, telemetry))
        under_way.add(loading)
        loading.ended.add_done_callback(lambda _: under_way.discard(loading))

    loop.add_signal_handler(signal.SIGHUP, received)
    if _held:
        _held.clear()
        received()
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        hold_hangups()
        for loading in tuple(under_way):
            loading.cancel()


def _has_terminal() -> bool:
    """Whether the terminal that this process was started in is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


@asynccontextmanager
async def watched(paths: Sequence[Path], changes: Changes, reload: Reload, telemetry: Telemetry) -> AsyncIterator[None]:
    """Load the configuration anew whenever one of its files changed, while inside.

    Args:
        paths: files, and folders of files.
        changes: tells of folders in which something changed.
        reload: loads it.
        telemetry: where events go.
    """
    watching = Lasting(_Watch(paths, changes, reload, telemetry).run)
    telemetry.emit(ConfigWatched(files=tuple(map(str, paths))))
    try:
        yield
    finally:
        watching.cancel()
        await all_ended(watching.ended)


class _Watch:
    """Run anew after it was cancelled, it makes up for what it has missed."""

    def __init__(self, paths: Sequence[Path], changes: Changes, reload: Reload, telemetry: Telemetry) -> None:
        self._paths = paths
        self._changes = changes
        self._reload = reload
        self._telemetry = telemetry
        self._loaded = signature(paths)

    async def run(self) -> None:
        folders = sorted({(path if path.is_dir() else path.absolute().parent).resolve() for path in self._paths})
        try:
            await self._look()
            async for _ in self._changes(folders):
                await self._look()
        except (OSError, RuntimeError) as error:  # watchfiles' own errors are the latter
            self._telemetry.emit(ConfigWatchFailed(error_type=type(error).__name__, error_message=str(error)))

    async def _look(self) -> None:
        now = signature(self._paths)
        if now != self._loaded:  # much may happen in such a folder that is no business of ours
            await reload_and_say(self._reload, self._telemetry)
            self._loaded = now


def signature(paths: Sequence[Path]) -> frozenset[tuple[str, int, int, int]]:
    """What differs when a file has been written, replaced, added or removed; links are followed."""
    found = set()
    for path in paths:
        files = [path]
        if path.is_dir():
            files = [each for each in path.iterdir() if each.suffix in (".yaml", ".yml")]
        for file in files:
            try:
                what = file.stat()
            except OSError:
                continue
            found.add((str(file), what.st_ino, what.st_size, what.st_mtime_ns))
    return frozenset(found)


def watchfiles() -> Changes | None:
    """The watchfiles package, for folders without those inside them; None where it is not installed."""
    try:
        from watchfiles import awatch  # noqa: PLC0415 - in the extra `dev`
    except ImportError:
        return None
    # It reports every look that finds nothing, and a log from debug on would be full of them.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)

    def changes(folders: Sequence[Path]) -> AsyncIterator[object]:
        return awatch(*folders, watch_filter=None, debounce=MOST_MS, step=QUIET_MS, recursive=False)

    return changes
