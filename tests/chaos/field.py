"""The field of a chaos run: servers behind fault proxies, sources, writers, and what came of everything that was written."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from chaos.oracle import Done, Sent
from esmd.testing.fault_proxy import ProxyThread
from esmd.testing.proxy_faults import Weather

from support.servers import Queue
from support.stream_world import World, stream_config, stream_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VISIBILITY = 4
"""Seconds."""

FUNCTION_TIMEOUT = 4

MOST_RECEIVES = 10

TESTS = Path(__file__).parents[1]
KEYS = [f"key-{number}" for number in range(9)]


@dataclass
class Line:
    """One mapping under test.

    Attributes:
        put: writes a batch of records and returns, for each, where the source keeps it; raises if none was accepted.
        wishes: what its records may wish, with weights.
        sent: what its source has accepted.
        places: where the source keeps each of them.
        sent_at: when each was accepted, by its number.
    """

    name: str
    ordered: bool
    put: Callable[[list[Sent]], list[Any]]
    wishes: dict[str, int]
    sent: list[Sent] = field(default_factory=list)
    places: list[Any] = field(default_factory=list)
    sent_at: dict[int, float] = field(default_factory=dict)


class Writer(threading.Thread):
    """Writes to one line until it is told to stop, at about `rate` records a second."""

    def __init__(self, line: Line, *, rate: float, seed: int) -> None:
        super().__init__(name=f"writer of {line.name}", daemon=True)
        self._line = line
        self._rate = rate
        self._chance = random.Random(seed)
        self._stop_asked = threading.Event()
        self._next = 0
        self.error: BaseException | None = None

    def start_at(self, number: int) -> None:
        """Number the records from here on."""
        self._next = number

    def run(self) -> None:
        """Write."""
        try:
            while not self._stop_asked.is_set():
                count = self._chance.randint(1, 10)
                self._write(count)
                self._stop_asked.wait(count / self._rate)
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        """Stop; raises what went wrong, for then nothing was tried."""
        self._stop_asked.set()
        self.join()
        if self.error is not None:
            raise self.error

    def _write(self, count: int) -> None:
        wishes, weights = list(self._line.wishes), list(self._line.wishes.values())
        batch = []
        for _ in range(count):
            [wish] = self._chance.choices(wishes, weights)
            batch.append(Sent(self._chance.choice(KEYS), self._next, wish))
            self._next += 1
        before = time.time()
        self._line.places += self._line.put(batch)
        self._line.sent += batch
        self._line.sent_at.update((each.n, before) for each in batch)


def body(record: Sent) -> str:
    """What a record says."""
    return json.dumps({"n": record.n, "k": record.key, "w": record.wish})


class Field:
    """A context manager: everything but the daemon.

    Args:
        kinesis: the URL of the server for Kinesis; `others` for everything else.
        resharding: whether that Kinesis can split and merge.
        seed: of the weather.
        wishes: of all records, with weights; None for some of each.
        proxied: whether the daemon goes by the proxies.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kinesis: str,
        others: str,
        resharding: bool,
        seed: int,
        wishes: dict[str, int] | None = None,
        proxied: bool = True,
    ) -> None:
        self.folder = folder
        self.journal = folder / "journal.jsonl"
        self.resharding = resharding
        self._wishes = wishes
        self._proxied = proxied
        self.world = World(kinesis=kinesis, others=others)
        self.weather = {"kinesis": Weather(seed + 1, share=0.0), "others": Weather(seed + 2, share=0.0)}
        self.proxies = {
            "kinesis": ProxyThread(kinesis, weather=self.weather["kinesis"]),
            "others": ProxyThread(others, weather=self.weather["others"]),
        }
        self.id = uuid.uuid4().hex
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Make the sources."""
        self._stack.enter_context(self.world)
        for proxy in self.proxies.values():
            self._stack.enter_context(proxy)
        # A client of its own for each writer: botocore's may be shared, but one that is being made may not.
        for service in ("sqs", "kinesis", "dynamodb", "sns"):
            self.world.client(service)
        self.dead_letters = self.world.make_queue("chaos-dlq")
        self.fifo_dead_letters = self._queue("chaos-dlq", fifo=True)
        self.destination = self.world.make_queue("chaos-destination")
        self.standard = self._queue("chaos", dead_letters=self.dead_letters)
        self.fifo = self._queue("chaos", fifo=True, dead_letters=self.fifo_dead_letters)
        self.stream = self.world.make_stream("chaos", shards=2)
        self.table = self.world.make_table("chaos")
        flaky = self._wishes or {"ok": 88, "flaky": 8, "slow": 2, "poison": 2}
        mild = self._wishes or {"ok": 95, "flaky": 5}
        self.lines = {
            "standard": Line("standard", ordered=False, put=self._put_standard, wishes=flaky),
            "fifo": Line("fifo", ordered=True, put=self._put_fifo, wishes=mild),
            "stream": Line("stream", ordered=True, put=self._put_stream, wishes=flaky),
            "table": Line("table", ordered=True, put=self._put_table, wishes=mild),
        }
        # The same stream a second time, in lanes: it is judged by the same records.
        self.judged_as = {
            "standard": "standard",
            "fifo": "fifo",
            "stream": "stream",
            "lanes": "stream",
            "table": "table",
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environ(self) -> dict[str, str]:
        """The variables that lead a daemon through the proxies, and name it."""
        if not self._proxied:
            return {**self.world.environ, "ESMD_TEST_RUN": self.id}
        kinesis, others = self.proxies["kinesis"].endpoint_url, self.proxies["others"].endpoint_url
        return {"AWS_ENDPOINT_URL": others, "AWS_ENDPOINT_URL_KINESIS": kinesis, "ESMD_TEST_RUN": self.id}

    def config(self) -> dict[str, Any]:
        """All mappings."""
        failure = {"on_failure": {"destination": self.destination.arn}}
        partial = {"function_response_types": ["ReportBatchItemFailures"]}
        bounded = {"maximum_retry_attempts": 6, "bisect_batch_on_function_error": True, "destination_config": failure}
        quick = {"retry_backoff": {"initial": 0.1, "maximum": 0.5}}
        mappings = {
            "standard": {"event_source_arn": self.standard.arn, **partial, "receive_wait_time_seconds": 1},
            "fifo": {"event_source_arn": self.fifo.arn, **partial, "receive_wait_time_seconds": 1},
            "stream": stream_mapping(self.stream.arn, "stream", batch_size=25, **partial, **bounded) | quick,
            "lanes": stream_mapping(self.stream.arn, "lanes", batch_size=25, **partial, **bounded) | quick,
            "table": stream_mapping(self.table.arn, "table", batch_size=25, **partial) | quick,
        }
        mappings["lanes"]["parallelization_factor"] = 4
        functions = {}
        for name, mapping in mappings.items():
            mapping["function_name"] = name
            functions[name] = {
                "handler": "chaos.handlers:handle",
                "python_path": [str(TESTS)],
                "timeout": FUNCTION_TIMEOUT,
                "environment": {"CHAOS_JOURNAL": str(self.journal), "CHAOS_MAPPING": name},
            }
        return stream_config(self.folder, functions, mappings)

    # --- sources

    def _queue(self, prefix: str, *, fifo: bool = False, dead_letters: Queue | None = None) -> Queue:
        name = f"{prefix}-{uuid.uuid4().hex[:12]}{'.fifo' if fifo else ''}"
        attributes = {"VisibilityTimeout": str(VISIBILITY)}
        if fifo:
            attributes["FifoQueue"] = "true"
        if dead_letters is not None:
            policy = {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": MOST_RECEIVES}
            attributes["RedrivePolicy"] = json.dumps(policy)
        sqs = self.world.client("sqs")
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return Queue(name, url, arn)

    def _put_standard(self, batch: list[Sent]) -> list[Any]:
        entries = [{"Id": str(each.n), "MessageBody": body(each)} for each in batch]
        answer = self.world.client("sqs").send_message_batch(QueueUrl=self.standard.url, Entries=entries)
        assert not answer.get("Failed")
        return [None] * len(batch)

    def _put_fifo(self, batch: list[Sent]) -> list[Any]:
        entries = [
            {
                "Id": str(each.n),
                "MessageBody": body(each),
                "MessageGroupId": each.key,
                "MessageDeduplicationId": str(each.n),
            }
            for each in batch
        ]
        answer = self.world.client("sqs").send_message_batch(QueueUrl=self.fifo.url, Entries=entries)
        assert not answer.get("Failed")
        return [None] * len(batch)

    def _put_stream(self, batch: list[Sent]) -> list[Any]:
        if not self.resharding:
            entries = [{"PartitionKey": each.key, "Data": body(each).encode()} for each in batch]
            answer = self.world.client("kinesis").put_records(StreamName=self.stream.name, Records=entries)
            assert not answer["FailedRecordCount"]
            return [(each["ShardId"], int(each["SequenceNumber"])) for each in answer["Records"]]
        # One by one: of a batch, some might be refused while a shard is closed, and the order lost.
        places = []
        for each in batch:
            answer = _until_accepted(
                lambda each=each: self.world.client("kinesis").put_record(
                    StreamName=self.stream.name, PartitionKey=each.key, Data=body(each).encode()
                )
            )
            places.append((answer["ShardId"], int(answer["SequenceNumber"])))
        return places

    def _put_table(self, batch: list[Sent]) -> list[Any]:
        for each in batch:
            item = {"id": {"S": each.key}, "n": {"N": str(each.n)}, "w": {"S": each.wish}}
            self.world.client("dynamodb").put_item(TableName=self.table.name, Item=item)
        return [None] * len(batch)

    # --- what came of it

    def _bodies(self, queue: Queue) -> Iterator[str]:
        sqs = self.world.client("sqs")
        while messages := sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                yield message["Body"]
                sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])

    def given_up(self) -> dict[str, set[int]]:
        """The numbers in dead-letter queues and in the destination, by mapping; they are taken out."""
        found: dict[str, set[int]] = {name: set() for name in self.judged_as}
        for name, queue in {"standard": self.dead_letters, "fifo": self.fifo_dead_letters}.items():
            found[name] = {json.loads(text)["n"] for text in self._bodies(queue)}
        line = self.lines["stream"]
        where = {place: each.n for place, each in zip(line.places, line.sent, strict=True)}
        for text in self._bodies(self.destination):
            record = json.loads(text)
            info, name = record["KinesisBatchInfo"], record["requestContext"]["functionArn"].split(":")[6]
            first, last = int(info["startSequenceNumber"]), int(info["endSequenceNumber"])
            # A range of lanes holds other keys' records too: only its ends and its size are its own.
            found[name] |= {
                n
                for (shard, number), n in where.items()
                if shard == info["shardId"]
                and (number in {first, last} or (name == "stream" and first < number < last))
            }
        return found

    def done(self) -> dict[str, list[Done]]:
        """What the handlers have written down, by mapping."""
        found: dict[str, list[Done]] = {name: [] for name in self.judged_as}
        if self.journal.exists():
            for text in self.journal.read_text(encoding="utf-8").splitlines():
                name, key, n, at = json.loads(text)
                found[name].append(Done(key, n, at))
        return found

    def reshard(self, fraction: float) -> str:
        """Split a shard, or merge two neighbours where there are many."""
        shards = self.world.open_shards(self.stream)
        if len(shards) >= 4:
            place = int(fraction * (len(shards) - 1))
            self.world.merge(self.stream, shards[place], shards[place + 1])
            return "merge"
        self.world.split(self.stream, shards[int(fraction * len(shards))])
        return "split"


def _until_accepted(call: Callable[[], Any], *, within: float = 30.0) -> Any:
    """Ask again while a stream is being resharded: then a put may be refused, undone."""
    deadline = time.monotonic() + within
    while True:
        try:
            return call()
        except (ClientError, BotoCoreError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
