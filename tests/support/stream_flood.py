"""A Kinesis with one large stream that exists only while it is read: nothing is stored, so that only the reader's memory counts.

Run as a program it prints its URL: `python stream_flood.py SHARDS RECORDS_PER_SHARD`. Shards are closed: behind its last
record a shard ends. Record `n` of every shard holds `n` and some padding.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sys
import time
from typing import Any

from aiohttp import web

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/flood"
CREATED = 1_700_000_000
FIRST = 10**20
"""Sequence number of record 0."""

PADDING = "." * 150


class Flood:
    """Answers the four calls that a reader makes."""

    def __init__(self, shards: int, records: int) -> None:
        self._shards = [f"shardId-{n:012d}" for n in range(shards)]
        self._records = records

    async def answer(self, request: web.Request) -> web.Response:
        """One call."""
        _, _, operation = request.headers["X-Amz-Target"].partition(".")
        asked = json.loads(await request.read())
        body = getattr(self, operation)(asked)
        return web.Response(text=body, content_type="application/x-amz-json-1.1")

    def DescribeStreamSummary(self, _asked: dict[str, Any]) -> str:  # noqa: N802 - the API's name
        """The stream, always the same."""
        summary = {
            "StreamName": "flood",
            "StreamARN": ARN,
            "StreamStatus": "ACTIVE",
            "StreamCreationTimestamp": CREATED,
            "RetentionPeriodHours": 24,
            "OpenShardCount": 0,
        }
        return json.dumps({"StreamDescriptionSummary": summary})

    def ListShards(self, _asked: dict[str, Any]) -> str:  # noqa: N802 - the API's name
        """All shards in one page."""
        numbers = {"StartingSequenceNumber": str(FIRST), "EndingSequenceNumber": str(FIRST + self._records)}
        width = 2**128 // len(self._shards)
        keys = [
            {"StartingHashKey": str(n * width), "EndingHashKey": str((n + 1) * width - 1)}
            for n in range(len(self._shards))
        ]
        found = [
            {"ShardId": shard_id, "HashKeyRange": hashes, "SequenceNumberRange": numbers}
            for shard_id, hashes in zip(self._shards, keys, strict=True)
        ]
        return json.dumps({"Shards": found})

    def GetShardIterator(self, asked: dict[str, Any]) -> str:  # noqa: N802 - the API's name
        """An iterator is the place where it stands."""
        number = asked.get("StartingSequenceNumber")
        return json.dumps({"ShardIterator": str(0 if number is None else int(number) - FIRST + 1)})

    def GetRecords(self, asked: dict[str, Any]) -> str:  # noqa: N802 - the API's name
        """A page made for this answer."""
        start = int(asked["ShardIterator"])
        end = min(start + asked["Limit"], self._records)
        now = time.time()
        records = ",".join(
            f'{{"SequenceNumber":"{FIRST + n}","ApproximateArrivalTimestamp":{now:.3f},"PartitionKey":"k{n % 50}",'
            f'"Data":"{base64.b64encode(json.dumps({"n": n, "padding": PADDING}).encode()).decode()}"}}'
            for n in range(start, end)
        )
        more = f',"NextShardIterator":"{end}"' if end < self._records else ""
        return f'{{"Records":[{records}],"MillisBehindLatest":{int(end < self._records)}{more}}}'


async def serve(shards: int, records: int) -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_post("/", Flood(shards, records).answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
