"""Handlers that print, fork, start processes and tamper with what they stand on."""

# ruff: noqa: T201  printing is what is tested

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

log = logging.getLogger("orders")


def say(event, context):
    print("first\nsecond")
    print("to stderr", file=sys.stderr)
    print("no end", end="")


def say_it(event, context):
    print(event)


def log_it(event, context):
    logging.getLogger().setLevel("INFO")
    log.info("shipped %s", event)


def long_line(event, context):
    sys.stdout.write("x" * event)


def raw(event, context):
    os.write(1, b"caf\xc3\xa9 \xff\r\n")


def flood(event, context):
    for number in range(event):
        print(number)


def print_later(event, context):
    """Prints from a thread, once the file exists: after the invocation."""

    def wait_and_print():
        while not Path(event).exists():
            time.sleep(0.01)
        print("from the background")

    threading.Thread(target=wait_and_print, daemon=True).start()


def take_memory(event, context):
    """Touch so many megabytes, and keep them until there is a reason to go."""
    taken = bytearray(event * 1024 * 1024)
    for page in range(0, len(taken), 4096):
        taken[page] = 1
    threading.Event().wait()


def close_streams(event, context):
    sys.stdout.close()
    sys.stderr.close()
    os.close(1)
    os.close(2)


def replace_streams(event, context):
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"))
    print("through a buffer of its own")


def fork_twice(event, context):
    """The child returns as well."""
    os.fork()
    return "forked"


def change_folder(event, context):
    os.chdir("/")


def start_child(event, context):
    """A child that outlives the invocation, holds the streams, and would hold the channel if it could."""
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    child.returncode = 0  # it is left alone on purpose
    return child.pid


def start_child_and_hang(event, context):
    with open(event, "w") as file:  # noqa: PTH123
        file.write(f"{start_child(event, context)}\n")
    threading.Event().wait()
