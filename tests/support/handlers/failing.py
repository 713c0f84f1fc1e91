"""Handlers that fail."""

# ruff: noqa: T201  printing is what is tested

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time


class OrderRefusedError(Exception):
    pass


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no")


def refuse(event, context):
    raise OrderRefusedError("no stock")


async def refuse_async(event, context):
    await asyncio.sleep(0)
    raise OrderRefusedError("no stock")


def odd_arguments(event, context):
    raise OrderRefusedError(1, ("two", 3))


def unprintable(event, context):
    raise UnprintableError


def wordy(event, context):
    raise OrderRefusedError("x" * 1_000_000)


async def cancelled(event, context):
    raise asyncio.CancelledError


def no_arguments():
    return None


def hang(event, context):
    if isinstance(event, dict) and "file" in event:
        with open(event["file"], "w") as file:  # noqa: PTH123
            file.write(f"{os.getpid()}\n")
    print("about to hang")
    time.sleep(event["seconds"] if isinstance(event, dict) else event)


async def hang_async(event, context):
    await asyncio.sleep(event)


async def ignore_cancellation(event, context):
    for _ in range(2):
        try:
            await asyncio.sleep(event)
        except asyncio.CancelledError:
            continue


def leave_at_once(event, context):
    os._exit(event)


def leave(event, context):
    sys.exit(event)


async def leave_async(event, context):
    sys.exit(event)


def interrupt(event, context):
    raise KeyboardInterrupt


def by_signal(event, context):
    if event != signal.SIGKILL:
        signal.signal(event, signal.SIG_DFL)  # pytest's fault handler, say
    os.kill(os.getpid(), event)
    time.sleep(60)
