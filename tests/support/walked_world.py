"""A queue and a stream in memory that a whole daemon finds in place of AWS's, and the function that handles what is in them."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from esmd.assembly import connect
from esmd.config.schema import Config, KinesisMapping
from esmd.pollers.localstack import LocalStackClients
from esmd.state.memory import MemoryStateStore
from esmd.testing.fake_streams import EngineStream
from esmd.testing.queues import QueueEngine
from esmd.testing.stream_engine import StreamEngine

from support.control_lab import function, mapping
from support.mapping_lab import ScriptedInvoker
from support.stream_lab import data_of
from support.walked_sqs import Strict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esmd.config.schema import AnyMapping
    from esmd.pollers.plain import Plain

QUEUE = "orders"
STREAM = "clicks"


class SlowClients(LocalStackClients):
    """Has to ask botocore where anything is, which takes a moment; so does letting go of it all."""

    def plain(self, service: str, region: str | None) -> Plain | None:
        return None

    async def client(self, service: str, region: str | None, **_: Any) -> Any:
        await asyncio.sleep(0.001)
        return SimpleNamespace(meta=SimpleNamespace(endpoint_url="http://127.0.0.1:1")), self._connect(service, region)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.001)


class SavingStore(MemoryStateStore):
    """Takes a while to save."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def save(self, mapping: str, identity: Any, *progress: Any) -> None:
        await asyncio.sleep(self._seconds)
        await super().save(mapping, identity, *progress)


class _Hasty(Strict):
    """Waits for messages for a moment only."""

    async def receive(self, *args: Any, wait: float, **options: Any) -> Sequence[Any]:
        return await super().receive(*args, wait=min(wait, 0.02), **options)


class World:
    """Make it inside the running loop.

    Args:
        bodies: of the messages in the queue, and of the records in the stream.
    """

    def __init__(self, bodies: Sequence[str], *, seconds: float = 0.1) -> None:
        self.bodies = list(bodies)
        self.handled: dict[str, list[str]] = {QUEUE: [], STREAM: []}
        self.invokers: list[ScriptedInvoker] = []
        self._seconds = seconds
        self._queues = QueueEngine()
        self._queues.create_queue(QUEUE, {"VisibilityTimeout": "2"})
        self._streams = StreamEngine()
        self.arn = self._streams.create_stream(STREAM)
        self.api = _Hasty(self._queues, QUEUE, lambda body: body in self.handled[QUEUE])
        self.numbers = [self._streams.put(STREAM, "key", body.encode())[1] for body in bodies]
        """The records' sequence numbers."""
        for body in bodies:
            self._queues.send(QUEUE, body)

    @property
    def mappings(self) -> list[AnyMapping]:
        """Of the queue, and of the stream."""
        stream = KinesisMapping(
            name=STREAM,
            event_source_arn=self.arn,
            function_name="f",
            starting_position="TRIM_HORIZON",
            batch_size=1,
        )
        return [mapping(QUEUE), stream]

    def config(self, *mappings: AnyMapping, **sections: Any) -> Config:
        """With these mappings; with all where there is none."""
        chosen = mappings or self.mappings
        return Config(functions={"f": function(timeout=1)}, mappings={each.name: each for each in chosen}, **sections)

    @contextlib.contextmanager
    def installed(self, clients: str) -> Iterator[None]:
        """Inside, daemons find it.

        Args:
            clients: the name by which the clients are made.
        """
        with (
            patch(clients, self._clients),
            patch("esmd.assembly.WireSqs", lambda *_, **__: self.api),
            patch("esmd.assembly.stream_api", lambda *_: EngineStream(self._streams, self.arn)),
            patch("esmd.functions.make_invoker", self._invoker),
            patch("esmd.sqs.runner._SHORTEST_EMPTY_POLL", 0.01),
        ):
            try:
                yield
            finally:
                self._queues.close()

    @property
    def queue_is_empty(self) -> bool:
        """Whether nothing is left in it."""
        counts = self._queues.counts(QUEUE)
        return not (counts.visible or counts.inflight or counts.delayed)

    @property
    def all_handled(self) -> bool:
        """Whether every body was, of both, and nothing is left in the queue."""
        return self.queue_is_empty and all(set(self.bodies) <= set(done) for done in self.handled.values())

    def judge(self) -> None:
        """Nothing was deleted that was not handled, and nothing runs on."""
        assert self.api.wrong == []
        assert [each.running for each in self.invokers if each.running] == []
        assert self.api.receiving == 0

    def _clients(self, settings: Any, environ: Any) -> LocalStackClients:
        return SlowClients(
            lambda service, region, *url: connect(service, region, *url, settings=settings, environ=environ),
            profile=None,
            pool=1,
        )

    def _invoker(self, *_: Any, **__: Any) -> ScriptedInvoker:
        made = ScriptedInvoker(self._handle, duration=self._seconds)
        self.invokers.append(made)
        return made

    def _handle(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            if "kinesis" in record:
                self.handled[STREAM].append(data_of(record))
            else:
                self.handled[QUEUE].append(record["body"])
