"""Handlers that fail."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time


class OrderRefused(Exception):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")


def refuse(event, context):
    raise OrderRefused("no stock")


async def refuse_async(event, context):
    await asyncio.sleep(0)
    raise OrderRefused("no stock")


def odd_arguments(event, context):
    raise OrderRefused(1, ("two", 3))


def unprintable(event, context):
    raise Unprintable


def wordy(event, context):
    raise OrderRefused("x" * 1_000_000)


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
    signal.signal(event, signal.SIG_DFL)
    os.kill(os.getpid(), event)
    time.sleep(60)


def leave_later(event, context):
    threading.Timer(event, os._exit, [7]).start()
    return os.getpid()
