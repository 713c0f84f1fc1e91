"""What the fake AWS is asked to be: its options, its templates, and its counters.

Both servers (`fake_aws.c`, `fake.server`) read the same folder:

| file       | what is in it                                                                    |
|------------|----------------------------------------------------------------------------------|
| `messages` | a message of ReceiveMessage as JSON on each line; message n is line n mod lines  |
| `records`  | likewise a record of Kinesis GetRecords                                          |
| `items`    | likewise a record of DynamoDB Streams GetRecords                                 |
| `counters` | written by the server, mapped: `COUNTERS`, unsigned 64-bit numbers of this host  |

A control byte in a line stands for a number of fixed width:

| byte | number                                                                     | digits |
|------|----------------------------------------------------------------------------|--------|
| 1    | of the message in its queue, of the record in its shard                    | 12     |
| 2    | of the queue or shard                                                      | 4      |
| 3    | of the message group; of the partition key                                 | 4      |
| 4    | when it came to be, in nanoseconds of the monotonic clock                  | 20     |
| 5    | when it is handed out, in milliseconds since 1970                          | 13     |
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NUMBER, SOURCE, GROUP, STAMP, MILLIS = "\x01", "\x02", "\x03", "\x04", "\x05"
DIGITS = {1: 12, 2: 4, 3: 4, 4: 20, 5: 13}
"""Width of the number that each control byte stands for."""

COUNTERS = (
    "requests",
    "receives",
    "empty_receives",
    "received",
    "delete_calls",
    "deleted",
    "deleted_twice",
    "deleted_unknown",
    "returned",
    "sent",
    "reads",
    "empty_reads",
    "read",
    "read_again",
    "refused",
    "idle_ns",
    "first_poll_ns",
    "started_ns",
)
"""Names of the counters, in the order in which they lie in the file."""

ACCOUNT = "000000000000"
REGION = "us-east-1"
_STAMP_IN_BODY = "1" * 20
_HANDLE_PADDING = "A" * 150


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeSpec:
    """One fake AWS.

    Attributes:
        queues: SQS queues q0000, q0001...; FIFO if there are groups.
        messages: that each queue holds.
        groups: message groups of a FIFO queue; 0 for standard queues.
        body: bytes of a message body, and of a record's data where `data` does not say.
        data: bytes of a Kinesis record's data.
        streams: Kinesis streams s0000... and tables t0000...
        shards: of each stream.
        records: that each shard holds.
        latency: seconds that every answer is held back.
        rate: messages or records a second that come to be; 0: all are there from the start.
        start_after: seconds between the first poll and the first message, where there is a rate.
        matching: the part of the messages whose `type` is `order`; the others are `other`.
        stamped: whether bodies and keys tell when the message came to be.
    """

    queues: int = 1
    messages: int = 0
    groups: int = 0
    body: int = 1000
    data: int | None = None
    streams: int = 1
    shards: int = 0
    records: int = 0
    latency: float = 0.0
    rate: float = 0.0
    start_after: float = 0.0
    matching: float = 1.0
    stamped: bool = False

    @property
    def total(self) -> int:
        """All messages of all queues and all records of all shards."""
        return self.queues * self.messages + self.streams * self.shards * self.records

    def options(self, folder: Path) -> list[str]:
        """The command line of either server."""
        values = {
            "--folder": folder,
            "--queues": self.queues,
            "--messages": self.messages,
            "--groups": self.groups,
            "--streams": self.streams,
            "--shards": self.shards,
            "--records": self.records,
            "--latency-us": round(self.latency * 1e6),
            "--rate": self.rate,
            "--start-after": self.start_after,
        }
        return [text for name, value in values.items() for text in (name, str(value))]

    def write(self, folder: Path) -> None:
        """Write the templates into `folder`."""
        kinds = ["order"] if self.matching == 1 else ["order" if n < self.matching * 10 else "other" for n in range(10)]
        (folder / "messages").write_text("".join(self._message(kind) + "\n" for kind in kinds))
        (folder / "records").write_text(self._record() + "\n")
        (folder / "items").write_text(self._item() + "\n")

    def _text(self, kind: str) -> str:
        """A JSON document of `body` bytes."""
        fields = {"type": kind, "customer": "c-1871", "total": 129.5, "stamp": _STAMP_IN_BODY}
        text = json.dumps({**fields, "note": ""}, separators=(",", ":"))
        return json.dumps({**fields, "note": "x" * max(0, self.body - len(text))}, separators=(",", ":"))

    def _message(self, kind: str) -> str:
        body = self._text(kind)
        attributes = {
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": MILLIS,
            "ApproximateReceiveCount": "1",
            "SentTimestamp": MILLIS,
        }
        if self.groups:
            fifo = {"SequenceNumber": f"18870{NUMBER}", "MessageGroupId": f"g{GROUP}"}
            attributes |= {**fifo, "MessageDeduplicationId": f"d{NUMBER}"}
        return self._marked(
            {
                "MessageId": f"00000000-0000-4000-{SOURCE}-{NUMBER}",
                "ReceiptHandle": f"AQEB{NUMBER}{SOURCE}{_HANDLE_PADDING}",
                "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
                "Body": body,
                "Attributes": attributes,
            }
        )

    def _record(self) -> str:
        data = base64.b64encode(b"x" * (self.body if self.data is None else self.data)).decode()
        key = f"k{GROUP}t{_STAMP_IN_BODY}"
        record = {"SequenceNumber": f"4900000000000000000000000000{SOURCE}{NUMBER}", "Data": data, "PartitionKey": key}
        text = self._marked(record)
        return f'{text[:-1]},"ApproximateArrivalTimestamp":1700000000.123}}'

    def _item(self) -> str:
        image = {"id": {"S": f"k{GROUP}t{_STAMP_IN_BODY}"}, "total": {"N": "129.5"}, "note": {"S": "x" * self.body}}
        record = {
            "eventID": f"0000{SOURCE}{NUMBER}",
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": {
                "ApproximateCreationDateTime": 1700000000,
                "Keys": {"id": {"S": f"k{GROUP}"}},
                "NewImage": image,
                "SequenceNumber": f"4900000000000000000000000000{SOURCE}{NUMBER}",
                "SizeBytes": self.body + 60,
                "StreamViewType": "NEW_IMAGE",
            },
        }
        return self._marked(record)

    def _marked(self, value: Mapping[str, object]) -> str:
        """As JSON, with raw control bytes for the numbers."""
        text = json.dumps(value, separators=(",", ":"))
        for mark in (NUMBER, SOURCE, GROUP, STAMP, MILLIS):
            text = text.replace(f"\\u{ord(mark):04x}", mark)
        return text.replace(_STAMP_IN_BODY, STAMP) if self.stamped else text


def queue_arn(number: int = 0, *, fifo: bool = False) -> str:
    """The ARN of a queue."""
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue_name(number, fifo=fifo)}"


def queue_name(number: int = 0, *, fifo: bool = False) -> str:
    """The name of a queue."""
    return f"q{number:04}.fifo" if fifo else f"q{number:04}"


def stream_arn(number: int = 0) -> str:
    """The ARN of a Kinesis stream."""
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s{number:04}"


def table_stream_arn(number: int = 0) -> str:
    """The ARN of a table's stream."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t{number:04}/stream/2024-01-01T00:00:00.000"
