"""A queue as something to replay from: each message is given out once, and held until it is done or the end has come.

| what a receive brings                             | meaning                                   |
|---------------------------------------------------|-------------------------------------------|
| messages not seen before                          | they are given out                        |
| messages sent since the replay began              | held: what is sent back may fail and come again, for ever |
| messages seen before: their hiding ran out        | held again                                |
| no other messages than those, ten times in a row  | the end                                   |
| nothing                                           | the end                                   |
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from esmd.pollers.errors import Failure, Kind, SourceError, classify
from esmd.pollers.localstack import LocalStackClients, reachable_url
from esmd.pollers.sqs import ALL_MEMBERS, MAX_RECEIVE, MAX_VISIBILITY, checked_messages, entry_failures
from esmd.replay.letters import sent_at
from esmd.replay.sources import Item
from esmd.tasks import unhurried

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from esmd.replay.names import QueueName

_PAGE = 1000
"""Queues that are listed at once."""

_UNKNOWN_CALL = frozenset({"InvalidAction", "UnknownOperationException", "NotImplemented", "InternalFailure"})
"""What servers say of a call that they do not have."""

_FRUITLESS = 10
"""Receives in a row that bring nothing that is meant; then the rest is not waited for."""

_WAIT = 1
"""Seconds of a receive: with any wait all of a queue's servers are asked, without one only some."""


class ReplayQueue:
    """The calls on one queue. Made by `open`; all raise `SourceError`."""

    def __init__(self, client: Any, name: QueueName, url: str, endpoint_url: str | None, arn: str) -> None:
        self._client = client
        self._endpoint_url = endpoint_url
        self.name = name
        self.url = url
        self.arn = arn

    @classmethod
    async def open(cls, name: QueueName, clients: LocalStackClients) -> ReplayQueue:
        """Look a queue up."""
        try:
            client, connection = await clients.client("sqs", name.region)
            url = name.url
            if url is None:
                owner = {} if name.account is None else {"QueueOwnerAWSAccountId": name.account}
                url = (await client.get_queue_url(QueueName=name.name, **owner))["QueueUrl"]
            url = reachable_url(url, connection.endpoint_url)
            answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
            return cls(client, name, url, connection.endpoint_url, answer["Attributes"]["QueueArn"])
        except Exception as error:
            failure = classify(error)
            if "NonExistentQueue" in failure.code or failure.code == "QueueDoesNotExist":
                failure = Failure(Kind.RECONFIGURE, failure.code, f"there is no queue {name.name}")
            raise SourceError(failure) from error

    async def messages(self) -> int:
        """About how many messages can be received."""
        answer = await self._call(
            "get_queue_attributes", AttributeNames=["ApproximateNumberOfMessages"], QueueUrl=self.url
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    async def sources(self) -> list[str]:
        """The URLs of the queues whose dead letters come here."""
        try:
            return [url async for url in self._pages("list_dead_letter_source_queues", "queueUrls", QueueUrl=self.url)]
        except SourceError as error:
            if error.failure.code not in _UNKNOWN_CALL:
                raise
        # Some emulators do not have that call: look at every queue's own policy.
        found = []
        async for url in self._pages("list_queues", "QueueUrls"):
            answer = await self._call("get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])
            policy = answer.get("Attributes", {}).get("RedrivePolicy")
            if policy and json.loads(policy).get("deadLetterTargetArn") == self.arn:
                found.append(url)
        return found

    async def _pages(self, method: str, member: str, **request: Any) -> AsyncIterator[str]:
        """The URLs of all pages of a listing."""
        while True:
            answer = await self._call(method, MaxResults=_PAGE, **request)
            for url in answer.get(member, ()):
                yield reachable_url(url, self._endpoint_url)
            if not answer.get("NextToken"):
                return
            request["NextToken"] = answer["NextToken"]

    async def receive(self, most: int, *, visibility: int) -> Sequence[Mapping[str, Any]]:
        """Up to `most` messages, hidden for `visibility` seconds."""
        answer = await self._call(
            "receive_message",
            QueueUrl=self.url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=_WAIT,
            VisibilityTimeout=visibility,
            **ALL_MEMBERS,
        )
        return checked_messages(answer.get("Messages", ()))

    async def send(self, request: Mapping[str, Any]) -> None:
        """Send a message; returns when the queue has it."""
        answer = await self._call("send_message", QueueUrl=self.url, **request)
        if not answer.get("MessageId"):
            raise SourceError(Failure(Kind.BACK_OFF, "MalformedAnswer", "the answer has no MessageId"))

    async def delete(self, handles: Sequence[str]) -> dict[str, str]:
        """Delete up to 10 messages; why, for each handle that could not be."""
        entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
        answer = await self._call("delete_message_batch", QueueUrl=self.url, Entries=entries)
        return {each.handle: each.failure.message for each in entry_failures(answer, handles)}

    async def free(self, handles: Sequence[str]) -> None:
        """Let up to 10 messages be received again; one that is free already stays so."""
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for number, handle in enumerate(handles)
        ]
        await self._call("change_message_visibility_batch", QueueUrl=self.url, Entries=entries)

    async def _call(self, method: str, **request: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = await getattr(self._client, method)(**request)
        except Exception as error:
            raise SourceError(classify(error)) from error
        return answer


class QueueSource:
    """`ReplaySource` of a queue.

    Args:
        queue: open.
        most: messages of one receive, at most 10: those wait for each other.
        hold: seconds that each may take.
        began: when the replay began, in epoch seconds.
    """

    def __init__(self, queue: ReplayQueue, *, most: int, hold: float, began: float) -> None:
        self._queue = queue
        self._most = min(most, MAX_RECEIVE)
        self._visibility = min(MAX_VISIBILITY, round(self._most * hold) + 60)
        self._began = began
        self._held: dict[str, str] = {}
        self._seen: set[str] = set()
        self.left_alone = 0

    async def count(self) -> int:
        """See `ReplaySource.count`."""
        return await self._queue.messages()

    async def next(self) -> Sequence[Item]:
        """See `ReplaySource.next`."""
        for _ in range(_FRUITLESS):
            # To its end, also where this is cancelled: what nobody knows of stays hidden, for as long as all may take.
            messages = await unhurried(self._queue.receive(self._most, visibility=self._visibility))
            new = [message for message in messages if message["MessageId"] not in self._seen]
            # Also of those seen before: the newest handle is the one that counts.
            self._held.update((message["MessageId"], message["ReceiptHandle"]) for message in messages)
            await asyncio.sleep(0)  # where it was cancelled, that strikes now
            self._seen.update(message["MessageId"] for message in new)
            meant = [message for message in new if (sent_at(message) or 0.0) <= self._began]
            self.left_alone += len(new) - len(meant)
            if meant or not messages:
                return [Item(message["MessageId"], message.get("Body") or "", message) for message in meant]
        return ()

    async def done(self, items: Sequence[Item]) -> Sequence[str]:
        """See `ReplaySource.done`."""
        handles = {self._held.pop(item.name): item.name for item in items}
        failed = await self._queue.delete(list(handles))
        return [f"{handles[handle]}: {why}" for handle, why in failed.items()]

    async def release(self) -> None:
        """See `ReplaySource.release`."""
        handles = list(self._held.values())
        self._held.clear()
        for start in range(0, len(handles), MAX_RECEIVE):
            with contextlib.suppress(SourceError):  # they come back by themselves, later
                await self._queue.free(handles[start : start + MAX_RECEIVE])
