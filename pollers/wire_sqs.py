"""`SqsApi` over the lean client.

| where to send and as whom  | looking a queue up | all else |
|----------------------------|--------------------|----------|
| plain                      | wire               | wire     |
| botocore's to say          | botocore           | wire     |
| after a fall back          | botocore           | botocore |
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import encode
from esmd.pollers.errors import SourceError
from esmd.pollers.sqs import (
    ALL_MEMBERS,
    COUNTS,
    LOOKED_AT,
    MAX_RECEIVE,
    BotoSqs,
    Queue,
    checked_messages,
    depth_of,
    entry_failures,
    look_up_failure,
    queue_of,
    url_of,
)
from esmd.pollers.wire import ANSWER_SECONDS, LOOK_UP_SECONDS, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esmd.pollers.localstack import LocalStackClients
    from esmd.pollers.sqs import Depth, EntryFailure
    from esmd.pollers.wire_clients import Lane, WireClients

RECEIVE = Target("AmazonSQS.ReceiveMessage", "1.0", repeatable=False, polls=True, query_mode=True)
DELETE = Target("AmazonSQS.DeleteMessageBatch", "1.0", query_mode=True)
CHANGE_VISIBILITY = Target("AmazonSQS.ChangeMessageVisibilityBatch", "1.0", query_mode=True)

GET_URL = Target("AmazonSQS.GetQueueUrl", "1.0", query_mode=True)
GET_ATTRIBUTES = Target("AmazonSQS.GetQueueAttributes", "1.0", query_mode=True)


class WireSqs:
    """`SqsApi`. Before the first `look_up` nothing else may be called.

    Args:
        clients: what botocore's part goes by.
        wires: what the rest does.
        region: of the queue.
        account_id: of the queue's owner.
        queue_name: without the account.
    """

    def __init__(
        self, clients: LocalStackClients, wires: WireClients, *, region: str, account_id: str, queue_name: str
    ) -> None:
        self._clients = clients
        self._wires = wires
        self._region = region
        self._named = encode({"QueueName": queue_name, "QueueOwnerAWSAccountId": account_id})
        self._boto = BotoSqs(clients, region=region, account_id=account_id, queue_name=queue_name)
        self._lane: Lane | None = None
        self._receives: dict[tuple[str, int, int, int | None], bytes] = {}
        self._all_deleted: dict[int, bytes] = {}
        """The last answer that said that so many entries were deleted: the same bytes say the same."""

    async def look_up(self) -> Queue:
        """See `SqsApi.look_up`."""
        lane = self._wires.plain_lane("sqs", self._region)
        if lane is not None and lane.is_wire:
            queue = await self._look_up_by(lane)
        else:
            queue = await self._boto.look_up()
        if lane is None:
            client, _ = await self._clients.client("sqs", self._region)
            lane = await self._wires.lane(client, "receive_message", QueueUrl=queue.url)
        self._lane = lane
        self._receives.clear()
        return queue

    async def _look_up_by(self, lane: Lane) -> Queue:
        try:
            url = url_of(await lane.ask(GET_URL, self._named, lists=(), within=LOOK_UP_SECONDS), lane.endpoint)
            answer = await _attributes(lane, url, LOOKED_AT)
        except SourceError as error:
            raise SourceError(look_up_failure(error.failure)) from error
        return queue_of(url, answer)

    async def depth(self, queue: Queue) -> Depth:
        """See `SqsApi.depth`."""
        lane = self._lane
        if lane is None or not lane.is_wire:
            return await self._boto.depth(queue)
        return depth_of(await _attributes(lane, queue.url, COUNTS))

    async def receive(
        self, queue: Queue, *, most: int, wait: int, visibility_timeout: int | None
    ) -> Sequence[Mapping[str, Any]]:
        """See `SqsApi.receive`. Binary attributes stay base64 text."""
        lane = self._lane
        if lane is None or not lane.is_wire:
            return await self._boto.receive(queue, most=most, wait=wait, visibility_timeout=visibility_timeout)
        key = (queue.url, most, wait, visibility_timeout)
        payload = self._receives.get(key)
        if payload is None:
            payload = self._receives[key] = _receive_request(*key)
        body = await lane.send(RECEIVE, payload, within=wait + ANSWER_SECONDS)
        answer = lane.read(body, lists=("Messages",))
        return checked_messages(answer.get("Messages", ()))

    async def delete(self, queue: Queue, handles: Sequence[str]) -> list[EntryFailure]:
        """See `SqsApi.delete`."""
        lane = self._lane
        if lane is None or not lane.is_wire:
            return await self._boto.delete(queue, handles)
        body = await lane.send(DELETE, delete_request(queue.url, handles))
        count = len(handles)
        if body == self._all_deleted.get(count):
            return []
        failures = entry_failures(lane.read(body, lists=("Successful", "Failed")), handles)
        if not failures:
            self._all_deleted[count] = bytes(body)
        return failures

    async def change_visibility(self, queue: Queue, timeouts: Mapping[str, int]) -> list[EntryFailure]:
        """See `SqsApi.change_visibility`."""
        lane = self._lane
        if lane is None or not lane.is_wire:
            return await self._boto.change_visibility(queue, timeouts)
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
            for n, (handle, seconds) in enumerate(timeouts.items())
        ]
        return await _settle(lane, CHANGE_VISIBILITY, queue, entries, list(timeouts))


async def _attributes(lane: Lane, url: str, names: Sequence[str]) -> dict[str, Any]:
    payload = encode({"QueueUrl": url, "AttributeNames": names})
    return await lane.ask(GET_ATTRIBUTES, payload, lists=(), within=LOOK_UP_SECONDS)


async def _settle(
    lane: Lane, target: Target, queue: Queue, entries: list[dict[str, Any]], handles: Sequence[str]
) -> list[EntryFailure]:
    payload = encode({"QueueUrl": queue.url, "Entries": entries})
    return entry_failures(await lane.ask(target, payload, lists=("Successful", "Failed")), handles)


_PLAIN = bytes(each if 32 <= each < 127 and each not in b'"\\' else 0x80 for each in range(256))
"""Turns what JSON may not hold as it is into something else. Bytes of which nothing is turned come back as they are: the
quickest way to find out, by far, and handles are long."""

_ENTRIES = tuple(f'{{"Id":"{n}","ReceiptHandle":"' for n in range(MAX_RECEIVE))


def delete_request(url: str, handles: Sequence[str]) -> bytes:
    """The body of a DeleteMessageBatch of at most 10 messages."""
    joined = "".join(handles).encode(errors="surrogatepass")
    if joined.translate(_PLAIN) is joined:
        entries = '"},'.join([entry + handle for entry, handle in zip(_ENTRIES, handles, strict=False)])
        return b'{"QueueUrl":%b,"Entries":[%b"}]}' % (_quoted(url), entries.encode())
    return encode({"QueueUrl": url, "Entries": [{"Id": str(n), "ReceiptHandle": h} for n, h in enumerate(handles)]})


@lru_cache(maxsize=1000)
def _quoted(url: str) -> bytes:
    return encode(url)


def _receive_request(url: str, most: int, wait: int, visibility_timeout: int | None) -> bytes:
    request = {"QueueUrl": url, "MaxNumberOfMessages": most, "WaitTimeSeconds": wait, **ALL_MEMBERS}
    if visibility_timeout is not None:
        request["VisibilityTimeout"] = visibility_timeout
    return encode(request)
