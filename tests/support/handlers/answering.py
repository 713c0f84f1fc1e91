"""Handlers that answer."""

from __future__ import annotations

import asyncio
import os
import time
from decimal import Decimal
from functools import partial
from pathlib import Path

_count = 0


def echo(event, context):
    return event


def count(event, context):
    global _count  # noqa: PLW0603
    _count += 1
    return {"count": _count, "pid": os.getpid()}


def describe(event, context):
    return {
        "request_id": context.aws_request_id,
        "name": context.function_name,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "log_group": context.log_group_name,
        "log_stream": context.log_stream_name,
        "identity": context.identity.cognito_identity_id,
        "client_context": context.client_context,
        "tenant_id": context.tenant_id,
        "remaining": context.get_remaining_time_in_millis(),
        "variable": os.environ.get("ANSWERING_VARIABLE"),
        "endpoint": os.environ.get("AWS_ENDPOINT_URL_ANSWERING"),
    }


def environment(event, context):
    return dict(os.environ)


def working_directory(event, context):
    return str(Path.cwd())


VALUES = {
    "none": None,
    "true": True,
    "text": "héllo 世界 \U0001f600",
    "half a surrogate": "\ud800",
    "nested": {"a": [1, {"b": [2.5, None]}]},
    "huge integer": 2**80,
    "not a number": float("nan"),
    "decimal": [Decimal(3), Decimal("0.5")],
    "bytes": b"not json",
    "object": object(),
    "set": {1},
}
VALUES["circular"] = circular = []
circular.append(circular)


def value(event, context):
    return VALUES[event]


def sized(event, context):
    return "x" * (event - 2)


def nap(event, context):
    time.sleep(event)
    return "awake"


class Table:
    def handle(self, event, context):
        return "bound"

    async def __call__(self, event, context):
        await asyncio.sleep(0)
        return "called"


table = Table()

_loops = []


async def remember(event, context):
    """State that lives in the environment's loop: it is one and the same loop for all invocations."""
    _loops.append(asyncio.get_running_loop())
    await asyncio.sleep(0)
    return {"calls": len(_loops), "loops": len(set(_loops))}


async def nap_async(event, context):
    await asyncio.sleep(event)
    return "awake"


def wrapped(event, context):
    """What a decorator that knows nothing of async turns a handler into."""
    return nap_async(0, context)


partial_of = partial(echo)
