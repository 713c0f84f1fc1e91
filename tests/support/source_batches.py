"""Batches of every source with realistic records, made by esmd's own event builders."""

from __future__ import annotations

import base64
import hashlib
import math
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import encode, sqs_record
from esmd.mappings.records import Batch, Record
from esmd.mappings.stream_events import dynamodb_record, kinesis_record, stream_event

if TYPE_CHECKING:
    from collections.abc import Sequence

REGION = "eu-west-1"
ACCOUNT = "000000000000"
QUEUE_ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"
STREAM_ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/orders"
TABLE_STREAM_ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-01-02T03:04:05.678"
SHARD = "shardId-000000000000"
ARRIVED = 1_767_323_045.678


def sqs(*bodies: str, groups: Sequence[str] = ()) -> Batch:
    """Messages as ReceiveMessage returns them; with `groups`, one for each body, of a FIFO queue."""
    records = []
    for number, body in enumerate(bodies):
        message: dict[str, Any] = {
            "MessageId": f"059f36b4-87a3-44ab-83d2-{number:012d}",
            "ReceiptHandle": f"AQEB{number}",
            "Body": body,
            "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
            "Attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1767323045678",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1767323045688",
            },
            "MessageAttributes": {
                "author": {"StringValue": "Zoë", "DataType": "String"},
                "blob": {"BinaryValue": b"\x01\x02", "DataType": "Binary"},
            },
        }
        if groups:
            message["Attributes"] |= {
                "SequenceNumber": str(18_849_496_460_467_696_128 + number),
                "MessageGroupId": groups[number],
                "MessageDeduplicationId": str(number),
            }
        event = encode(sqs_record(message, queue_arn=QUEUE_ARN, region=REGION, windowed=False))
        records.append(_record(message["MessageId"], message["ReceiptHandle"], event))
    return Batch(records, "size")


def kinesis(*datas: str) -> Batch:
    """Records of one shard. Their numbers differ in length, as those of real streams may."""
    records = []
    for number, data in enumerate(datas, 9):
        raw = {
            "PartitionKey": "key-1",
            "SequenceNumber": f"4959033827149025660855969{number}",
            "Data": base64.b64encode(data.encode()).decode(),
            "ApproximateArrivalTimestamp": ARRIVED,
        }
        role = f"arn:aws:iam::{ACCOUNT}:role/esmd"
        event = kinesis_record(raw, shard_id=SHARD, stream_arn=STREAM_ARN, region=REGION, role_arn=role)
        records.append(_record(str(raw["SequenceNumber"]), "", encode(event)))
    return Batch(records, "size")


def dynamodb(*texts: str) -> Batch:
    """Changes of a table's items, a new one each; the text is the attribute `text`."""
    records = []
    for number, text in enumerate(texts, 9):
        keys = {"id": {"N": str(number)}}
        raw = {
            "eventID": f"{number:032x}",
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": ARRIVED,
                "Keys": keys,
                "NewImage": {**keys, "text": {"S": text}, "tags": {"SS": ["a", "b"]}, "blob": {"B": b"\x01\x02"}},
                "SequenceNumber": f"11100000000000000000{number}",
                "SizeBytes": 59,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }
        event = dynamodb_record(raw, stream_arn=TABLE_STREAM_ARN, region=REGION)
        records.append(_record(raw["dynamodb"]["SequenceNumber"], "", encode(event)))
    return Batch(records, "size")


def event_of(batch: Batch) -> bytes:
    """The event that a mapping sends for the batch."""
    return stream_event(batch.records)


def _record(name: str, handle: str, event: bytes) -> Record:
    return Record(
        id=name,
        handle=handle,
        ordering_key=None,
        attempt=1,
        arrived_at=ARRIVED,
        hidden_until=math.inf,
        event=event,
    )
