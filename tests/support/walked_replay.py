"""A replay that somebody cancels: what was handled may leave, all else stays where it was, and the next replay finds it."""

from __future__ import annotations

import asyncio
import io
import json
from collections import defaultdict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from botocore.exceptions import ClientError

from esmd.config.schema import KinesisMapping
from esmd.mappings.outcomes import FunctionError, Success, Throttled
from esmd.pollers.localstack import Connection
from esmd.replay.buckets import BucketSource
from esmd.replay.handlers import FunctionHandlers
from esmd.replay.names import QueueName
from esmd.replay.queues import QueueSource, ReplayQueue
from esmd.replay.run import Pace, run
from esmd.replay.workers import LetterHandling, LetterSending, RecordReplay
from esmd.testing.fake_streams import EngineStream
from esmd.testing.queues import QueueEngine
from esmd.testing.stream_engine import StreamEngine

from support.control_lab import config, function, mapping
from support.stream_lab import data_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.mappings.outcomes import Outcome

    from support.walker import How, Walk

LONGEST = 5000.0
DEAD, ORDERS = "dead", "orders"
BODIES = ("a", "b", "bad", "c")
_URL = "http://127.0.0.1:1/000000000000/"


class Shop:
    """A function that fails with `bad`; what it has handled. It is busy at first."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.busy = 1
        self.limit = 1
        self.made = {"f": self}
        self.closed = True

    def get(self, _: str) -> Self:
        self.closed = False
        return self

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        await asyncio.sleep(0.1)
        if self.busy:
            self.busy -= 1
            return Throttled()
        records = json.loads(event)["Records"]
        bodies = [data_of(each) if "kinesis" in each else each["body"] for each in records]
        if "bad" in bodies:
            return FunctionError("exception", "ValueError", "bad")
        self.handled += bodies
        return Success(b"null")

    async def close(self) -> None:
        await asyncio.sleep(0.1)
        self.closed = True

    def handlers(self) -> FunctionHandlers:
        async def allowed(_: str) -> None:
            await asyncio.sleep(0.1)

        functions: Any = self
        return FunctionHandlers(functions, allowed=allowed)


class QueueClient:
    """As much of a client of SQS as a replay uses. `may_leave` says of which body a message may be deleted."""

    def __init__(self, may_leave: Callable[[str], bool]) -> None:
        self.engine = QueueEngine()
        self.engine.create_queue(DEAD)
        arn = "arn:aws:sqs:us-east-1:000000000000:dead"
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
        self.engine.create_queue(ORDERS, {"RedrivePolicy": policy})
        for body in BODIES:
            self.engine.send(DEAD, body)
        self._may_leave = may_leave
        self._bodies: dict[str, str] = {}
        self.sent: list[str] = []
        self.wrong: list[str] = []

    async def client(self, *_: Any) -> tuple[Self, Connection]:
        await asyncio.sleep(0.1)
        return self, Connection(endpoint_url="http://127.0.0.1:1", region="us-east-1", dummy_credentials=True)

    async def get_queue_url(self, *, QueueName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        await asyncio.sleep(0.1)
        return {"QueueUrl": _URL + QueueName}

    async def get_queue_attributes(self, *, QueueUrl: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        await asyncio.sleep(0.1)
        return {"Attributes": self.engine.get_attributes(_name(QueueUrl))}

    async def list_dead_letter_source_queues(self, **_: Any) -> dict[str, Any]:
        await asyncio.sleep(0.1)
        raise ClientError({"Error": {"Code": "InvalidAction"}}, "ListDeadLetterSourceQueues")

    async def list_queues(self, **_: Any) -> dict[str, Any]:
        await asyncio.sleep(0.1)
        return {"QueueUrls": [_URL + DEAD, _URL + ORDERS]}

    async def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        WaitTimeSeconds: int,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        found = self.engine.receive_now(_name(QueueUrl), limit=MaxNumberOfMessages, visibility=VisibilityTimeout)
        self._bodies.update((each["ReceiptHandle"], each["Body"]) for each in found)
        await asyncio.sleep(0.1 if found else WaitTimeSeconds)  # on its way: it is hidden already
        return {"Messages": found}

    async def send_message(self, *, QueueUrl: str, MessageBody: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        await asyncio.sleep(0.1)
        if MessageBody == "bad":
            raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "SendMessage")
        self.sent.append(MessageBody)
        return self.engine.send(_name(QueueUrl), MessageBody)

    async def delete_message_batch(self, *, QueueUrl: str, Entries: Any) -> dict[str, Any]:  # noqa: N803
        await asyncio.sleep(0.1)
        for each in Entries:
            body = self._bodies[each["ReceiptHandle"]]
            if not self._may_leave(body):
                self.wrong.append(body)
            self.engine.delete(_name(QueueUrl), each["ReceiptHandle"])
        return {"Successful": [{"Id": each["Id"]} for each in Entries]}

    async def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Any) -> dict[str, Any]:  # noqa: N803
        await asyncio.sleep(0.1)
        for each in Entries:
            self.engine.change_visibility(_name(QueueUrl), each["ReceiptHandle"], each["VisibilityTimeout"])
        return {"Successful": [{"Id": each["Id"]} for each in Entries]}

    def left(self) -> list[str]:
        """The dead letters that could be received."""
        return sorted(each["Body"] for each in self.engine.receive_now(DEAD, limit=10, visibility=0))


def _name(url: str) -> str:
    return url.rpartition("/")[2]


@dataclass(kw_only=True)
class ReplayScenario:
    """Replays, until one has come to its end. Call it with a walk.

    Attributes:
        kind: of what is replayed: letters that are handled, letters that are sent back, failure records in a bucket.
    """

    kind: Callable[[], Any]
    hows: ClassVar[Sequence[How]] = ("cut", "late", "halt")

    async def __call__(self, walk: Walk) -> None:
        """See that nothing left that was not handled, and nothing stayed that was."""
        kind = self.kind()
        before = asyncio.all_tasks()
        async with asyncio.timeout(LONGEST):
            while True:
                main = walk.main = asyncio.create_task(kind.once())
                await asyncio.wait([main])
                for _ in range(3):
                    await asyncio.sleep(0)
                assert asyncio.all_tasks() <= {asyncio.current_task(), *before}, "the command ends before its work"
                assert kind.shop.closed, "the functions' environments are left"
                if not main.cancelled() and main.exception() is None:
                    break
                if not main.cancelled():
                    raise main.exception()  # type: ignore[misc]
                kind.interrupted(walk)
                await asyncio.sleep(1000)  # longer than anything is hidden
        kind.judge()


async def _replay(source: Any, worker: Any, handlers: FunctionHandlers | None) -> None:
    """As the command does."""
    try:
        await source.count()
        await run(source, worker, pace=Pace(5), limit=None, delete_expired=False, say=lambda *_: None)
    finally:
        if handlers is not None:
            await handlers.close()


class _Letters:
    """Dead letters for a function."""

    def __init__(self) -> None:
        self.shop = Shop()
        self.sqs = QueueClient(lambda body: body in self.shop.handled)

    async def once(self) -> None:
        handlers = self.shop.handlers()
        queue = await ReplayQueue.open(QueueName(DEAD), self.sqs)  # type: ignore[arg-type]
        worker = LetterHandling(
            config(mapping(ORDERS)),
            handlers=handlers,
            function="f",
            queue=queue,
            source_arn="arn:aws:sqs:us-east-1:000000000000:orders",
            wanted=lambda _: True,
            at_once=1,
            dry_run=False,
        )
        await _replay(QueueSource(queue, most=2, hold=30.0, began=_began()), worker, handlers)

    def interrupted(self, walk: Walk) -> None:
        """Where the replay itself was interrupted, all that is left can be received at once."""
        if walk.hit is not None and walk.hit[0].file == "esmd/replay/run.py":
            assert self.sqs.engine.counts(DEAD).inflight == 0, "what was held is hidden"

    def judge(self) -> None:
        assert self.sqs.wrong == [], "deleted, and not handled"
        assert set(self.shop.handled) == {"a", "b", "c"}
        assert self.sqs.left() == ["bad"]


class _Sent(_Letters):
    """Dead letters that go back to their queue."""

    def __init__(self) -> None:
        super().__init__()
        self.sqs = QueueClient(lambda body: body in self.sqs.sent)

    async def once(self) -> None:
        queue = await ReplayQueue.open(QueueName(DEAD), self.sqs)  # type: ignore[arg-type]
        [url] = await queue.sources()
        target = await ReplayQueue.open(QueueName(ORDERS, url=url), self.sqs)  # type: ignore[arg-type]
        worker = LetterSending(target, source_arn=target.arn, wanted=lambda _: True, new_ids=False, dry_run=False)
        await _replay(QueueSource(queue, most=2, hold=30.0, began=_began()), worker, None)

    def judge(self) -> None:
        assert self.sqs.wrong == [], "deleted, and not sent"
        assert set(self.sqs.sent) == {"a", "b", "c"}
        assert self.sqs.engine.counts(ORDERS).visible == len(self.sqs.sent)
        assert self.sqs.left() == ["bad"]


class _Body(io.BytesIO):
    """What a client of S3 reads."""

    async def __aenter__(self) -> Any:
        await asyncio.sleep(0.1)
        return SimpleNamespace(read=self._read)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.1)

    async def _read(self) -> bytes:
        await asyncio.sleep(0.1)
        return self.getvalue()


class _Records:
    """Failure records of a stream, in a bucket: two to be read again, one with its event."""

    def __init__(self) -> None:
        self.shop = Shop()
        self.wrong: list[str] = []
        self._streams = StreamEngine(empty_pages=1)
        self._arn = self._streams.create_stream("clicks")
        self._streams.fail("read", "ProvisionedThroughputExceededException", times=1)
        self._bodies: dict[str, list[str]] = defaultdict(list)
        self.objects: dict[str, bytes] = {}
        for key, bodies in {"1": ["a", "b"], "2": ["bad"], "3": ["c"]}.items():
            put = [self._streams.put("clicks", "key", body.encode()) for body in bodies]
            self._bodies[key] = bodies
            self._keep(key, put[0][0], put[0][1], put[-1][1], len(put))
        self._keep("4", "shard", "1", "1", 1, payload=json.dumps({"Records": [{"body": "d"}]}))
        self._bodies["4"] = ["d"]

    def _keep(self, key: str, shard: str, first: str, last: str, count: int, **more: Any) -> None:
        info = {
            "shardId": shard,
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "batchSize": count,
            "streamArn": self._arn,
        }
        context = {"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f"}
        self.objects[key] = json.dumps({"requestContext": context, "KinesisBatchInfo": info, **more}).encode()

    async def list_objects_v2(self, *, StartAfter: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        await asyncio.sleep(0.1)
        return {"Contents": [{"Key": key} for key in sorted(self.objects) if key > StartAfter]}

    async def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        await asyncio.sleep(0.1)
        return {"Body": _Body(self.objects[Key])}

    async def delete_object(self, *, Key: str, **_: Any) -> None:  # noqa: N803
        await asyncio.sleep(0.1)
        self.wrong += [body for body in self._bodies[Key] if body not in self.shop.handled]
        del self.objects[Key]

    async def once(self) -> None:
        handlers = self.shop.handlers()
        stream = KinesisMapping(
            name="clicks", event_source_arn=self._arn, function_name="f", starting_position="TRIM_HORIZON"
        )
        api = EngineStream(self._streams, self._arn)
        api.latency = 0.1
        worker = RecordReplay(
            config(functions={"f": function()}).model_copy(update={"mappings": {"clicks": stream}}),
            handlers=handlers,
            stream_of=lambda _: api,
            function=None,
            wanted=lambda _: True,
            pause=0.2,
            dry_run=False,
        )
        await _replay(BucketSource(self, "failures", "", delete=True), worker, handlers)

    def interrupted(self, _: Walk) -> None:
        """Nothing is held."""

    def judge(self) -> None:
        assert self.wrong == [], "deleted, and not handled"
        assert set(self.shop.handled) == {"a", "b", "c", "d"}
        assert sorted(self.objects) == ["2"]


def _began() -> float:
    """When a replay began, in epoch seconds: all letters came before."""
    return 1e11


SCENARIOS: dict[str, Any] = {
    "letters for a function": ReplayScenario(kind=_Letters),
    "letters that go back": ReplayScenario(kind=_Sent),
    "failure records": ReplayScenario(kind=_Records),
}
