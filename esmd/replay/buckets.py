"""Failure records in S3: the objects under a prefix, in the order of their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.pollers.errors import SourceError, classify
from esmd.replay.sources import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE = 100
"""Objects that are listed at once."""


class BucketSource:
    """`ReplaySource` of a prefix.

    Args:
        client: of S3.
        bucket: its name.
        prefix: what keys begin with; empty for all.
        delete: whether what was replayed is deleted.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, *, delete: bool) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._delete = delete
        self._after = ""
        self.left_alone = 0

    async def count(self) -> None:
        """See `ReplaySource.count`."""

    async def next(self) -> Sequence[Item]:
        """See `ReplaySource.next`."""
        try:
            answer = await self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix, StartAfter=self._after, MaxKeys=_PAGE
            )
            keys = [each["Key"] for each in answer.get("Contents", ()) if each["Key"] > self._after]
            items = [Item(key, await self._read(key), {"key": key}) for key in keys]
        except Exception as error:
            raise SourceError(classify(error)) from error
        if keys:
            self._after = keys[-1]
        return items

    async def _read(self, key: str) -> str:
        answer = await self._client.get_object(Bucket=self._bucket, Key=key)
        async with answer["Body"] as body:
            data: bytes = await body.read()
        return data.decode(errors="surrogateescape")  # what is no text is no failure record, and said to be none

    async def done(self, items: Sequence[Item]) -> Sequence[str]:
        """See `ReplaySource.done`."""
        if not self._delete:
            return ()
        failed = []
        for item in items:
            try:
                await self._client.delete_object(Bucket=self._bucket, Key=item.origin["key"])
            except Exception as error:  # noqa: BLE001 - whatever it is, the object is still there
                failed.append(f"{item.name}: {classify(error).message}")
        return failed

    async def release(self) -> None:
        """See `ReplaySource.release`."""
