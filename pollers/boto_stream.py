"""The calls on a stream through aiobotocore, which both stream services have in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.pollers.streams import StreamClients

LookUp = Literal["describe_stream_summary", "list_shards", "describe_stream"]
"""Calls that find out about a stream, by botocore's names: the first two of Kinesis, the third of a table."""


class BotoStream:
    """A stream and the frequent calls on it, which both services have in the same words.

    Args:
        clients: where the client comes from.
        stream_arn: of the stream.
        region: of the stream.
    """

    service: ClassVar[str]
    """botocore's name."""

    def __init__(self, clients: StreamClients, *, stream_arn: str, region: str) -> None:
        self._clients = clients
        self._arn = stream_arn
        self._region = region
        self._one_client: Any = None

    async def _look_up(self, operation: LookUp, request: dict[str, Any]) -> Mapping[str, Any]:
        """One of the calls that find out about the stream."""
        client = await self._client()
        answer: Mapping[str, Any] = await getattr(client, operation)(**request)
        return answer

    async def _get_shard_iterator(self, request: dict[str, Any]) -> Mapping[str, Any]:
        client = await self._client()
        answer: Mapping[str, Any] = await client.get_shard_iterator(**request)
        return answer

    async def _get_records(self, request: dict[str, Any]) -> Mapping[str, Any]:
        client = await self._client()
        answer: Mapping[str, Any] = await client.get_records(**request)
        return answer

    async def _client(self) -> Any:
        if self._one_client is None:
            self._one_client, _ = await self._clients.client(self.service, self._region, raw=True)
        return self._one_client
