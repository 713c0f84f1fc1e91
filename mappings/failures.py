"""The invocation records that an on-failure destination of a stream mapping receives [specification B.8].

| destination | gets                                     | made by                                 |
|-------------|------------------------------------------|-----------------------------------------|
| SQS, SNS    | the record: it points at the data        | `invocation_record`                     |
| S3          | the same with the whole event, `payload` | `invocation_object`, under `object_key` |

The order of the keys is the recorded one. A record about records that got too old has no `responseContext`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from esmd.mappings.commands import Discard

StreamKind = Literal["kinesis", "dynamodb"]

_INFO = {"kinesis": "KinesisBatchInfo", "dynamodb": "DDBStreamBatchInfo"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where discarded records come from.

    Attributes:
        kind: of the stream.
        shard_id: of the shard.
        stream_arn: of the Kinesis stream, or of the DynamoDB table's stream.
        function_arn: of the function that could not process them.
    """

    kind: StreamKind
    shard_id: str
    stream_arn: str
    function_arn: str


def invocation_record(discard: Discard, origin: Origin, *, request_id: str, now: float) -> str:
    """The message for SQS and SNS, as JSON text.

    Args:
        discard: what is given up, and why.
        origin: where it comes from.
        request_id: of the last invocation; a new one if there was none.
        now: epoch seconds.
    """
    return _text(_record(discard, origin, request_id, now))


def invocation_object(
    discard: Discard,
    origin: Origin,
    *,
    request_id: str,
    now: float,
    event: bytes,
    payload_as: Literal["string", "object"] = "string",
) -> str:
    """The object for S3, as JSON text: the message, and the event that the function could not process.

    Args:
        discard: see `invocation_record`, as the next three.
        origin: see there.
        request_id: see there.
        now: see there.
        event: the event of exactly these records, as UTF-8 JSON.
        payload_as: `string`, as AWS documents it: the event's JSON text as a JSON string; or `object`: the event itself, its
            numbers and its order untouched.

    Raises:
        UnicodeDecodeError: the event is not UTF-8.
    """
    text = event.decode()
    payload = text if payload_as == "object" else json.dumps(text)
    return f'{_text(_record(discard, origin, request_id, now))[:-1]},"payload":{payload}}}'


def object_key(origin: Origin, *, mapping_id: str, now: float, unique: str) -> str:
    """The key of an S3 object: `aws/lambda/<mapping>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<unique>`, in UTC.

    Args:
        origin: its shard is part of the key.
        mapping_id: the mapping's UUID.
        now: epoch seconds.
        unique: a random UUID.
    """
    return f"aws/lambda/{mapping_id}/{origin.shard_id}/{_moment(now):%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{unique}"


def _record(discard: Discard, origin: Origin, request_id: str, now: float) -> dict[str, Any]:
    first, last = discard.records[0], discard.records[-1]
    # Recorded on AWS: creation times of DynamoDB are whole seconds, those of Kinesis have milliseconds.
    precision: Literal["seconds", "milliseconds"] = "seconds" if origin.kind == "dynamodb" else "milliseconds"
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id,
            "functionArn": origin.function_arn,
            "condition": discard.condition,
            "approximateInvokeCount": discard.approximate_invoke_count,
        }
    }
    if discard.response is not None:
        record["responseContext"] = {
            "statusCode": discard.response.status_code,
            "executedVersion": discard.response.executed_version,
            "functionError": discard.response.function_error,
        }
    record["version"] = "1.0"
    record["timestamp"] = _time(now, "milliseconds")
    record[_INFO[origin.kind]] = {
        "shardId": origin.shard_id,
        "startSequenceNumber": first.id,
        "endSequenceNumber": last.id,
        "approximateArrivalOfFirstRecord": _time(first.arrived_at, precision),
        "approximateArrivalOfLastRecord": _time(last.arrived_at, precision),
        "batchSize": len(discard.records),
        "streamArn": origin.stream_arn,
    }
    return record


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _moment(epoch_seconds: float) -> datetime:
    # In whole milliseconds: 1573691886.021 is stored as a little less, and cutting digits off would show 020.
    return _EPOCH + timedelta(milliseconds=round(epoch_seconds * 1000))


def _time(epoch_seconds: float, precision: Literal["seconds", "milliseconds"]) -> str:
    return _moment(epoch_seconds).replace(tzinfo=None).isoformat(timespec=precision) + "Z"
