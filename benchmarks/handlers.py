"""What the daemon runs in a benchmark: handlers that count, and do nothing else."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from benchmarks.tally import Tally

Event = dict[str, Any]
Answer = dict[str, list[Any]]

_tally = Tally.of_environment()
_NOTHING_FAILED: Answer = {"batchItemFailures": []}
# LocalStack's own mapping writes a body that is JSON anew, with blanks.
_STAMP = re.compile(r"(?:stamp\": ?\"|t)(\d{20})")


async def inline(event: Event, _context: object) -> Answer:
    _tally.add(len(event["Records"]))
    return _NOTHING_FAILED


def worker(event: Event, _context: object) -> Answer:
    _tally.add(len(event["Records"]))
    return _NOTHING_FAILED


def aged(event: Event, _context: object) -> Answer:
    """Notes how old each message is."""
    now = time.monotonic_ns()
    for record in event["Records"]:
        text = record["body"] if "body" in record else record["kinesis"]["partitionKey"]
        _tally.took(now - int(_STAMP.findall(text)[0]))
    _tally.add(len(event["Records"]))
    return _NOTHING_FAILED


async def timed(event: Event, context: object) -> Answer:
    """The same, as a coroutine."""
    return aged(event, context)


async def slow(event: Event, _context: object) -> Answer:
    """A second of work."""
    await asyncio.sleep(1)
    _tally.add(len(event["Records"]))
    return _NOTHING_FAILED
