"""Does the source exist, and does it fit: what AWS asks before it takes a mapping [specification A.1, B.1].

| what is found                                   | what happens                                                    |
|-------------------------------------------------|-----------------------------------------------------------------|
| no such queue or stream                         | refused, in AWS's words                                         |
| visibility timeout below the function's timeout | refused, in AWS's words                                         |
| no answer, no permission, anything else         | taken: the mapping says itself what is wrong, and heals         |
| an endpoint that may not be used                | not asked; the daemon refuses such a mapping itself             |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from esmd.assembly import SERVICES
from esmd.config.aws import is_local
from esmd.config.schema import KinesisMapping, SqsMapping
from esmd.functions import place_of
from esmd.pollers.dynamodb import BotoDynamoStreams
from esmd.pollers.errors import SourceError, classify
from esmd.pollers.kinesis import BotoKinesis
from esmd.pollers.sqs import BotoSqs

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from esmd.config.schema import AnyMapping
    from esmd.pollers.localstack import LocalStackClients

_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException"})


class Probe(Protocol):
    """Looks at a mapping's source."""

    async def objection(self, mapping: AnyMapping, *, longest: float | None) -> str | None:
        """Why AWS would not take the mapping; None where nothing is against it.

        Args:
            mapping: valid in itself.
            longest: most seconds of an invocation; None where that is not known.
        """
        ...


class SourceProbe:
    """A probe that asks the services.

    Args:
        clients: opens clients; for each probe anew, since probes are rare and the daemon's own belong to its mappings.
        allow_remote: whether an endpoint that is not local may be asked.
    """

    def __init__(
        self, clients: Callable[[], AbstractAsyncContextManager[LocalStackClients]], *, allow_remote: bool
    ) -> None:
        self._clients = clients
        self._allow_remote = allow_remote

    async def objection(self, mapping: AnyMapping, *, longest: float | None) -> str | None:
        """See `Probe.objection`."""
        async with self._clients() as clients:
            try:
                if not (self._allow_remote or await _is_local(mapping, clients)):
                    return None
                if isinstance(mapping, SqsMapping):
                    return await _queue_objection(mapping, clients, longest)
                kind = BotoKinesis if isinstance(mapping, KinesisMapping) else BotoDynamoStreams
                await kind(clients, stream_arn=mapping.event_source_arn, region=mapping.stream.region).describe()
            except SourceError as error:
                if error.failure.code not in _MISSING:
                    return None
                if isinstance(mapping, SqsMapping):
                    return error.failure.message
                return f"Stream not found: {mapping.event_source_arn}"
        return None


async def _is_local(mapping: AnyMapping, clients: LocalStackClients) -> bool:
    """Whether a mapping's source is where nobody's production is. Nothing is called."""
    region, _ = place_of(mapping)
    try:
        client, _ = await clients.client(SERVICES[mapping.source], region)
    except Exception as error:
        raise SourceError(classify(error)) from error
    return is_local(client.meta.endpoint_url)


async def _queue_objection(mapping: SqsMapping, clients: LocalStackClients, longest: float | None) -> str | None:
    where = mapping.queue
    api = BotoSqs(clients, region=where.region, account_id=where.account_id, queue_name=where.name)
    queue = await api.look_up()
    if longest is None or queue.visibility_timeout >= longest or mapping.visibility_heartbeat:
        return None
    return (
        f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than "
        f"Function timeout: {longest:g} seconds"
    )
