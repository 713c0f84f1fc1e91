"""Failure records as messages of a standard SNS topic; the topic wraps them in its own envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.destinations.base import FailureMessage, destination_error, not_accepted

if TYPE_CHECKING:
    from esmd.mappings.destinations import DestinationArn
    from esmd.pollers.localstack import LocalStackClients


class SnsDestination:
    """`Destination` with Publish."""

    def __init__(self, arn: DestinationArn, clients: LocalStackClients) -> None:
        self._arn = arn
        self._clients = clients

    @property
    def arn(self) -> DestinationArn:
        """See `Destination.arn`."""
        return self._arn

    async def check(self) -> None:
        """See `Destination.check`."""
        try:
            client, _ = await self._clients.client("sns", self._arn.region)
            await client.get_topic_attributes(TopicArn=str(self._arn))
        except Exception as error:
            raise destination_error(error, self._arn) from error

    async def send(self, message: FailureMessage) -> None:
        """See `Destination.send`."""
        try:
            client, _ = await self._clients.client("sns", self._arn.region)
            answer = await client.publish(TopicArn=str(self._arn), Message=message.body)
        except Exception as error:
            raise destination_error(error, self._arn) from error
        if not answer.get("MessageId"):
            raise not_accepted(self._arn, "MessageId")
