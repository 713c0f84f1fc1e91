"""The floors: how cheap the same work could be if a daemon did nothing else. Run in the peers' environment.

    python -m benchmarks.floors FLOOR URL TALLY [--pollers N] [--batch-size N]

| floor           | what it does                                                                             |
|-----------------|------------------------------------------------------------------------------------------|
| sqs-bare        | blocking socket: receive 10, event, no-op, delete 10                                     |
| sqs-lean        | asyncio protocol, uvloop if it is there: 4 pollers, deletes overlapped                   |
| kinesis-bare    | blocking socket: GetRecords 1,000, event JSON for each batch, no-op                      |
| kinesis-lean    | the same over the asyncio protocol, the next page on its way meanwhile                   |
| kinesis-worker  | the same, the event sent to a worker process over a socket pair and its answer awaited   |
| raw-latency     | blocking long poll, 1 to 10 messages, age of each noted, delete                          |

JSON is done by orjson, or by pydantic_core where that is missing. None retries, checkpoints, times out, reports failures or
counts metrics.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import struct
import time
from typing import Any

from benchmarks.lean import Blocking, Lean
from benchmarks.tally import Tally

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment, unused-ignore]

try:
    from orjson import dumps, loads  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    try:
        # Where the guard runs: the project's own environment has it, and not orjson.
        from pydantic_core import from_json
        from pydantic_core import to_json as dumps

        def loads(text: bytes) -> Any:
            return from_json(text, cache_strings="keys")

    except ImportError:
        loads = json.loads

        def dumps(value: object) -> bytes:
            return json.dumps(value, separators=(",", ":")).encode()


_QUEUE = "http://127.0.0.1/000000000000/q0000"
RECEIVE = json.dumps(
    {
        "QueueUrl": _QUEUE,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 20,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
).encode()
_DELETE_HEAD = f'{{"QueueUrl":"{_QUEUE}","Entries":['.encode()
_QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:q0000"
_STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s0000"
_PAGE = 1000
_STAMP = re.compile(rb"stamp\\\":\\\"(\d{20})")


def sqs_event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The event of a batch of messages."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": message.get("MessageAttributes", {}),
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": _QUEUE_ARN,
                "awsRegion": "us-east-1",
            }
            for message in messages
        ]
    }


def delete_request(messages: list[dict[str, Any]]) -> bytes:
    """The body of DeleteMessageBatch."""
    entries = [f'{{"Id":"{n}","ReceiptHandle":"{message["ReceiptHandle"]}"}}' for n, message in enumerate(messages)]
    return _DELETE_HEAD + ",".join(entries).encode() + b"]}"


def kinesis_event(records: list[dict[str, Any]], shard: str) -> dict[str, Any]:
    """The event of a batch of records; the data stays base64 text."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record["PartitionKey"],
                    "sequenceNumber": record["SequenceNumber"],
                    "data": record["Data"],
                    "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard}:{record['SequenceNumber']}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/esmd",
                "awsRegion": "us-east-1",
                "eventSourceARN": _STREAM_ARN,
            }
            for record in records
        ]
    }


async def no_op(_event: object) -> None:
    """The handler."""


def sqs_bare(url: str, tally: Tally, _: argparse.Namespace) -> None:
    api = Blocking(url, "sqs")
    while True:
        messages = loads(api.call("AmazonSQS.ReceiveMessage", RECEIVE)).get("Messages", ())
        if messages:
            sqs_event(messages)
            api.call("AmazonSQS.DeleteMessageBatch", delete_request(messages))
            tally.add(len(messages))


async def sqs_lean(url: str, tally: Tally, options: argparse.Namespace) -> None:
    polls, deletes = Lean(url, "sqs"), Lean(url, "sqs")
    await polls.open(options.pollers)
    await deletes.open(options.pollers)

    async def poll() -> None:
        while True:
            messages = loads(await polls.call("AmazonSQS.ReceiveMessage", RECEIVE)).get("Messages", ())
            if messages:
                await no_op(sqs_event(messages))
                deletes.post("AmazonSQS.DeleteMessageBatch", delete_request(messages), loads)
                tally.add(len(messages))

    await asyncio.gather(*(poll() for _ in range(options.pollers)))


def raw_latency(url: str, tally: Tally, _: argparse.Namespace) -> None:
    api = Blocking(url, "sqs")
    while True:
        answer = api.call("AmazonSQS.ReceiveMessage", RECEIVE)
        now = time.monotonic_ns()
        for stamp in _STAMP.findall(answer):
            tally.took(now - int(stamp))
        messages = loads(answer).get("Messages", ())
        if messages:
            api.call("AmazonSQS.DeleteMessageBatch", delete_request(messages))
            tally.add(len(messages))


def iterator_request(shard: str = "shardId-000000000000") -> bytes:
    """The body of GetShardIterator, from the oldest record on."""
    where = {"StreamARN": _STREAM_ARN, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    return json.dumps(where).encode()


def read_request(iterator: str, limit: int = _PAGE) -> bytes:
    """The body of GetRecords."""
    return f'{{"ShardIterator":"{iterator}","Limit":{limit},"StreamARN":"{_STREAM_ARN}"}}'.encode()


def kinesis_bare(url: str, tally: Tally, options: argparse.Namespace) -> None:
    api = Blocking(url, "kinesis")
    iterator = loads(api.call("Kinesis_20131202.GetShardIterator", iterator_request()))["ShardIterator"]
    while True:
        page = loads(api.call("Kinesis_20131202.GetRecords", read_request(iterator)))
        iterator = page["NextShardIterator"]
        records = page["Records"]
        for start in range(0, len(records), options.batch_size):
            batch = records[start : start + options.batch_size]
            dumps(kinesis_event(batch, "shardId-000000000000"))
            tally.add(len(batch))
        if not records:
            time.sleep(0.2)


async def kinesis_lean(url: str, tally: Tally, options: argparse.Namespace) -> None:
    api = Lean(url, "kinesis")
    await api.open(1)
    worker = await _Worker.start() if options.floor == "kinesis-worker" else None
    loop = asyncio.get_running_loop()
    iterator = loads(await api.call("Kinesis_20131202.GetShardIterator", iterator_request()))["ShardIterator"]
    reading = loop.create_task(api.call("Kinesis_20131202.GetRecords", read_request(iterator)))
    while True:
        page = loads(await reading)
        reading = loop.create_task(api.call("Kinesis_20131202.GetRecords", read_request(page["NextShardIterator"])))
        records = page["Records"]
        for start in range(0, len(records), options.batch_size):
            batch = records[start : start + options.batch_size]
            event = dumps(kinesis_event(batch, "shardId-000000000000"))
            if worker is None:
                await no_op(event)
            else:
                await worker.invoke(event)
            tally.add(len(batch))
        if not records:
            await asyncio.sleep(0.2)


class _Worker(asyncio.Protocol):
    """A forked child that parses each event and answers `null`: frames of a length and as many bytes."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[None] | None = None
        self._seen = 0

    @classmethod
    async def start(cls) -> _Worker:
        ours, theirs = socket.socketpair()
        if not os.fork():
            ours.close()
            _work(theirs)
        theirs.close()
        _, worker = await asyncio.get_running_loop().create_connection(cls, sock=ours)
        return worker

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += len(data)
        if self._seen >= 8 and self._answer is not None:
            self._seen = 0
            self._answer.set_result(None)

    async def invoke(self, event: bytes) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines((struct.pack("!I", len(event)), event))
        await self._answer


def _work(pipe: socket.socket) -> None:
    """The child's life; it ends with its parent."""
    file = pipe.makefile("rb")
    while len(head := file.read(4)) == 4:
        loads(file.read(struct.unpack("!I", head)[0]))
        pipe.sendall(b"\0\0\0\4null")
    os._exit(0)


_FLOORS = {
    "sqs-bare": sqs_bare,
    "sqs-lean": sqs_lean,
    "raw-latency": raw_latency,
    "kinesis-bare": kinesis_bare,
    "kinesis-lean": kinesis_lean,
    "kinesis-worker": kinesis_lean,
}


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("floor", choices=_FLOORS)
    parser.add_argument("url")
    parser.add_argument("tally")
    parser.add_argument("--pollers", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=100)
    options = parser.parse_args()
    running = _FLOORS[options.floor](options.url, Tally(options.tally), options)
    if running is None:
        return
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(running)


if __name__ == "__main__":
    main()
