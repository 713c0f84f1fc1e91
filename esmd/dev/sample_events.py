"""Events as AWS would send them, made up around the user's own records, by the builders that the mappings use."""

from __future__ import annotations

import base64
import hashlib
import random
import time
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import encode, sqs_record
from esmd.mappings.stream_events import dynamodb_record, kinesis_record
from esmd.testing.sqs_messages import attributes_md5

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEED_MOMENT = 1_700_000_000.0
"""When a seeded event happens: 2023-11-14T22:13:20Z."""

SHARD_ID = "shardId-000000000000"

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True, slots=True)
class Chance:
    """Where ids and times come from.

    Attributes:
        dice: for everything that AWS would choose.
        now: epoch seconds.
    """

    dice: random.Random
    now: float

    @classmethod
    def of(cls, seed: int | None) -> Chance:
        """The same event for the same seed, also in its times; without one a new event every time."""
        return cls(random.Random(seed), time.time() if seed is None else _SEED_MOMENT)


def made_up_order(number: int) -> dict[str, Any]:
    """What a record is about where the user does not say."""
    return {"id": f"order-{number}", "type": "order", "amount": number * 7 % 100}


def sqs_event(
    bodies: Sequence[str],
    *,
    queue_arn: str,
    region: str,
    group: str | None,
    attributes: Mapping[str, str],
    windowed: bool,
    chance: Chance,
) -> bytes:
    """An event of SQS, a message for each body [specification A.8].

    Args:
        bodies: as they were sent.
        queue_arn: the queue's.
        region: the queue's.
        group: message group of a FIFO queue; None for a standard queue.
        attributes: text attributes of every message.
        windowed: whether the mapping has a batching window.
        chance: where ids and times come from.
    """
    dice = chance.dice
    sender = "AIDA" + "".join(dice.choices(_ALPHABET, k=17))
    sequence = 18_880_000_000_000_000_000 + dice.randrange(10**16) * 256
    records = []
    for number, body in enumerate(bodies):
        sent = int(chance.now * 1000) - 40 + number
        system = {"ApproximateReceiveCount": "1", "SentTimestamp": str(sent)}
        if group is not None:
            system["SequenceNumber"] = str(sequence + 256 * number)
            system["MessageGroupId"] = group
            # As with content-based deduplication; equal bodies would be dropped there, so the number makes a difference.
            system["MessageDeduplicationId"] = hashlib.sha256(f"{number} {body}".encode()).hexdigest()
        system |= {"SenderId": sender, "ApproximateFirstReceiveTimestamp": str(sent + 5 + dice.randrange(20))}
        message: dict[str, Any] = {
            "MessageId": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "ReceiptHandle": "AQEB" + base64.b64encode(dice.randbytes(132)).decode(),
            "Body": body,
            "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
            "Attributes": system,
        }
        if attributes:
            given = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
            message |= {"MessageAttributes": given, "MD5OfMessageAttributes": attributes_md5(given)}
        records.append(sqs_record(message, queue_arn=queue_arn, region=region, windowed=windowed))
    return encode({"Records": records})


def kinesis_event(
    data: Sequence[bytes], *, keys: Sequence[str], stream_arn: str, region: str, role_arn: str, chance: Chance
) -> bytes:
    """An event of Kinesis, a record of one shard for each piece of data [specification B.12].

    Args:
        data: as it was put.
        keys: partition keys, one for each.
        stream_arn: the stream's.
        region: the stream's.
        role_arn: of the function's execution role.
        chance: where ids and times come from.
    """
    sequence = 4959 * 10**52 + chance.dice.randrange(10**52)
    records = []
    for number, (piece, key) in enumerate(zip(data, keys, strict=True)):
        raw = {
            "PartitionKey": key,
            "SequenceNumber": str(sequence),
            "Data": piece,
            "ApproximateArrivalTimestamp": chance.now - 0.04 + number / 1000,
        }
        records.append(kinesis_record(raw, shard_id=SHARD_ID, stream_arn=stream_arn, region=region, role_arn=role_arn))
        sequence += 1 + chance.dice.randrange(10**24)
    return encode({"Records": records})


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an item: `old` is None for an INSERT, `new` for a REMOVE. Plain values, not DynamoDB's typed ones."""

    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None

    @property
    def event_name(self) -> str:
        """As DynamoDB calls it."""
        if self.old is None:
            return "INSERT"
        return "REMOVE" if self.new is None else "MODIFY"


def dynamodb_event(
    changes: Sequence[Change], *, key_names: Sequence[str], stream_arn: str, region: str, chance: Chance
) -> bytes:
    """An event of a table's stream with new and old images, a record for each change [specification B.12].

    Args:
        changes: every image has the attributes that `key_names` says.
        key_names: partition key, and sort key if there is one.
        stream_arn: of the table's stream.
        region: the table's.
        chance: where ids and times come from.
    """
    sequence = 10**27 + chance.dice.randrange(10**26)
    records = []
    for change in changes:
        images = [image for image in (change.new, change.old) if image is not None]
        keys = {name: typed(images[0][name]) for name in key_names}
        body: dict[str, Any] = {
            "ApproximateCreationDateTime": float(int(chance.now)),
            "Keys": keys,
            "SequenceNumber": str(sequence),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        for name, image in (("NewImage", change.new), ("OldImage", change.old)):
            if image is not None:
                body[name] = {attribute: typed(value) for attribute, value in image.items()}
        body["SizeBytes"] = sum(_size({"M": body[name]}) for name in ("Keys", "NewImage", "OldImage") if name in body)
        raw = {"eventID": chance.dice.randbytes(16).hex(), "eventName": change.event_name, "dynamodb": body}
        records.append(dynamodb_record(raw, stream_arn=stream_arn, region=region))
        sequence += 1 + chance.dice.randrange(10**6)
    return encode({"Records": records})


def typed(value: Any) -> dict[str, Any]:
    """A JSON value, its fractions as `Decimal`, as DynamoDB writes it: numbers are text, and everything names its type."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | Decimal):
        digits = f"{value:f}" if isinstance(value, Decimal) else str(value)  # `f` would make an integer a float
        return {"N": digits.rstrip("0").rstrip(".") if "." in digits else digits}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [typed(each) for each in value]}
    return {"M": {name: typed(inner) for name, inner in value.items()}}


def _size(attribute: Mapping[str, Any]) -> int:
    """About the bytes that DynamoDB counts for a value: text as UTF-8, two digits of a number a byte."""
    [(kind, value)] = attribute.items()
    if kind == "S":
        return len(value.encode())
    if kind == "N":
        return len(value.lstrip("-")) // 2 + 2
    if kind == "L":
        return sum(_size(each) for each in value)
    if kind == "M":
        return sum(len(name.encode()) + _size(inner) for name, inner in value.items())
    return 1
