"""Streams, tables and destinations on real servers, by blocking calls: for tests whose daemon is another process."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from support.servers import Queue
from support.stream_servers import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SESSION = Session()  # one for all tests: it keeps the services' models, which take long to read
QUICK = {"initial": 0.2, "maximum": 1}
"""`retry_backoff` of mappings whose tests would else wait long."""


@dataclass(frozen=True, slots=True)
class Source:
    """A stream made for one test; `name` is its own, or that of its table."""

    name: str
    arn: str


class World:
    """A context manager: Kinesis on one server, everything else on another or the same."""

    def __init__(self, *, kinesis: str, others: str) -> None:
        self._urls = {"kinesis": kinesis}
        self._others = others
        self._clients: dict[str, Any] = {}

    @property
    def environ(self) -> dict[str, str]:
        """The variables that lead a daemon to these servers."""
        return {"AWS_ENDPOINT_URL": self._others, "AWS_ENDPOINT_URL_KINESIS": self._urls["kinesis"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def client(self, service: str) -> Any:
        """A client with dummy keys that fails at the first error."""
        if service not in self._clients:
            self._clients[service] = SESSION.create_client(
                service,
                region_name=REGION,
                endpoint_url=self._urls.get(service, self._others),
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"}),
            )
        return self._clients[service]

    # --- Kinesis

    def make_stream(self, prefix: str, *, shards: int = 1) -> Source:
        """Make a stream under a name of its own."""
        return self.create_stream(f"{prefix}-{uuid.uuid4().hex[:12]}", shards=shards)

    def make_streams(self, prefixes: Iterable[str]) -> dict[str, Source]:
        """Make several streams at once, by prefix: a server takes its time over each."""
        names = {prefix: f"{prefix}-{uuid.uuid4().hex[:12]}" for prefix in prefixes}
        for name in names.values():
            self._create(name, shards=1)
        return {prefix: Source(name, self.active(name)["StreamARN"]) for prefix, name in names.items()}

    def create_stream(self, name: str, *, shards: int = 1) -> Source:
        """Make a stream under that name."""
        self._create(name, shards=shards)
        return Source(name, self.active(name)["StreamARN"])

    def _create(self, name: str, *, shards: int) -> None:
        """Ask for a stream; five at most are made at once, so a busy server may have to be asked again."""

        def asked() -> bool:
            try:
                self.client("kinesis").create_stream(StreamName=name, ShardCount=shards)
            except ClientError as error:
                if error.response["Error"]["Code"] == "LimitExceededException":
                    return False
                raise
            return True

        wait_until(asked, f"{name} to be made")

    def active(self, name: str) -> dict[str, Any]:
        """Wait until nothing is done to a stream any more; its summary."""

        def summary() -> dict[str, Any] | None:
            found = self.client("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
            return found if found["StreamStatus"] == "ACTIVE" else None

        return wait_until(summary, f"{name} to be active")

    def put(self, stream: Source, *data: Any, key: str = "k") -> list[str]:
        """Put JSON, one record after the other; their sequence numbers."""
        put = self.client("kinesis").put_record
        return [
            put(StreamName=stream.name, PartitionKey=key, Data=json.dumps(each).encode())["SequenceNumber"]
            for each in data
        ]

    def put_many(self, stream: Source, records: list[tuple[str, Any]]) -> None:
        """Put JSON by key, in one call."""
        entries = [{"PartitionKey": key, "Data": json.dumps(data).encode()} for key, data in records]
        answer = self.client("kinesis").put_records(StreamName=stream.name, Records=entries)
        assert not answer["FailedRecordCount"]

    def open_shards(self, stream: Source) -> list[dict[str, Any]]:
        """Those that take records, by their keys."""
        answer = self.client("kinesis").list_shards(StreamName=stream.name)
        shards = answer["Shards"]
        while token := answer.get("NextToken"):  # the paginator would name the stream again, which is refused
            answer = self.client("kinesis").list_shards(NextToken=token)
            shards += answer["Shards"]
        there = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        return sorted(there, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))

    def split(self, stream: Source, shard: Mapping[str, Any]) -> None:
        """Split a shard in the middle of its keys."""
        keys = {name: int(value) for name, value in shard["HashKeyRange"].items()}
        middle = (keys["StartingHashKey"] + keys["EndingHashKey"]) // 2
        self.client("kinesis").split_shard(
            StreamName=stream.name, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle)
        )
        self.active(stream.name)

    def merge(self, stream: Source, left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
        """Merge two neighbours."""
        self.client("kinesis").merge_shards(
            StreamName=stream.name, ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"]
        )
        self.active(stream.name)

    # --- DynamoDB

    def make_table(self, prefix: str, *, view: str = "NEW_AND_OLD_IMAGES") -> Source:
        """Make a table with the key `id`, and its stream."""
        name = f"{prefix}-{uuid.uuid4().hex[:12]}"
        made = self.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )
        return Source(name, made["TableDescription"]["LatestStreamArn"])

    def write(self, table: Source, *items: Mapping[str, Any]) -> None:
        """Put items, in the API's spelling."""
        for item in items:
            self.client("dynamodb").put_item(TableName=table.name, Item=item)

    def remove(self, table: Source, key: str) -> None:
        """Delete an item."""
        self.client("dynamodb").delete_item(TableName=table.name, Key={"id": {"S": key}})

    # --- destinations

    def make_queue(self, prefix: str) -> Queue:
        """Make a standard queue."""
        name = f"{prefix}-{uuid.uuid4().hex[:12]}"
        url = self.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        described = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return Queue(name, url, described["Attributes"]["QueueArn"])

    def make_topic(self, prefix: str, *, subscriber: Queue) -> str:
        """Make a topic that hands on to a queue; its ARN."""
        arn: str = self.client("sns").create_topic(Name=f"{prefix}-{uuid.uuid4().hex[:12]}")["TopicArn"]
        self.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=subscriber.arn)
        return arn

    def make_bucket(self, prefix: str) -> str:
        """Make a bucket; its name."""
        name = f"{prefix}-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, str]:
        """What is in a bucket, by key."""
        s3 = self.client("s3")
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}


class Inbox:
    """Everything that has come to a queue, kept; `look` fetches what is new."""

    def __init__(self, world: World, queue: Queue) -> None:
        self._world = world
        self.queue = queue
        self.bodies: list[str] = []

    def look(self) -> list[str]:
        """All bodies so far."""
        sqs = self._world.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self.queue.url, MaxNumberOfMessages=10).get("Messages"):
            self.bodies += [message["Body"] for message in messages]
            for message in messages:
                sqs.delete_message(QueueUrl=self.queue.url, ReceiptHandle=message["ReceiptHandle"])
        return self.bodies

    def of(self, source: Source) -> list[str]:
        """The failure records about a stream."""
        return [body for body in self.look() if source.arn in body]


def data_of(record: Mapping[str, Any]) -> Any:
    """The JSON that `World.put` put into a record."""
    return json.loads(base64.b64decode(record["kinesis"]["data"]))


def wait_until(found: Callable[[], Any], what: str, *, within: float = 30) -> Any:
    """Ask until there is an answer."""
    deadline = time.monotonic() + within
    while not (answer := found()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return answer


def stream_config(folder: Any, functions: Mapping[str, Any], mappings: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with a state file of its own, whose endpoints come from the environment."""
    return {
        "version": 1,
        "aws": {"region": REGION},
        "state": {"path": str(folder / "state.db")},
        "functions": dict(functions),
        "mappings": dict(mappings),
    }


def stream_mapping(arn: str, function: str, **settings: Any) -> dict[str, Any]:
    """A mapping that starts at the oldest record and retries quickly."""
    return {
        "event_source_arn": arn,
        "function_name": function,
        "starting_position": "TRIM_HORIZON",
        "retry_backoff": QUICK,
        **settings,
    }
