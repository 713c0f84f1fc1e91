"""Destinations that somebody cancels: a record that was accepted has been sent, and the next call works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from esmd.destinations.base import FailureMessage
from esmd.destinations.factory import make_destination
from esmd.mappings.destinations import parse_destination
from esmd.pollers.localstack import Connection

from support.asked import asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.walker import How, Walk

_MESSAGE = FailureMessage(body='{"version":"1.0"}', s3_key="aws/lambda/id/shard/2026", s3_body="{}")
_SENDS = {"send_message", "publish", "put_object"}
_ANSWER = {"QueueUrl": "http://sqs.example:1/000000000000/failed", "MessageId": "1", "ETag": '"x"'}


class _Clients:
    """Stands for `LocalStackClients`: every call takes a moment and is answered."""

    def __init__(self) -> None:
        self.sent = 0

    async def client(self, _service: str, region: str | None) -> tuple[Any, Connection]:
        await asyncio.sleep(0.1)
        return self, Connection(endpoint_url="http://localhost:4566", region=region, dummy_credentials=True)

    def __getattr__(self, operation: str) -> Any:
        async def call(**_: Any) -> dict[str, Any]:
            await asyncio.sleep(0.1)
            self.sent += operation in _SENDS
            return _ANSWER

        return call


class DestinationScenario:
    """One destination, looked at and sent to. Call it with a walk."""

    hows: ClassVar[Sequence[How]] = ("cut", "late")

    def __init__(self, arn: str) -> None:
        self._arn = arn

    async def __call__(self, _: Walk) -> None:
        """See that every record that was accepted has been sent."""
        clients = _Clients()
        destination = make_destination(parse_destination(self._arn), clients, region="us-west-2")  # type: ignore[arg-type]
        # First without having been looked at.
        for number in (1, 2):
            await asked(lambda: destination.send(_MESSAGE))
            assert clients.sent >= number
            await asked(destination.check)


SCENARIOS: dict[str, Any] = {
    "SQS": DestinationScenario("arn:aws:sqs:eu-west-1:000000000000:failed"),
    "SNS": DestinationScenario("arn:aws:sns:eu-west-1:000000000000:failed"),
    "S3": DestinationScenario("arn:aws:s3:::failed"),
}
