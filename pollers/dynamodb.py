"""DynamoDB Streams: `StreamApi` through aiobotocore, records as they came [specification B.2].

The service knows no `AT_TIMESTAMP`, but a shard that was started at `LATEST` needs it to start again at the same place
(see `esmd.pollers.streams`). It is made up here: read from `TRIM_HORIZON` and leave out the older records. The iterator
carries the time until the first record that is young enough:

| iterator             | read gives                                            | next iterator                     |
|----------------------|-------------------------------------------------------|-----------------------------------|
| the service's own    | all records                                           | the service's own                 |
| `from:<time>:<own>`  | records from that second on, if any has come by now   | the service's own after the first |
| `from:<time>:<own>`  | none: all were older                                  | `from:<time>:<own>`               |
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from esmd.pollers.boto_stream import BotoStream
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.streams import (
    TRIM_HORIZON,
    Page,
    Place,
    Seek,
    Shard,
    StreamInfo,
    check_numbers,
    check_progress,
    described,
    epoch_text,
    first_iterator,
    next_iterator,
    records_of,
    shards_in,
    stream_failure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.pollers.streams import StreamClients

LIST_PAGE = 100
"""Most shards in one answer of DescribeStream."""

RETENTION = 24 * 3600.0
"""How long the service keeps every record, in seconds; it is not configurable."""

LATEST_LABEL = "latest"
"""Stands for the label of a table's latest stream, which nobody knows before the table is made."""

_FROM = "from:"


class BotoDynamoStreams(BotoStream):
    """`StreamApi` of a DynamoDB table's stream."""

    service = "dynamodbstreams"

    def __init__(self, clients: StreamClients, *, stream_arn: str, region: str) -> None:
        super().__init__(clients, stream_arn=stream_arn, region=region)
        table, _, label = stream_arn.partition("/stream/")
        self._table = table if label == LATEST_LABEL else None

    async def describe(self) -> StreamInfo:
        """See `StreamApi.describe`.

        The label `latest` is looked up anew each time: switching the stream off and on makes another one.
        """
        if self._table is not None:
            self._arn = await self._latest(self._table)
        found = await self._describe_page("describe", Limit=1)
        return StreamInfo(
            arn=found.get("StreamArn") or self._arn,
            created_at=epoch_text(found.get("CreationRequestDateTime")),
            retention=RETENTION,
            status=found.get("StreamStatus", "ENABLED"),
        )

    async def _latest(self, table_arn: str) -> str:
        """The ARN of a table's latest stream."""
        name = table_arn.rpartition("/")[2]
        try:
            answer = await self._describe_table(name)
            arn: str | None = described(answer, "Table").get("LatestStreamArn")
        except Exception as error:
            raise stream_failure(error, "describe", stream_arn=f"{table_arn}/stream/{LATEST_LABEL}") from error
        if not arn:
            raise SourceError(Failure(Kind.RECONFIGURE, "StreamDisabled", f"the table {name} has no stream"))
        return arn

    async def _describe_table(self, name: str) -> Mapping[str, Any]:
        client, _ = await self._clients.client("dynamodb", self._region, raw=True)
        answer: Mapping[str, Any] = await client.describe_table(TableName=name)
        return answer

    async def list_shards(self) -> list[Shard]:
        """See `StreamApi.list_shards`."""
        shards: dict[str, Shard] = {}
        after: dict[str, Any] = {}
        while True:
            found = await self._describe_page("list", Limit=LIST_PAGE, **after)
            page = shards_in(found)
            last = found.get("LastEvaluatedShardId")
            check_progress(page, shards, more=bool(last))
            shards.update((shard.id, shard) for shard in page)
            if not last:
                return list(shards.values())
            after = {"ExclusiveStartShardId": last}

    async def _describe_page(self, call: Literal["describe", "list"], **request: Any) -> Mapping[str, Any]:
        try:
            answer = await self._look_up("describe_stream", {"StreamArn": self._arn, **request})
            return described(answer, "StreamDescription")
        except Exception as error:
            raise stream_failure(error, call, stream_arn=self._arn) from error

    async def iterator(self, shard_id: str, position: Seek) -> str:
        """See `StreamApi.iterator`."""
        known = TRIM_HORIZON if position.place is Place.AT_TIMESTAMP else position
        request = {"StreamArn": self._arn, "ShardId": shard_id, "ShardIteratorType": known.place.value}
        if known.sequence_number is not None:
            request["SequenceNumber"] = known.sequence_number
        try:
            answer = await self._get_shard_iterator(request)
            iterator = first_iterator(answer)
        except Exception as error:
            raise stream_failure(error, "iterator", stream_arn=self._arn, position=position) from error
        # The service's times are whole seconds, so the second in question counts in full.
        return iterator if position.timestamp is None else f"{_FROM}{math.floor(position.timestamp)}:{iterator}"

    async def read(self, iterator: str, limit: int) -> Page:
        """See `StreamApi.read`."""
        prefix, start, own = _taken_apart(iterator)
        try:
            answer = await self._get_records({"ShardIterator": own, "Limit": limit})
        except Exception as error:
            raise stream_failure(error, "read", stream_arn=self._arn) from error
        records = records_of(answer)
        check_numbers(records, within="dynamodb")
        following = next_iterator(answer)
        if start is not None:
            young = next((n for n, record in enumerate(records) if _arrived(record) >= start), len(records))
            records = records[young:]
            if not records and following:
                following = prefix + following
        return Page(records, following)


def _taken_apart(iterator: str) -> tuple[str, float | None, str]:
    """What to put before the next iterator, the time it stands for, and the service's own iterator."""
    if not iterator.startswith(_FROM):
        return "", None, iterator
    time, _, own = iterator.removeprefix(_FROM).partition(":")
    return f"{_FROM}{time}:", float(time), own


def _arrived(record: Mapping[str, Any]) -> float:
    """When a record was made; one that does not say, or not in seconds, counts as young."""
    made = record["dynamodb"].get("ApproximateCreationDateTime")
    return made if isinstance(made, int | float) and not math.isnan(made) else math.inf
