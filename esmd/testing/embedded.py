"""`EmbeddedAws`: an AWS to play with, as a child process, for `esmd dev` and for tests.

It is MiniStack, from the extra `dev`. It listens on a free loopback port, writes only into a temporary folder and
ends with this process, whatever ends that.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from esmd.testing.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTALL_COMMAND = "pip install 'esmd[dev]'"
_START_SECONDS = 60.0
_FOREIGN_SETTINGS = ("PERSIST_STATE", "S3_PERSIST", "LOCALSTACK_PERSISTENCE", "SERVICES", "EDGE_PORT", "AUTH")


class EmulatorMissingError(RuntimeError):
    """No MiniStack is installed; the message says how to get it."""


def find_ministack() -> list[str]:
    """Return the command that runs MiniStack: this interpreter's, else the script beside it, else the PATH's."""
    if importlib.util.find_spec("ministack") is not None:
        return [sys.executable, "-m", "ministack"]
    beside = Path(sys.executable).with_name("ministack")
    script = str(beside) if os.access(beside, os.X_OK) else shutil.which("ministack")
    if script is None:
        raise EmulatorMissingError(f"The embedded AWS needs MiniStack, which is not installed: {INSTALL_COMMAND}")
    return [script]


def ministack_process() -> ServerProcess:
    """Return MiniStack, not started; raises `EmulatorMissingError`."""
    # Its health page repeats this name, so that a stranger who took the port first is not mistaken for it.
    edition = f"esmd-{secrets.token_hex(8)}"

    def environment(port: int, folder: Path) -> Mapping[str, str | None]:
        return {
            # What the user set for an emulator of their own must not change this one.
            **dict.fromkeys(name for name in os.environ if name.startswith("MINISTACK_")),
            **dict.fromkeys(_FOREIGN_SETTINGS),
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_EDITION": edition,
            "LOG_LEVEL": "WARNING",
            "STATE_DIR": str(folder / "state"),
            "S3_DATA_DIR": str(folder / "s3"),
            "HOME": str(folder),
        }

    def is_own(body: bytes) -> bool:
        try:
            health = json.loads(body)
        except ValueError:
            return False
        return isinstance(health, dict) and health.get("edition") == edition

    return ServerProcess(
        "MiniStack",
        find_ministack(),
        environment=environment,
        health_path="/_ministack/health",
        is_own=is_own,
        start_seconds=_START_SECONDS,
    )


class EmbeddedAws:
    """`async with EmbeddedAws() as aws: ... aws.endpoint_url`.

    Entering raises `EmulatorMissingError`, or `esmd.testing.server_process.ServerStartError`.
    """

    def __init__(self) -> None:
        self._process: ServerProcess | None = None

    @property
    def endpoint_url(self) -> str:
        """The URL of every service; only while it runs."""
        if self._process is None:
            raise RuntimeError("the embedded AWS is not running")
        return self._process.endpoint_url

    async def __aenter__(self) -> Self:
        """Start it and wait until it is ready."""
        process = ministack_process()
        starting = asyncio.ensure_future(asyncio.to_thread(process.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            process.cancel()
            await asyncio.wait([starting])
            if not starting.cancelled():
                starting.exception()  # seen: the cancellation is what counts
            await asyncio.to_thread(process.stop)
            raise
        self._process = process
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.stop)
