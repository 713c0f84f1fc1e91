"""Reads failure records, whoever wrote them: esmd or Lambda [specification B.8].

| text                                              | read as                                              |
|---------------------------------------------------|------------------------------------------------------|
| a record with `KinesisBatchInfo`                  | a pointer to records of a Kinesis stream             |
| a record with `DDBStreamBatchInfo`                | a pointer to records of a table's stream             |
| the same with `payload`, as S3 objects have it    | the event itself: nothing has to be read again       |
| SNS's envelope around one, `Type: Notification`   | what is inside                                       |
| anything else                                     | refused                                              |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from esmd.config.values import stream_arn
from esmd.mappings.failures import StreamKind  # noqa: TC001 - part of a public value
from esmd.replay.documents import member

_INFO: dict[str, StreamKind] = {"KinesisBatchInfo": "kinesis", "DDBStreamBatchInfo": "dynamodb"}


class NotAFailureRecordError(ValueError):
    """A text that is no failure record; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRecord:
    """What was given up.

    Attributes:
        kind: of the stream.
        stream_arn: of the stream.
        shard_id: where the records are.
        first: sequence number of the first one.
        last: of the last one.
        first_arrived: when the first one came into the stream, in epoch seconds; None where that is not said.
        count: how many records it is about.
        function_arn: of the function that could not process them.
        text: the record itself, without an envelope around it.
        event: the event as UTF-8 JSON, if the record carries it.
    """

    kind: StreamKind
    stream_arn: str
    shard_id: str
    first: str
    last: str
    first_arrived: float | None
    count: int
    function_arn: str
    text: str
    event: bytes | None = None

    @property
    def function_name(self) -> str:
        """The function's name, as its ARN has it."""
        parts = self.function_arn.split(":")
        return parts[6] if len(parts) > 6 else self.function_arn

    def __str__(self) -> str:
        numbers = self.first if self.first == self.last else f"{self.first} to {self.last}"
        return f"{self.count} of {self.shard_id}, {numbers}"


def read_failure_record(text: str) -> FailureRecord:
    """The failure record in a message, an object or a line.

    Raises:
        NotAFailureRecordError: there is none.
    """
    try:
        value = json.loads(text)
        if isinstance(value, dict) and value.get("Type") == "Notification" and isinstance(value.get("Message"), str):
            text = value["Message"]
            value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAFailureRecordError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise NotAFailureRecordError("not a JSON object")
    for name, kind in _INFO.items():
        if name in value:
            try:
                return _record(text, value, value[name], kind)
            except (KeyError, TypeError, ValueError) as error:
                raise NotAFailureRecordError(f"a damaged failure record: {type(error).__name__}: {error}") from error
    raise NotAFailureRecordError(f"no failure record: it has neither {' nor '.join(_INFO)}")


def _record(text: str, value: dict[str, Any], info: dict[str, Any], kind: StreamKind) -> FailureRecord:
    for name in ("startSequenceNumber", "endSequenceNumber"):
        if not (isinstance(info[name], str) and info[name].isascii() and info[name].isdigit()):
            raise ValueError(f"{name} is no sequence number")
    if not isinstance(info["shardId"], str):
        raise TypeError("shardId is no text")
    return FailureRecord(
        kind=kind,
        stream_arn=str(stream_arn(info["streamArn"], kind=kind)),
        shard_id=info["shardId"],
        first=info["startSequenceNumber"],
        last=info["endSequenceNumber"],
        first_arrived=_moment(info.get("approximateArrivalOfFirstRecord")),
        count=int(info["batchSize"]),
        function_arn=str(value["requestContext"]["functionArn"]),
        text=text,
        event=_event(member(text, "payload")),
    )


def _event(payload: str | None) -> bytes | None:
    """The event, which is there as JSON text in a string, or as an object."""
    if payload is None or payload == "null":
        return None
    if payload.startswith('"'):
        payload = json.loads(payload)
    if not isinstance(json.loads(payload), dict):
        raise ValueError("the payload is no event")  # noqa: TRY004 - the reader is told, not the programmer
    return payload.encode()


def _moment(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
