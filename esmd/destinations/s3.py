"""Failure records as objects of an S3 bucket, the whole event that failed included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.destinations.base import FailureMessage, destination_error, not_accepted

if TYPE_CHECKING:
    from esmd.mappings.destinations import DestinationArn
    from esmd.pollers.localstack import LocalStackClients


class S3Destination:
    """`Destination` with PutObject.

    On a configured endpoint the bucket goes into the path, as it does for every endpoint that is not AWS's own: no
    emulator needs a name of its own per bucket.

    Args:
        arn: the bucket.
        clients: where the client comes from.
        region: where the bucket is taken to be, since its ARN does not say; the client follows AWS's redirects.
    """

    def __init__(self, arn: DestinationArn, clients: LocalStackClients, *, region: str) -> None:
        self._arn = arn
        self._clients = clients
        self._region = region

    @property
    def arn(self) -> DestinationArn:
        """See `Destination.arn`."""
        return self._arn

    async def check(self) -> None:
        """See `Destination.check`."""
        try:
            client, _ = await self._clients.client("s3", self._region)
            await client.head_bucket(Bucket=self._arn.name)
        except Exception as error:
            raise destination_error(error, self._arn) from error

    async def send(self, message: FailureMessage) -> None:
        """See `Destination.send`."""
        try:
            client, _ = await self._clients.client("s3", self._region)
            answer = await client.put_object(
                Bucket=self._arn.name,
                Key=message.s3_key,
                Body=message.s3_body.encode(),
                ContentType="application/json",
            )
        except Exception as error:
            raise destination_error(error, self._arn) from error
        if not answer.get("ETag"):
            raise not_accepted(self._arn, "ETag")
