"""Failure records as messages of a standard SQS queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.destinations.base import FailureMessage, destination_error, not_accepted
from esmd.pollers.localstack import LocalStackClients, reachable_url

if TYPE_CHECKING:
    from esmd.mappings.destinations import DestinationArn


class SqsDestination:
    """`Destination` with GetQueueUrl and SendMessage."""

    def __init__(self, arn: DestinationArn, clients: LocalStackClients) -> None:
        self._arn = arn
        self._clients = clients
        self._url: str | None = None

    @property
    def arn(self) -> DestinationArn:
        """See `Destination.arn`."""
        return self._arn

    async def check(self) -> None:
        """See `Destination.check`."""
        try:
            await self._look_up()
        except Exception as error:
            raise destination_error(error, self._arn) from error

    async def send(self, message: FailureMessage) -> None:
        """See `Destination.send`."""
        try:
            client, _ = await self._clients.client("sqs", self._arn.region)
            url = self._url or await self._look_up()
            answer = await client.send_message(QueueUrl=url, MessageBody=message.body)
        except Exception as error:
            # The queue may have been made anew by the next time, perhaps on another server.
            self._url = None
            raise destination_error(error, self._arn) from error
        if not answer.get("MessageId"):
            raise not_accepted(self._arn, "MessageId")

    async def _look_up(self) -> str:
        client, connection = await self._clients.client("sqs", self._arn.region)
        found = await client.get_queue_url(QueueName=self._arn.name, QueueOwnerAWSAccountId=self._arn.account_id)
        self._url = url = reachable_url(found["QueueUrl"], connection.endpoint_url)
        return url
