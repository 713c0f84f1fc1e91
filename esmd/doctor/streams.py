"""Is the stream of a mapping there and active, and would its failure records arrive?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.config.schema import KinesisMapping
from esmd.destinations.factory import make_destination
from esmd.doctor.findings import advice, ok, problem
from esmd.doctor.surroundings import LONGEST
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.kinesis import BotoKinesis

if TYPE_CHECKING:
    from esmd.config.schema import StreamMapping
    from esmd.doctor.findings import Finding
    from esmd.doctor.surroundings import Surroundings

_READABLE = frozenset({"ACTIVE", "UPDATING", "ENABLED", "ENABLING"})
_REACHABLE = "see that the endpoint is reachable"


async def check_streams(around: Surroundings) -> list[Finding]:
    """Each stream that an enabled mapping reads."""

    async def one(mapping: StreamMapping) -> list[Finding]:
        kind = BotoKinesis if isinstance(mapping, KinesisMapping) else BotoDynamoStreams
        api = kind(around.clients, stream_arn=mapping.event_source_arn, region=mapping.stream.region)
        name = mapping.stream.name
        try:
            async with asyncio.timeout(LONGEST):
                found = await api.describe()
        except SourceError as error:
            missing = error.failure.kind is Kind.RECONFIGURE
            fix = "make the stream, or correct event_source_arn" if missing else _REACHABLE
            return [problem("stream", mapping.name, f"{name}: {error.failure.message}", fix=fix)]
        except TimeoutError:
            return [problem("stream", mapping.name, f"{name}: no answer within {LONGEST:g} s", fix=_REACHABLE)]
        if found.status not in _READABLE:
            said = f"{name} is {found.status}: what it still holds is read, and nothing new comes"
            return [advice("stream", mapping.name, said, fix="switch the stream on, or remove the mapping")]
        kept = "" if found.retention is None else f", records are kept {found.retention / 3600:g} h"
        return [ok("stream", mapping.name, f"{name} is {found.status}{kept}")]

    return await around.each(around.streams, one)


async def check_destinations(around: Surroundings) -> list[Finding]:
    """Each on-failure destination; that it is of a kind that may be one, the configuration has checked."""

    async def one(mapping: StreamMapping) -> list[Finding]:
        arn = mapping.on_failure
        if arn is None:
            return []
        try:
            async with asyncio.timeout(LONGEST):
                await make_destination(arn, around.clients, region=mapping.stream.region).check()
        except SourceError as error:
            # A right to send is enough for `esmd run`: only what is plainly missing is a problem.
            if error.failure.status == 403 or "AccessDenied" in error.failure.code:
                said = f"{arn} cannot be seen: {error.failure.message}"
                return [advice("destination", mapping.name, said, fix="nothing, if sending to it is allowed")]
            waits = (
                ""
                if mapping.on_destination_failure == "drop"
                else ": until then a record that is given up blocks its shard"
            )
            fix = f"make it, or correct destination_config{waits}"
            return [problem("destination", mapping.name, f"{arn}: {error.failure.message}", fix=fix)]
        except TimeoutError:
            return [problem("destination", mapping.name, f"{arn}: no answer within {LONGEST:g} s", fix=_REACHABLE)]
        return [ok("destination", mapping.name, f"{arn} exists")]

    return await around.each(around.streams, one)
