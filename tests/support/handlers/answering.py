"""Handlers that answer."""

from __future__ import annotations

import asyncio
import base64
import json
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


class AnswerRefusedError(Exception):
    pass


def payload_of(record):
    """What a producer put into a record, whatever its source."""
    if "kinesis" in record:
        return base64.b64decode(record["kinesis"]["data"])
    if "dynamodb" in record:
        return record["dynamodb"]["NewImage"]["text"]["S"]
    return record["body"]


def as_told(event, context):
    """Answer a batch as the payload of its first record says."""
    told = json.loads(payload_of(event["Records"][0]))
    if "raise" in told:
        raise AnswerRefusedError(told["raise"])
    return told["raw"].encode() if "raw" in told else told["answer"]


def sized(event, context):
    return "x" * (event - 2)


def nap(event, context):
    time.sleep(event)
    return "awake"


def nap_or_count(event, context):
    if event:
        time.sleep(event)
    return count(event, context)


class Door:
    """Says that the handler is here, and knows whether the door is open."""

    def __init__(self, event, context):
        told = json.loads(payload_of(event["Records"][0]))
        self._context = context
        self._here, self._door = Path(told["here"]), Path(told["door"])
        self._here.write_text("begun")

    @property
    def closed(self):
        return not self._door.exists() and self._context.get_remaining_time_in_millis() > 0

    def leave(self):
        self._here.write_text("done")
        return "done"


def wait_sync(event, context):
    door = Door(event, context)
    while door.closed:
        time.sleep(0.01)
    return door.leave()


async def wait_async(event, context):
    door = Door(event, context)
    while door.closed:
        await asyncio.sleep(0.01)
    return door.leave()


def crowd(event, context):
    """Write down coming and going, and stay until the door is open. An append is one step, whoever else appends."""
    journal = os.open(event["journal"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(journal, f"+{event['number']}\n".encode())
        while not Path(event["door"]).exists() and context.get_remaining_time_in_millis():
            time.sleep(0.01)
        os.write(journal, f"-{event['number']}\n".encode())
    finally:
        os.close(journal)
    return {"number": event["number"], "request_id": context.aws_request_id}


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
