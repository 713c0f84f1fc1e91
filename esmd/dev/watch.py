"""Watches the code of handlers in `esmd dev`, and has a function load it anew when one of its files changes.

| form of a function            | folders that are watched                                                       |
|-------------------------------|--------------------------------------------------------------------------------|
| Python, in worker processes   | its `python_path`                                                              |
| Python, inline                | the same; that a change needs a new start is said once                          |
| a command                     | the folder it starts in, and that of a program which is named relative to it    |
| any other                     | none: its code is not here                                                     |

Everything in these folders counts, at any depth, but what nobody edits: hidden files and folders, `__pycache__`,
`node_modules`, virtual environments, compiled Python, backups of editors, logs, databases and the like, and the
configuration itself, which is watched elsewhere. The folders are those of the configuration at the start. A version
that a function routes to is watched like any other.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from esmd.config.schema import CommandFunction, PythonFunction
from esmd.dev.events import DevReloadOff, DevWatching
from esmd.testing.embedded import INSTALL_COMMAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence

    from esmd.config.schema import Config
    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry

    Changes = Callable[[Sequence[Path]], AsyncIterator[Collection[Path]]]

_QUIET_MS = 50
"""Files that change with less than this between them are one change, as when an editor writes, renames and formats."""

_MOST_MS = 400
"""Longest wait for such a pause."""

_NOT_CODE_FOLDER = re.compile(r"\..*|__pycache__|node_modules|venv|.*\.(?:egg-info|dist-info)")
_NOT_CODE = re.compile(
    r"\..*|.*~|#.*#|4913|.*\.(?:py[cod]|sw[a-z]|tmp|bak|log|out|pid|lock|jsonl)|.*\.(?:db|sqlite3?)(?:-[a-z]+)?"
)
"""4913 is the file by which Vim tries whether it may write."""


def code_folders(config: Config) -> dict[str, tuple[Path, ...]]:
    """The folders that hold the code of each function which an enabled mapping uses; those that exist, resolved."""
    used = {
        version
        for mapping in config.mappings.values()
        if mapping.enabled
        for version in config.versions_of(mapping.function_name)
    }
    found: dict[str, tuple[Path, ...]] = {}
    for name in sorted(used):
        match config.functions[name]:
            case PythonFunction(python_path=folders):
                candidates = list(folders)
            case CommandFunction(directory=directory, command=(program, *_)):
                candidates = [directory]
                if "/" in program and not program.startswith("/"):
                    candidates.append((directory / program).parent)
            case _:
                continue
        folders = _outermost(folder.resolve() for folder in candidates if folder.is_dir())
        if folders:
            found[name] = folders
    return found


def is_code(path: Path, folder: Path) -> bool:
    """Whether what changed below `folder`, a file or a folder, is something that somebody edits."""
    parts = path.relative_to(folder).parts
    return bool(parts) and not (_NOT_CODE.fullmatch(parts[-1]) or any(map(_NOT_CODE_FOLDER.fullmatch, parts)))


async def watch(
    config: Config, functions: Mapping[str, Function], telemetry: Telemetry, *, changes: Changes | None = None
) -> None:
    """Have functions load what changed, for ever; cancel it to stop.

    Args:
        config: validated.
        functions: those that have been made so far, looked at when something changes.
        telemetry: where events go.
        changes: sees files change in folders; None for watchfiles, if that is installed.
    """
    folders = code_folders(config)
    roots = _outermost(folder for each in folders.values() for folder in each)
    if not roots:
        return
    changes = changes or _watchfiles()
    if changes is None:
        telemetry.emit(DevReloadOff(reason=f"watchfiles is not installed: {INSTALL_COMMAND}"))
        return
    telemetry.emit(DevWatching(folders=tuple(map(str, roots)), functions=tuple(folders)))
    configuration = {file.resolve() for file in config.files}
    cannot: set[str] = set()
    async for changed in changes(roots):
        files = sorted(set(changed) - configuration)
        _forget_bytecode(files)
        for name, own in folders.items():
            mine = [
                str(file.relative_to(folder))
                for folder in own
                for file in files
                if file.is_relative_to(folder) and is_code(file, folder)
            ]
            if mine and name in functions and not functions[name].reload(mine) and name not in cannot:
                cannot.add(name)
                telemetry.emit(
                    DevReloadOff(function=name, reason="its code is loaded into the daemon: start esmd dev anew")
                )


def _outermost(folders: Iterable[Path]) -> tuple[Path, ...]:
    """The folders without those inside others."""
    every = set(folders)
    return tuple(sorted(folder for folder in every if every.isdisjoint(folder.parents)))


def _forget_bytecode(files: Iterable[Path]) -> None:
    """Remove what Python compiled of these files.

    It knows a changed file by the second and the size: a second save within one second, of as many bytes, would be
    taken for the first.
    """
    for file in files:
        if file.suffix == ".py":
            for compiled in (file.parent / "__pycache__").glob(f"{glob.escape(file.stem)}.*.pyc"):
                with contextlib.suppress(OSError):  # not ours to remove: then it is as if nobody had tried
                    compiled.unlink()


def _watchfiles() -> Changes | None:
    """The watchfiles package as a source of changes; None where it is not installed."""
    try:
        from watchfiles import awatch  # noqa: PLC0415 - in the extra `dev`
    except ImportError:
        return None
    # It reports every look that finds nothing, and `esmd dev` logs from debug on.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)

    async def changes(folders: Sequence[Path]) -> AsyncIterator[Collection[Path]]:
        async for found in awatch(*folders, watch_filter=None, debounce=_MOST_MS, step=_QUIET_MS):
            yield {Path(path) for _, path in found}

    return changes
