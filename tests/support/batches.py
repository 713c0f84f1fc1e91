"""Small makers of records and batches for tests of the rules."""

from __future__ import annotations

import math

from esmd.mappings.records import Batch, Record


def record(
    name: str = "m1",
    *,
    size: int | None = None,
    key: str | None = None,
    attempt: int = 1,
    hidden_until: float = math.inf,
) -> Record:
    event = b'{"messageId":"' + name.encode() + b'"}'
    if size is not None:
        event = event.ljust(size)[:size] if size >= len(event) else b"x" * size
    return Record(
        id=name,
        handle=f"handle-{name}",
        ordering_key=key,
        attempt=attempt,
        arrived_at=0.0,
        hidden_until=hidden_until,
        event=event,
    )


def records(*names: str) -> list[Record]:
    return [record(name) for name in names]


def batch(*names: str) -> Batch:
    return Batch(records(*names), "size")
