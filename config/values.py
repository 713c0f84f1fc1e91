"""The small languages inside settings: durations, times, handler references, ARNs of queues, streams and functions.

Each parser takes what the user wrote and returns the canonical value, or raises `ValueError` with a sentence for the
user. None of them looks at anything but its argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

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
_STREAMS = {
    "kinesis": re.compile(r"stream/(?P<name>[A-Za-z0-9_.-]{1,128})"),
    "dynamodb": re.compile(r"table/(?P<name>[A-Za-z0-9_.-]{3,255})/stream/(?P<label>[A-Za-z0-9:._-]{1,128})"),
}
_CONSUMER = re.compile(r"(?P<stream>stream/[A-Za-z0-9_.-]{1,128})/consumer/.*")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_300_799
_FUNCTION = re.compile(
    r"(?:(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?[0-9]{12}:function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)

_OTHER_SOURCES = {
    "kafka": "Kafka",
    "mq": "Amazon MQ",
    "rds": "DocumentDB",
}


StreamKind = Literal["kinesis", "dynamodb"]
"""Services that have streams."""

_STREAM_SHAPES: dict[StreamKind, str] = {
    "kinesis": "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME",
    "dynamodb": "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL",
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


@dataclass(frozen=True, slots=True)
class StreamArn:
    """The parts of a stream's ARN.

    Attributes:
        partition: `aws`, `aws-cn`, ...
        region: as the ARN has it.
        account_id: 12 digits.
        kind: the service it belongs to.
        name: of the Kinesis stream, or of the DynamoDB table.
        label: which of the table's streams, by the time it was switched on; None for Kinesis.
    """

    partition: str
    region: str
    account_id: str
    kind: StreamKind
    name: str
    label: str | None = None

    def __str__(self) -> str:
        path = f"stream/{self.name}" if self.label is None else f"table/{self.name}/stream/{self.label}"
        return f"arn:{self.partition}:{self.kind}:{self.region}:{self.account_id}:{path}"


def seconds(value: Any) -> float:
    """Seconds from a number, or from text with a unit: `30`, `1.5`, `500ms`, `30s`, `5m`, `12h`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be seconds, or a duration such as 30s or 5m")  # noqa: TRY004 - pydantic reads these
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # a hexadecimal number may be as long as that
            raise ValueError("must be seconds, and fewer of them") from None
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(f"must be seconds, or a duration such as 30s or 5m, not the text {shown(value)}")
    return float(match["number"]) * _UNITS[match["unit"]]


def instant(value: Any) -> float:
    """Unix seconds from that, or from ISO 8601 text: a date or more; without an offset it is UTC."""
    expected = "must be Unix seconds, or ISO 8601 such as 2026-01-31T12:00:00Z"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)  # noqa: TRY004 - pydantic reads these
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value) if _DATE.fullmatch(value) else None
        except ValueError:
            read = None
        if read is None:
            raise ValueError(f"{expected}, not the text {shown(value)}")
        value = ((read if read.tzinfo else read.replace(tzinfo=UTC)) - _EPOCH).total_seconds()
    if not 0 <= value <= _LAST_SECOND:
        raise ValueError("must be between the years 1970 and 9999, in seconds and not in milliseconds")
    return float(value)


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
    if match is None or match["service"] != "sqs":
        kind = "a queue URL" if text.startswith(("http://", "https://")) else shown(text)
        raise ValueError(f"must be a queue's ARN, arn:aws:sqs:REGION:ACCOUNT:NAME, not {kind}")
    _check_home(match)
    name = match["rest"]
    if len(name) > 80 or not _QUEUE_NAME.fullmatch(name.removesuffix(".fifo")):
        raise ValueError(
            "the ARN's queue name must be 1 to 80 letters, digits, hyphens or underscores, .fifo at its end included,"
            f" not {shown(name)}"
        )
    return QueueArn(match["partition"], match["region"], match["account"], name)


def stream_arn(text: str, *, kind: StreamKind) -> StreamArn:
    """The parts of a stream's ARN, checked."""
    match = _ARN.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a stream's ARN, {' or '.join(_STREAM_SHAPES.values())}, not {shown(text)}")
    if match["service"] != kind:
        raise ValueError(f"must be a stream's ARN, {_STREAM_SHAPES[kind]}, not {shown(text)}")
    _check_home(match)
    path = _STREAMS[kind].fullmatch(match["rest"])
    if path is None:
        raise ValueError(_no_stream(match, kind))
    label = path["label"] if kind == "dynamodb" else None
    return StreamArn(match["partition"], match["region"], match["account"], kind, path["name"], label)


def unsupported_source(service: str) -> str:
    """What to say about an ARN of a service that is no source, or none yet."""
    if service in _OTHER_SOURCES:
        return (
            f"{_OTHER_SOURCES[service]} sources are not supported by this version,"
            " only SQS queues, Kinesis streams and DynamoDB streams are"
        )
    return f"Unrecognized event source: {shown(service)} is not sqs, kinesis or dynamodb"


def _check_home(match: re.Match[str]) -> None:
    """Partition, region and account of an ARN."""
    if not _PARTITION.fullmatch(match["partition"]):
        raise ValueError(f"the ARN's partition must be aws, aws-cn or the like, not {shown(match['partition'])}")
    # DynamoDB Local puts the word ddblocal into the ARNs of its streams, whatever region its clients name.
    is_local_table = match["service"] == "dynamodb" and match["region"] == "ddblocal"
    if not is_local_table and not _REGION.fullmatch(match["region"]):
        raise ValueError(f"the ARN's region must be one such as us-east-1, not {shown(match['region'])}")
    if not _ACCOUNT.fullmatch(match["account"]):
        raise ValueError(f"the ARN's account must be 12 digits, not {shown(match['account'])}")


def _no_stream(match: re.Match[str], kind: StreamKind) -> str:
    rest = match["rest"]
    if kind == "dynamodb":
        if rest.startswith("table/") and "/stream/" not in rest:
            return (
                f"must name a stream of the table, {_STREAM_SHAPES[kind]}: the table's LatestStreamArn, not its own ARN"
            )
        return f"the ARN must end in table/NAME/stream/LABEL, not in {shown(rest)}"
    if consumer := _CONSUMER.fullmatch(rest):
        home = match[0][: match.start("rest")]
        return (
            "enhanced fan-out consumers are not supported by this version: name the stream itself,"
            f" {shown(home + consumer['stream'], 200)}"
        )
    return (
        "the ARN must end in stream/NAME, a name of 1 to 128 letters, digits, dots, hyphens or underscores,"
        f" not in {shown(rest)}"
    )


def lambda_target(text: str) -> str:
    """A function of Lambda: a name, partial ARN or ARN, with a qualifier or without; checked, not changed."""
    match = _FUNCTION.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a function's name, partial ARN or ARN, not {shown(text)}")
    return text


def lambda_parts(text: str) -> tuple[str, str | None]:
    """A checked `lambda_target` in two: the function, and its version or alias if it has one."""
    match = _FUNCTION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is not checked")
    qualifier: str | None = match["qualifier"]
    return (text if qualifier is None else text.removesuffix(f":{qualifier}")), qualifier


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
