"""Where a stream mapping may send its failure records, as the user names it [specification B.8].

| text                                       | result                                    |
|--------------------------------------------|-------------------------------------------|
| `arn:aws:sqs:REGION:ACCOUNT:NAME`          | a standard queue                          |
| `arn:aws:sns:REGION:ACCOUNT:NAME`          | a standard topic                          |
| `arn:aws:s3:::BUCKET`                      | a bucket                                  |
| a queue's or topic's ARN ending in `.fifo` | refused: Lambda takes none of either      |
| `kafka://TOPIC`, an MSK cluster's ARN      | refused by this version                   |
| anything else                              | refused, with the shape that was expected |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Service = Literal["sqs", "sns", "s3"]
"""Services that a failure record can be sent to."""

_ARN = re.compile(r"arn:(?P<partition>[^:]*):(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):(?P<rest>.*)")
_PARTITION = re.compile(r"aws(?:-[a-z]+)*")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")
_ACCOUNT = re.compile(r"[0-9]{12}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NAMES = {"sqs": re.compile(r"[A-Za-z0-9_-]{1,80}"), "sns": re.compile(r"[A-Za-z0-9_-]{1,256}")}
_NOUNS = {"sqs": "queue", "sns": "topic"}
_EXPECTED = (
    "must be the ARN of a standard SQS queue, a standard SNS topic or an S3 bucket,"
    " such as arn:aws:sqs:us-east-1:000000000000:failures or arn:aws:s3:::failures"
)


@dataclass(frozen=True, slots=True)
class DestinationArn:
    """A checked destination.

    Attributes:
        service: which of the three.
        partition: `aws`, `aws-cn`, ...
        region: None for a bucket, whose ARN has none.
        account_id: 12 digits; None for a bucket.
        name: of the queue, the topic or the bucket.
    """

    service: Service
    partition: str
    region: str | None
    account_id: str | None
    name: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region or ''}:{self.account_id or ''}:{self.name}"


def parse_destination(text: str) -> DestinationArn:
    """The parts of an on-failure destination.

    Raises:
        ValueError: it is none that stream mappings can have; the message is a sentence for the user.
    """
    if text.startswith("kafka://"):
        raise ValueError("Kafka destinations are not supported by this version, SQS, SNS and S3 are")
    match = _ARN.fullmatch(text)
    if match is None:
        kind = "a queue URL" if text.startswith(("http://", "https://")) else _shown(text)
        raise ValueError(f"{_EXPECTED}, not {kind}")
    service = match["service"]
    if service == "kafka":
        raise ValueError("Kafka destinations are not supported by this version, SQS, SNS and S3 are")
    if not _PARTITION.fullmatch(match["partition"]):
        raise ValueError(f"the ARN's partition must be aws, aws-cn or the like, not {_shown(match['partition'])}")
    if service == "s3":
        return _bucket(match)
    if service in ("sqs", "sns"):
        return _queue_or_topic("sqs" if service == "sqs" else "sns", match)
    raise ValueError(f"{_EXPECTED}; {_shown(service)} is none of the three")


def _bucket(match: re.Match[str]) -> DestinationArn:
    if match["region"] or match["account"]:
        raise ValueError(f"a bucket's ARN has no region and no account, arn:aws:s3:::BUCKET, not {_shown(match[0])}")
    name = match["rest"]
    if "/" in name:
        raise ValueError(f"must be the bucket alone, without a key, not {_shown(match[0])}")
    if not _BUCKET.fullmatch(name):
        raise ValueError(
            "the ARN's bucket name must be 3 to 63 lower-case letters, digits, dots or hyphens,"
            f" with a letter or digit at both ends, not {_shown(name)}"
        )
    return DestinationArn("s3", match["partition"], None, None, name)


def _queue_or_topic(service: Literal["sqs", "sns"], match: re.Match[str]) -> DestinationArn:
    noun = _NOUNS[service]
    if not _REGION.fullmatch(match["region"]):
        raise ValueError(f"the ARN's region must be one such as us-east-1, not {_shown(match['region'])}")
    if not _ACCOUNT.fullmatch(match["account"]):
        raise ValueError(f"the ARN's account must be 12 digits, not {_shown(match['account'])}")
    name = match["rest"]
    if name.endswith(".fifo"):
        raise ValueError(f"a FIFO {noun} cannot be an on-failure destination: Lambda takes standard {noun}s only")
    if not _NAMES[service].fullmatch(name):
        most = 80 if service == "sqs" else 256
        raise ValueError(
            f"the ARN's {noun} name must be 1 to {most} letters, digits, hyphens or underscores, not {_shown(name)}"
        )
    return DestinationArn(service, match["partition"], match["region"], match["account"], name)


def _shown(text: str) -> str:
    """What the user wrote, short enough to repeat."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
