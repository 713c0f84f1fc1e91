"""The right kind of destination for an ARN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.destinations.s3 import S3Destination
from esmd.destinations.sns import SnsDestination
from esmd.destinations.sqs import SqsDestination

if TYPE_CHECKING:
    from esmd.destinations.base import Destination
    from esmd.mappings.destinations import DestinationArn
    from esmd.pollers.localstack import LocalStackClients


def make_destination(arn: DestinationArn, clients: LocalStackClients, *, region: str) -> Destination:
    """A destination, nothing called yet.

    Args:
        arn: from `esmd.mappings.destinations.parse_destination`, which has refused what cannot be one.
        clients: where its client comes from.
        region: the stream's region; only for a bucket, whose ARN names none.
    """
    match arn.service:
        case "sqs":
            return SqsDestination(arn, clients)
        case "sns":
            return SnsDestination(arn, clients)
        case "s3":
            return S3Destination(arn, clients, region=region)
