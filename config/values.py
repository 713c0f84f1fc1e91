"""The small languages inside settings: durations, handler references, ARNs of queues and functions.

Each parser takes what the user wrote and returns the canonical value, or raises `ValueError` with a sentence for the
user. None of them looks at anything but its argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from esmd.config.report import shown

_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOTTED = rf"{_NAME}(?:\.{_NAME})*"
_HANDLER = re.compile(rf"{_DOTTED}:{_DOTTED}")

_ARN = re.compile(r"arn:(?P<partition>[^:]*):(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):(?P<rest>.*)")
_PARTITION = re.compile(r"aws(?:-[a-z]+)*")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")
_ACCOUNT = re.compile(r"[0-9]{12}")
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FUNCTION = re.compile(
    r"(?:(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?[0-9]{12}:function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)

_OTHER_SOURCES = {
    "kinesis": "Kinesis",
    "dynamodb": "DynamoDB Streams",
    "kafka": "Kafka",
    "mq": "Amazon MQ",
    "rds": "DocumentDB",
}


@dataclass(frozen=True, slots=True)
class QueueArn:
    """The parts of an SQS queue's ARN; `fifo` where the name ends in `.fifo`."""

    partition: str
    region: str
    account_id: str
    name: str

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps order."""
        return self.name.endswith(".fifo")

    def __str__(self) -> str:
        return f"arn:{self.partition}:sqs:{self.region}:{self.account_id}:{self.name}"


def seconds(value: Any) -> float:
    """Seconds from a number, or from text with a unit: `30`, `1.5`, `500ms`, `30s`, `5m`, `12h`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be seconds, or a duration such as 30s or 5m")  # noqa: TRY004 - pydantic reads these
    if isinstance(value, int | float):
        return float(value)
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(f"must be seconds, or a duration such as 30s or 5m, not the text {shown(value)}")
    return float(match["number"]) * _UNITS[match["unit"]]


def handler(text: str) -> str:
    """`module.sub:callable` from that, from Lambda's `module.sub.callable`, or from `folder/module.callable`."""
    if ":" in text:
        module, _, name = text.partition(":")
    else:
        module, _, name = text.rpartition(".")
    canonical = f"{module.replace('/', '.')}:{name}"
    if not _HANDLER.fullmatch(canonical):
        raise ValueError(f"must name a module and a function in it, such as orders:process, not {shown(text)}")
    return canonical


def service_of(arn: str) -> str:
    """The service that an ARN names, such as `sqs`; empty where it is no ARN."""
    match = _ARN.fullmatch(arn)
    return match["service"] if match else ""


def queue_arn(text: str) -> QueueArn:
    """The parts of a queue's ARN, checked."""
    match = _ARN.fullmatch(text)
    if match is None:
        kind = "a queue URL" if text.startswith(("http://", "https://")) else shown(text)
        raise ValueError(f"must be a queue's ARN, arn:aws:sqs:REGION:ACCOUNT:NAME, not {kind}")
    service = match["service"]
    if service in _OTHER_SOURCES:
        raise ValueError(f"{_OTHER_SOURCES[service]} sources are not supported by this version, only SQS queues are")
    if service != "sqs":
        raise ValueError(f"Unrecognized event source: {shown(service)} is not sqs")
    if not _PARTITION.fullmatch(match["partition"]):
        raise ValueError(f"the ARN's partition must be aws, aws-cn or the like, not {shown(match['partition'])}")
    if not _REGION.fullmatch(match["region"]):
        raise ValueError(f"the ARN's region must be one such as us-east-1, not {shown(match['region'])}")
    if not _ACCOUNT.fullmatch(match["account"]):
        raise ValueError(f"the ARN's account must be 12 digits, not {shown(match['account'])}")
    name = match["rest"]
    if len(name) > 80 or not _QUEUE_NAME.fullmatch(name.removesuffix(".fifo")):
        raise ValueError(
            "the ARN's queue name must be 1 to 80 letters, digits, hyphens or underscores, .fifo at its end included,"
            f" not {shown(name)}"
        )
    return QueueArn(match["partition"], match["region"], match["account"], name)


def function_name(text: str) -> str:
    """The bare name from a function's name, partial ARN or full ARN, with `$LATEST` or without a qualifier."""
    match = _FUNCTION.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a function's name, partial ARN or ARN, not {shown(text)}")
    if match["qualifier"] not in (None, "$LATEST"):
        raise ValueError(
            f"version or alias {shown(match['qualifier'])} cannot be chosen: the registered code is what runs,"
            " write the name alone"
        )
    return match["name"]
