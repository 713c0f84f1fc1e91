"""The calls on a stream of which only the ARN is known: for commands, which make few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.config.values import stream_arn
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.kinesis import BotoKinesis

if TYPE_CHECKING:
    from esmd.pollers.streams import StreamApi, StreamClients


def stream_of(arn: str, clients: StreamClients) -> StreamApi:
    """The calls on the Kinesis stream or the table's stream of that ARN, by botocore.

    Raises:
        ValueError: it is the ARN of neither.
    """
    if arn.split(":")[2:3] == ["kinesis"]:
        return BotoKinesis(clients, stream_arn=arn, region=stream_arn(arn, kind="kinesis").region)
    return BotoDynamoStreams(clients, stream_arn=arn, region=stream_arn(arn, kind="dynamodb").region)
