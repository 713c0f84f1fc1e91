"""The Lambda event JSON of Kinesis and DynamoDB Streams [specification B.12], with tumbling windows [B.9].

A record of GetRecords becomes a dict once (`kinesis_record`, `dynamodb_record`: what filters look at), then JSON text
once (`esmd.mappings.events.encode`). `stream_event` joins these texts.

Both functions take a record as either client reads it: times as epoch seconds or `datetime`, binary as base64 text
or bytes. A whole second is spelled `1697045500.0`; of a fraction the milliseconds are kept.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, DecimalException
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_json

from esmd.mappings.events import PLAIN, encode, is_plain, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esmd.mappings.records import Record

_EXACT = 1e12
"""Below it, milliseconds are whole numbers that a float holds exactly; it is the year 33658."""

_DYNAMODB_ORDER = ("Keys", "NewImage", "OldImage", "SequenceNumber", "SizeBytes", "StreamViewType")
_DYNAMODB_DIGITS = Context(prec=64)
"""More digits than the 38 of a DynamoDB number, so that none is rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFields:
    """What an event of a tumbling window says beside its records [specification B.9].

    Attributes:
        start: first second of the window, epoch seconds.
        end: first second after it.
        state: JSON text, spliced into the event as it is.
        shard_id: the shard the window belongs to.
        stream_arn: `eventSourceARN`.
        final: whether this invocation closes the window.
        terminated_early: whether it does so because the state grew too large.
    """

    start: int
    end: int
    state: bytes
    shard_id: str
    stream_arn: str
    final: bool = False
    terminated_early: bool = False


def kinesis_record(
    raw: Mapping[str, Any], *, shard_id: str, stream_arn: str, region: str, role_arn: str
) -> dict[str, Any]:
    """Turn a record of Kinesis GetRecords into its element of `Records`. `EncryptionType` is not passed on.

    Args:
        raw: in the API's member names.
        shard_id: the shard it was read from, part of `eventID`.
        stream_arn: `eventSourceARN`; the consumer's ARN with enhanced fan-out.
        region: the stream's region, `awsRegion`.
        role_arn: the function's execution role, `invokeIdentityArn`.
    """
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": raw["PartitionKey"],
            "sequenceNumber": raw["SequenceNumber"],
            "data": _base64(raw["Data"]),
            "approximateArrivalTimestamp": epoch_seconds(raw["ApproximateArrivalTimestamp"]),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{raw['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role_arn,
        "awsRegion": region,
        "eventSourceARN": stream_arn,
    }


class KinesisText:
    """`encode(kinesis_record(raw, ...))` for the records of one shard, in a fraction of the time.

    What is the same for all of them is encoded once. For records without a filter, which need no dict.
    """

    __slots__ = ("_after_number", "_tail", "_time", "_time_text", "region", "role_arn", "shard_id", "stream_arn")

    def __init__(self, *, shard_id: str, stream_arn: str, region: str, role_arn: str) -> None:
        self.shard_id, self.stream_arn, self.region, self.role_arn = shard_id, stream_arn, region, role_arn
        self._time, self._time_text = 0.0, "0.0"  # of the record before: many come in the same millisecond
        self._after_number = f'}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":{_text(shard_id)[:-1]}:'
        self._tail = (
            f'","eventName":"aws:kinesis:record","invokeIdentityArn":{_text(role_arn)},"awsRegion":{_text(region)},'
            f'"eventSourceARN":{_text(stream_arn)}}}'
        )

    def of(self, raw: Mapping[str, Any], arrived_at: float) -> bytes:
        """The record's element of `Records` as JSON.

        Args:
            raw: in the API's member names; `SequenceNumber` decimal digits, `Data` base64 text or bytes.
            arrived_at: its `ApproximateArrivalTimestamp` as `epoch_seconds` has it.
        """
        number, key, data = raw["SequenceNumber"], raw["PartitionKey"], raw["Data"]
        # Nothing that base64 is made of has to be escaped, nor most keys; whatever else there may be is.
        key = f'"{key}"' if is_plain(key) else _text(key)
        data = f'"{data}"' if type(data) is str and is_plain(data) else _text(_base64(data))
        if arrived_at != self._time:
            self._time, self._time_text = arrived_at, repr(arrived_at)
        return (
            f'{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":{key},"sequenceNumber":"{number}","data":{data},'
            f'"approximateArrivalTimestamp":{self._time_text}{self._after_number}{number}{self._tail}'
        ).encode()

    def of_all(self, raws: Sequence[Mapping[str, Any]], arrived_at: Sequence[float]) -> list[bytes]:
        """`of` for the records of a page: what has to be asked of their texts is asked of all of them at once."""
        keys, data = [raw["PartitionKey"] for raw in raws], [raw["Data"] for raw in raws]
        if not all_plain(keys, data):
            return [self.of(raw, moment) for raw, moment in zip(raws, arrived_at, strict=True)]
        numbers = [raw["SequenceNumber"] for raw in raws]
        times = {moment: repr(moment) for moment in set(arrived_at)}
        after_number, tail = self._after_number, self._tail
        return [
            (
                f'{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{key}","sequenceNumber":"{number}","data":"{blob}",'
                f'"approximateArrivalTimestamp":{times[moment]}{after_number}{number}{tail}'
            ).encode()
            for number, key, blob, moment in zip(numbers, keys, data, arrived_at, strict=True)
        ]


def dynamodb_record(raw: Mapping[str, Any], *, stream_arn: str, region: str) -> dict[str, Any]:
    """Turn a record of DynamoDB Streams GetRecords into its element of `Records`.

    What the record does not have, by its view type or its kind of change, is absent from the event, never null.
    `eventVersion` is always "1.1" and `eventSource` always "aws:dynamodb", whatever an emulator writes.

    Args:
        raw: in the API's member names.
        stream_arn: the ARN of the table's stream, `eventSourceARN`.
        region: the table's region, `awsRegion`.
    """
    change = raw["dynamodb"]
    dynamodb: dict[str, Any] = {}
    if change.get("ApproximateCreationDateTime") is not None:
        dynamodb["ApproximateCreationDateTime"] = epoch_seconds(change["ApproximateCreationDateTime"])
    for name in _DYNAMODB_ORDER:
        if change.get(name) is not None:
            dynamodb[name] = _plain(change[name])
    record = {
        "eventID": raw["eventID"],
        "eventName": raw["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": dynamodb,
    }
    identity = raw.get("userIdentity")
    if identity:
        record["userIdentity"] = {"type": identity.get("Type"), "principalId": identity.get("PrincipalId")}
    record["eventSourceARN"] = stream_arn
    return record


class DynamoText:
    """`encode(dynamodb_record(raw, ...))` for the records of one stream that came as JSON, in half the time.

    What is the same for all of them is encoded once, and images that hold no bytes need no copy. For records without a
    filter, which need no dict.
    """

    __slots__ = ("_before_change", "_region", "_stream_arn", "_tail")

    def __init__(self, *, stream_arn: str, region: str) -> None:
        self._stream_arn, self._region = stream_arn, region
        self._before_change = (
            f'","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":{_text(region)},"dynamodb":'.encode()
        )
        self._tail = f',"eventSourceARN":{_text(stream_arn)}}}'.encode()

    def of_all(self, raws: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """The records' elements of `Records` as JSON. What is not usual about one goes the plain way.

        Args:
            raws: in the API's member names, as JSON has them: binaries are base64 text, times are numbers.
        """
        return [self._of(raw) for raw in raws]

    def _of(self, raw: Mapping[str, Any]) -> bytes:
        event_id, name, given = raw["eventID"], raw["eventName"], raw["dynamodb"]
        try:
            if raw.get("userIdentity") or not is_plain(event_id + name):
                return self._plainly(raw)
            change: dict[str, Any] = {}
            if (moment := given.get("ApproximateCreationDateTime")) is not None:
                change["ApproximateCreationDateTime"] = epoch_seconds(moment)
            for member in _DYNAMODB_ORDER:
                if (value := given.get(member)) is not None:
                    change[member] = value
            text = to_json(change)
        except (TypeError, PydanticSerializationError, UnicodeEncodeError):
            return self._plainly(raw)
        head = f'{{"eventID":"{event_id}","eventName":"{name}'.encode()
        return b"".join((head, self._before_change, text, self._tail))

    def _plainly(self, raw: Mapping[str, Any]) -> bytes:
        return encode(dynamodb_record(raw, stream_arn=self._stream_arn, region=self._region))


def ordering_key_of_item(keys: Mapping[str, Mapping[str, Any]]) -> str:
    """The text that names an item by its `Keys`: equal for the same item, different for another.

    Attributes are sorted, and numbers brought to one spelling: an emulator may repeat a number as it was written
    (`1`, `1.0`), and the item is still the same one.
    """
    return json.dumps(
        [
            [name, kind, _number(value) if kind == "N" else _base64(value)]
            for name, attribute in sorted(keys.items())
            for kind, value in attribute.items()
        ],
        separators=(",", ":"),
    )


def stream_event(records: Iterable[Record], *, window: WindowFields | None = None) -> bytes:
    """The event of a batch, as UTF-8 JSON; `records` may be empty at the end of a window."""
    event = join(records)
    if window is None:
        return event
    head = {"window": {"start": iso_second(window.start), "end": iso_second(window.end)}}
    tail = {
        "shardId": window.shard_id,
        "eventSourceARN": window.stream_arn,
        "isFinalInvokeForWindow": window.final,
        "isWindowTerminatedEarly": window.terminated_early,
    }
    return b"".join((event[:-1], b",", encode(head)[1:-1], b',"state":', window.state, b",", encode(tail)[1:]))


def epoch_seconds(moment: float | datetime) -> float:
    """A time of GetRecords as epoch seconds, to the millisecond. A `datetime` without a zone is taken as UTC."""
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    seconds = float(moment)
    # `round` takes its time; what came with milliseconds, as it usually does, is told by a division.
    return seconds if abs(seconds) < _EXACT and round(seconds * 1000) / 1000 == seconds else round(seconds, 3)


def epochs(moments: Sequence[float | datetime]) -> list[float]:
    """`epoch_seconds` of each; many records of a page come in the same millisecond."""
    known = {moment: epoch_seconds(moment) for moment in set(moments)}
    return [known[moment] for moment in moments]


def iso_second(second: int) -> str:
    """Epoch seconds as `2020-12-09T07:04:00Z`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def all_plain(*columns: list[str]) -> bool:
    """Whether all texts are their own JSON."""
    try:
        return not any("".join(column).encode().translate(None, PLAIN) for column in columns)
    except (TypeError, UnicodeEncodeError):  # bytes, or half a surrogate pair
        return False


def _text(value: str) -> str:
    return encode(value).decode()


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _plain(value: Any) -> Any:
    """The value with all bytes in it as base64 text: `B` and `BS` wherever they stand, in lists and maps too."""
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _number(text: str) -> str:
    """One spelling for equal numbers; text that is none is left alone, equal only to itself."""
    try:
        number = Decimal(text).normalize(_DYNAMODB_DIGITS)
    except DecimalException:
        return text
    return str(number) if number else "0"
