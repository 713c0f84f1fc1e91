"""Kinesis data streams: `StreamApi` through aiobotocore, records as they came [specification B.2]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esmd.pollers.boto_stream import BotoStream
from esmd.pollers.errors import SourceError
from esmd.pollers.streams import (
    Page,
    Seek,
    Shard,
    StreamInfo,
    check_numbers,
    check_progress,
    child_of,
    described,
    epoch_text,
    first_iterator,
    next_iterator,
    records_of,
    shards_in,
    stream_failure,
)

if TYPE_CHECKING:
    from esmd.pollers.streams import StreamClients

LIST_PAGE = 1000
"""Most shards in one answer of ListShards, and its default."""


class BotoKinesis(BotoStream):
    """`StreamApi` of a Kinesis stream.

    Calls name the stream by ARN and by name: AWS wants the ARN, older emulators only know the name.

    `AT_TIMESTAMP` is sent to the millisecond, rounded down; older releases of botocore make whole seconds of it. A mapping
    that starts within a second may so get records from that second's beginning.
    """

    service = "kinesis"

    def __init__(self, clients: StreamClients, *, stream_arn: str, region: str) -> None:
        super().__init__(clients, stream_arn=stream_arn, region=region)
        self._named = {"StreamARN": stream_arn, "StreamName": stream_arn.partition("/")[2]}

    async def describe(self) -> StreamInfo:
        """See `StreamApi.describe`."""
        try:
            answer = await self._look_up("describe_stream_summary", self._named)
            found = described(answer, "StreamDescriptionSummary")
        except Exception as error:
            raise stream_failure(error, "describe", stream_arn=self._arn) from error
        hours = found.get("RetentionPeriodHours")
        return StreamInfo(
            arn=found.get("StreamARN") or self._arn,
            created_at=epoch_text(found.get("StreamCreationTimestamp")),
            retention=None if hours is None else hours * 3600.0,
            status=found.get("StreamStatus", "ACTIVE"),
        )

    async def list_shards(self) -> list[Shard]:
        """See `StreamApi.list_shards`."""
        shards: dict[str, Shard] = {}
        request: dict[str, Any] = {**self._named, "MaxResults": LIST_PAGE}
        while True:
            page, token = await self._list_page(request, shards)
            check_progress(page, shards, more=token is not None)
            shards.update((shard.id, shard) for shard in page)
            if token is None:
                return list(shards.values())
            request = {"NextToken": token, "MaxResults": LIST_PAGE}

    async def _list_page(self, request: dict[str, Any], shards: dict[str, Shard]) -> tuple[list[Shard], str | None]:
        """One page, and the token for the next.

        Where a token is not taken (some emulators want the name beside it, which AWS refuses; or it got too old), the
        listing goes on behind the last shard it has.
        """
        try:
            return await self._list(request)
        except SourceError as error:
            if "NextToken" not in request or not error.failure.status or not shards:
                raise
        return await self._list(
            {**self._named, "ExclusiveStartShardId": next(reversed(shards)), "MaxResults": LIST_PAGE}
        )

    async def _list(self, request: dict[str, Any]) -> tuple[list[Shard], str | None]:
        try:
            answer = await self._look_up("list_shards", request)
            return shards_in(answer), answer.get("NextToken") or None
        except Exception as error:
            raise stream_failure(error, "list", stream_arn=self._arn) from error

    async def iterator(self, shard_id: str, position: Seek) -> str:
        """See `StreamApi.iterator`."""
        request: dict[str, Any] = {**self._named, "ShardId": shard_id, "ShardIteratorType": position.place.value}
        if position.timestamp is not None:
            request["Timestamp"] = math.floor(position.timestamp * 1000) / 1000
        if position.sequence_number is not None:
            request["StartingSequenceNumber"] = position.sequence_number
        try:
            answer = await self._get_shard_iterator(request)
            iterator = first_iterator(answer)
        except Exception as error:
            raise stream_failure(error, "iterator", stream_arn=self._arn, position=position) from error
        return iterator

    async def read(self, iterator: str, limit: int) -> Page:
        """See `StreamApi.read`."""
        try:
            answer = await self._get_records({"StreamARN": self._arn, "ShardIterator": iterator, "Limit": limit})
        except Exception as error:
            raise stream_failure(error, "read", stream_arn=self._arn) from error
        records = records_of(answer)
        check_numbers(records)
        behind = answer.get("MillisBehindLatest")
        return Page(
            records=records,
            next_iterator=next_iterator(answer),
            millis_behind=behind if isinstance(behind, int) else None,
            children=tuple(map(child_of, answer.get("ChildShards") or ())),
        )
