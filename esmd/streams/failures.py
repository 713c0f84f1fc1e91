"""Delivering failure records: the shard waits until the on-failure destination has accepted one.

| destination | `on_destination_failure` | it does not accept           | afterwards                         |
|-------------|--------------------------|------------------------------|------------------------------------|
| none        | any                      | -                            | the records are dropped            |
| one         | `block`                  | again, later each time       | when it accepts, the shard goes on |
| one         | `drop`                   | three tries, as AWS gives up | the records are dropped            |
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

from esmd.destinations.base import FailureMessage
from esmd.mappings.backoff import delay
from esmd.mappings.failures import Origin, invocation_object, invocation_record, object_key
from esmd.observe import stream_events as say
from esmd.pollers.errors import SourceError
from esmd.waiting import stopped_before

if TYPE_CHECKING:
    from esmd.destinations.base import Destination
    from esmd.mappings.commands import Discard
    from esmd.streams.settings import Surroundings

_TRIES_BEFORE_DROP = 3


class StoppedError(Exception):
    """The mapping stopped before the destination accepted: the records stay unresolved and come again."""


async def give_up(
    around: Surroundings, shard_id: str, discard: Discard, *, request_id: str, event: bytes
) -> str | None:
    """Take care of records that are given up; the destination that has their failure record, None if they are dropped.

    Args:
        around: of the mapping.
        shard_id: where the records come from.
        discard: what is given up, and why.
        request_id: of the last invocation.
        event: of these records, for S3.

    Raises:
        StoppedError: see there.
    """
    if around.destination is None:
        return None
    message = _message(around, shard_id, discard, request_id, event)
    return await _send(around, around.destination, shard_id, discard, message)


async def _send(
    around: Surroundings, destination: Destination, shard_id: str, discard: Discard, message: FailureMessage
) -> str | None:
    settings = around.settings
    name = str(destination.arn)
    failures = 0
    while True:
        try:
            await destination.send(message)
        except SourceError as error:
            failures += 1
            dropping = settings.on_destination_failure == "drop" and failures >= _TRIES_BEFORE_DROP
            wait = None if dropping else delay(failures, initial=0.5, maximum=60)
            around.telemetry.emit(
                say.DestinationFailed(
                    mapping=settings.name,
                    shard=shard_id,
                    destination=name,
                    error_type=error.failure.code,
                    error_message=error.failure.message,
                    failures=failures,
                    retry_in_s=wait,
                )
            )
            if wait is None:
                return None
            if await stopped_before(around.stop, asyncio.get_running_loop().time() + wait):
                raise StoppedError from error
        else:
            around.telemetry.emit(
                say.DestinationSent(
                    mapping=settings.name,
                    shard=shard_id,
                    destination=name,
                    condition=discard.condition,
                    records=len(discard.records),
                )
            )
            return name


def _message(around: Surroundings, shard_id: str, discard: Discard, request_id: str, event: bytes) -> FailureMessage:
    settings = around.settings
    origin = Origin(
        kind=settings.source,
        shard_id=shard_id,
        stream_arn=settings.stream_arn,
        function_arn=settings.function_arn,
    )
    now = around.wall()
    return FailureMessage(
        body=invocation_record(discard, origin, request_id=request_id, now=now),
        s3_key=object_key(origin, mapping_id=settings.mapping_id, now=now, unique=str(uuid4())),
        s3_body=invocation_object(
            discard,
            origin,
            request_id=request_id,
            now=now,
            event=event,
            payload_as="object" if settings.payload_as_object else "string",
        ),
    )
