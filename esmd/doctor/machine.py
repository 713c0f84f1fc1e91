"""Can this machine keep the positions of streams, and does a daemon run here already?

| found                                                      | finding                                            |
|------------------------------------------------------------|----------------------------------------------------|
| no mapping of a stream                                     | ok: no state file is needed                        |
| the state file is of a newer esmd, foreign or damaged      | problem                                            |
| it, or the folder where it will be, cannot be written      | problem                                            |
| a daemon holds it                                          | ok, with its process id                            |
| less than 10 MB, less than 100 MB free where it is         | problem, advice                                    |
| a daemon answers on the control socket                     | ok                                                 |
| nobody does, though the socket is there                    | advice: left by one that was killed                |
| the socket's path is longer than the system allows         | problem                                            |
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from esmd.api.address import socket_of
from esmd.doctor.findings import advice, ok, problem
from esmd.state.errors import StateError, explain
from esmd.state.schema import check
from esmd.state.sqlite import default_path

if TYPE_CHECKING:
    from esmd.doctor.findings import Finding
    from esmd.doctor.surroundings import Surroundings

LITTLE_SPACE = 100_000_000
"""Bytes below which there is a word about it."""

NO_SPACE = 10_000_000
"""Bytes below which it is a problem."""

LONGEST_SOCKET = 107
"""Bytes of a socket's path that Linux takes; others take fewer."""


async def check_state(around: Surroundings) -> list[Finding]:
    """The state file, read and not changed."""
    if not around.streams:
        return [ok("state", "state file", "not needed: no mapping reads a stream")]
    path = around.config.state.path or default_path(around.environ)
    return await asyncio.to_thread(judge_state, path)


def judge_state(path: Path) -> list[Finding]:
    """What is so about a state file, or about the place where it will be."""
    subject = str(path)
    try:
        here = _nearest(path)
        findings = [_of_file(path, subject) if path.exists() else _of_place(here, subject)]
        return [*findings, *_of_holder(path, subject), _of_space(shutil.disk_usage(here).free, subject)]
    except OSError as error:
        return [problem("state", subject, explain(error, path).message, fix=explain(error, path).hint)]


def _nearest(path: Path) -> Path:
    """The folder of the file, or the nearest one above it that exists."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def _of_place(folder: Path, subject: str) -> Finding:
    if not os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
        said = f"cannot be made: {folder} cannot be written"
        return problem("state", subject, said, fix="give this user the right to write there, or set state.path")
    return ok("state", subject, "will be made")


def _of_file(path: Path, subject: str) -> Finding:
    try:
        # Nothing is written, not even the companions of the log, where no daemon has made them.
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1.0)
        ) as connection:
            check(connection, path)
    except StateError as error:
        return problem("state", subject, error.message, fix=error.hint)
    except sqlite3.Error as error:
        known = explain(error, path)
        return problem("state", subject, known.message, fix=known.hint)
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        fix = "give this user the right to write the file and its folder, or set state.path"
        return problem("state", subject, "cannot be written", fix=fix)
    return ok("state", subject, "can be read and written")


def _of_holder(path: Path, subject: str) -> list[Finding]:
    """Who has the file, if somebody has."""
    lock = Path(f"{path.resolve()}.lock")
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).strip().decode(errors="replace")
        return [
            ok(
                "state",
                subject,
                f"held by the daemon with process id {pid or 'unknown'}; a second one would be refused",
            )
        ]
    finally:
        os.close(descriptor)
    return []


def _of_space(free: int, subject: str) -> Finding:
    said = f"{free / 1_000_000:,.0f} MB free"
    if free < NO_SPACE:
        return problem("disk", subject, said, fix="make room: without it no position is saved, and streams stop")
    if free < LITTLE_SPACE:
        return advice("disk", subject, said, fix="make room: without it no position is saved, and streams stop")
    return ok("disk", subject, said)


async def check_control(around: Surroundings) -> list[Finding]:
    """The control socket of a daemon with this configuration."""
    path = socket_of(around.config, around.environ)
    subject = str(path)
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        said = f"its path is longer than {LONGEST_SOCKET} bytes: no system can make it"
        return [problem("control", subject, said, fix="set api.socket or ESMD_SOCKET to a shorter path")]
    if not path.exists():
        return [ok("control", subject, "no daemon serves it")]
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_unix_connection(path)
        writer.close()
        await writer.wait_closed()
    except PermissionError:
        return [advice("control", subject, "is another user's", fix="run as that user, or set api.socket")]
    except (OSError, TimeoutError):
        said = "nobody answers: left by a daemon that was killed"
        return [advice("control", subject, said, fix="nothing: the next daemon replaces it")]
    return [ok("control", subject, "a daemon serves it")]
