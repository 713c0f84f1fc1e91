"""The pieces that the Python fake's answers are made of."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from benchmarks.fake.spec import ACCOUNT, DIGITS, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK = re.compile(r"([\x01-\x05])")


def template(line: str) -> list[str]:
    """Literal text and control bytes, by turns."""
    return _MARK.split(line)


def rendered(template: list[str], number: int, source: int, group: int, stamp: int) -> str:
    """A message or record: digits in the places of the control bytes."""
    values = ("", number, source, group, stamp, time.time_ns() // 1_000_000)
    pieces = list(template)
    for at in range(1, len(pieces), 2):
        kind = ord(pieces[at])
        pieces[at] = f"{values[kind]:0{DIGITS[kind]}}"
    return "".join(pieces)


def entries(body: str) -> str:
    """The answer to a batch request, in which nothing has failed."""
    ids = ",".join(f'{{"Id":"{entry}"}}' for entry in re.findall(r'"Id": ?"([^"]*)"', body))
    return f'{{"Successful":[{ids}],"Failed":[]}}'


def number_of(body: str, name: str, missing: int) -> int:
    """A number of a request, or `missing`."""
    found = re.search(rf'"{name}": ?(\d+)', body)
    return int(found[1]) if found else missing


def iterator_text(stream: int, shard: int, at: int) -> str:
    """An iterator as JSON text, as long as those of the services are."""
    return f'"AAAAAAAA{stream:04}{shard:04}{at:012}{"f" * 180}=="'


def about(stream: int, *, is_kinesis: bool) -> str:
    """What a description says of a stream, without its shards."""
    if not is_kinesis:
        arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t{stream:04}/stream/2024-01-01T00:00:00.000"
        return (
            f'"StreamArn":"{arn}","StreamStatus":"ENABLED","CreationRequestDateTime":1700000000.0,'
            '"StreamViewType":"NEW_IMAGE"'
        )
    arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s{stream:04}"
    return (
        f'"StreamName":"s{stream:04}","StreamARN":"{arn}","StreamStatus":"ACTIVE","RetentionPeriodHours":24,'
        '"StreamCreationTimestamp":1700000000.0,"EnhancedMonitoring":[],"HasMoreShards":false,"OpenShardCount":1'
    )


class Idle:
    """Adds the time in which the loop waits to a counter, by standing in front of its selector."""

    def __init__(self, selector: Any, count: Callable[[str, int], None]) -> None:
        self._selector = selector
        self._count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> Any:
        began = time.monotonic_ns()
        events = self._selector.select(timeout)
        self._count("idle_ns", time.monotonic_ns() - began)
        return events
