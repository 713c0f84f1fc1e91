"""Which kind of mapping a section describes, and which settings it would find with another kind.

| `event_source_arn`, `EventSourceArn`, `Queue` or `Stream`      | the kind                                             |
|----------------------------------------------------------------|------------------------------------------------------|
| an ARN of SQS, Kinesis or DynamoDB                             | that                                                 |
| `Queue` with a stream's ARN, `Stream` with a queue's           | none: an error, and the only one about this mapping  |
| an ARN of any other service                                    | none: an error, and the only one about this mapping  |
| missing or no ARN, but there is a setting of streams           | Kinesis, so that the settings can be judged          |
| missing or no ARN otherwise                                    | SQS                                                  |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.config.binding import Unreadable, spellings_of, text_of
from esmd.config.document import Scalar, Table
from esmd.config.schema import AnyMapping, DynamoDbMapping, KinesisMapping, SqsMapping
from esmd.config.validation import Kind
from esmd.config.values import service_of, unsupported_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.config.files import Section
    from esmd.config.report import Report

_UNSUPPORTED = "Unsupported DestinationConfig parameter for given event source mapping type."

_SQS_SETTINGS = (
    "queue",
    "scalingconfig",
    "provisionedpollerconfig",
    "visibilityheartbeat",
    "releaseonstop",
    "receivewaittimeseconds",
)
_STREAM_SETTINGS = (
    "stream",
    "startingposition",
    "startingpositiontimestamp",
    "parallelizationfactor",
    "bisectbatchonfunctionerror",
    "maximumretryattempts",
    "maximumrecordageinseconds",
    "tumblingwindowinseconds",
    "ondestinationfailure",
    "failurepayload",
    "pollinterval",
)
_OTHER_SETTINGS = (
    "topics",
    "queues",
    "sourceaccessconfigurations",
    "selfmanagedeventsource",
    "loggingconfig",
    "amazonmanagedkafkaeventsourceconfig",
    "selfmanagedkafkaeventsourceconfig",
    "documentdbeventsourceconfig",
)

_MISNAMED = {
    "Queue": "Queue names an SQS queue: name a stream by Stream or EventSourceArn",
    "Stream": "Stream names a Kinesis or DynamoDB stream: name a queue by Queue or EventSourceArn",
}
"""SAM's names for the ARN, where they stand for the wrong kind."""


def _foreign(names: tuple[str, ...], owners: str, here: str) -> dict[str, str]:
    return dict.fromkeys(names, f"belongs to {owners}: {here} mapping has no such setting")


def _stream_kind(model: type[AnyMapping], here: str, arn: str, more: Mapping[str, str]) -> Kind[AnyMapping]:
    foreign = {
        **_foreign(_SQS_SETTINGS, "SQS mappings", here),
        **_foreign(_OTHER_SETTINGS, "Kafka, Amazon MQ or DocumentDB mappings", here),
        "onsuccess": _UNSUPPORTED,
        "type": "is a setting of SAM only: leave it out, the ARN says it",
        **more,
    }
    stand_ins = {"event_source_arn": arn, "function_name": "stand-in", "starting_position": "LATEST"}
    return Kind(model, foreign, stand_ins)


_SQS: Kind[AnyMapping] = Kind(
    SqsMapping,
    {
        **_foreign(_STREAM_SETTINGS, "stream mappings (Kinesis, DynamoDB Streams)", "an SQS"),
        **_foreign(_OTHER_SETTINGS, "Kafka, Amazon MQ or DocumentDB mappings", "an SQS"),
        "destinationconfig": _UNSUPPORTED,
    },
    {"event_source_arn": "arn:aws:sqs:us-east-1:000000000000:stand-in", "function_name": "stand-in"},
)

_KINDS: dict[str, Kind[AnyMapping]] = {
    "sqs": _SQS,
    "kinesis": _stream_kind(
        KinesisMapping, "a Kinesis", "arn:aws:kinesis:us-east-1:000000000000:stream/stand-in", more={}
    ),
    "dynamodb": _stream_kind(
        DynamoDbMapping,
        "a DynamoDB",
        "arn:aws:dynamodb:us-east-1:000000000000:table/stand-in/stream/stand-in",
        more=_foreign(("startingpositiontimestamp",), "Kinesis mappings", "a DynamoDB"),
    ),
}

_ARN_NAMES = frozenset(
    name for kind in _KINDS.values() for name, field in spellings_of(kind.model).items() if field == "event_source_arn"
)


def kind_reading(service: str) -> Kind[AnyMapping] | None:
    """The kind of mappings that read from a service, such as `sqs`; None where no kind does."""
    return _KINDS.get(service)


def kind_of(section: Section, report: Report) -> Kind[AnyMapping] | None:
    """The kind of the mapping in a section, by the table above; None where that is an error, which is reported."""
    entries = section.node.entries if isinstance(section.node, Table) else ()
    for key, node in entries:
        if key.text not in _ARN_NAMES or not isinstance(node, Scalar):
            continue
        path = f"{section.path}.{key.text}"
        try:
            service = service_of(text_of(node, path, section.source))
        except Unreadable:
            break
        if not service:
            break
        kind = _KINDS.get(service)
        if kind is not None and key.text in spellings_of(kind.model):
            return kind
        message = unsupported_source(service) if kind is None else _MISNAMED[key.text]
        report.error(section.source.place(node, path), message)
        return None
    is_stream = any(key.text.replace("_", "").lower() in _STREAM_SETTINGS for key, _ in entries)
    return _KINDS["kinesis" if is_stream else "sqs"]
