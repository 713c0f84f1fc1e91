"""Loops as people write them by hand, and async-kinesis. Run in the peers' environment, until killed.

python loops.py aiobotocore-sqs|boto3-sqs|aiobotocore-kinesis|async-kinesis URL TALLY [--pollers N]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from typing import Any

from benchmarks.tally import Tally

_QUEUE = "/000000000000/q0000"
_KEYS: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
_STAMP = re.compile(r"stamp\":\"(\d{20})")


def handle(messages: list[dict[str, Any]], tally: Tally) -> list[dict[str, str]]:
    """The no-op handler, and the entries of the delete call."""
    now = time.monotonic_ns()
    for message in messages:
        if (stamp := _STAMP.search(message["Body"])) is not None and int(stamp[1]) < now:
            tally.took(now - int(stamp[1]))
    return [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]


async def aiobotocore_sqs(url: str, tally: Tally, pollers: int) -> None:
    from aiobotocore.session import get_session  # noqa: PLC0415 - only what this loop needs is loaded

    session: Any = get_session()  # typed for each service, which a benchmark of Any need not be
    async with session.create_client("sqs", endpoint_url=url, **_KEYS) as client:

        async def poll() -> None:
            while True:
                answer = await client.receive_message(
                    QueueUrl=url + _QUEUE, MaxNumberOfMessages=10, WaitTimeSeconds=20, AttributeNames=["All"]
                )
                if entries := handle(answer.get("Messages", []), tally):
                    await client.delete_message_batch(QueueUrl=url + _QUEUE, Entries=entries)

        await asyncio.gather(*(poll() for _ in range(pollers)))


def boto3_sqs(url: str, tally: Tally) -> None:
    import boto3  # type: ignore[import-not-found]  # noqa: PLC0415 - only what this loop needs is loaded

    client = boto3.client("sqs", endpoint_url=url, **_KEYS)
    while True:
        answer = client.receive_message(
            QueueUrl=url + _QUEUE, MaxNumberOfMessages=10, WaitTimeSeconds=20, AttributeNames=["All"]
        )
        if entries := handle(answer.get("Messages", []), tally):
            client.delete_message_batch(QueueUrl=url + _QUEUE, Entries=entries)


async def aiobotocore_kinesis(url: str, tally: Tally) -> None:
    from aiobotocore.session import get_session  # noqa: PLC0415 - only what this loop needs is loaded

    async with get_session().create_client("kinesis", endpoint_url=url, **_KEYS) as client:
        found = await client.get_shard_iterator(
            StreamName="s0000", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )
        iterator = found["ShardIterator"]
        while True:
            page = await client.get_records(ShardIterator=iterator, Limit=1000)
            iterator = page["NextShardIterator"]
            tally.add(len(page["Records"]))
            if not page["Records"]:
                await asyncio.sleep(0.2)


async def async_kinesis(url: str, tally: Tally) -> None:
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    from kinesis import Consumer, StringProcessor  # type: ignore[import-not-found]  # noqa: PLC0415

    options = {"shard_fetch_rate": 1000, "record_limit": 1000, "sleep_time_no_records": 0.01}
    async with Consumer(
        "s0000", endpoint_url=url, region_name="us-east-1", processor=StringProcessor(), **options
    ) as consumer:
        async for _ in consumer:
            tally.add(1)


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("loop")
    parser.add_argument("url")
    parser.add_argument("tally")
    parser.add_argument("--pollers", type=int, default=1)
    options = parser.parse_args()
    tally = Tally(options.tally)
    if options.loop == "boto3-sqs":
        boto3_sqs(options.url, tally)
    elif options.loop == "aiobotocore-sqs":
        asyncio.run(aiobotocore_sqs(options.url, tally, options.pollers))
    else:
        loops = {"aiobotocore-kinesis": aiobotocore_kinesis, "async-kinesis": async_kinesis}
        asyncio.run(loops[options.loop](options.url, tally))


if __name__ == "__main__":
    main()
