"""The servers of the matrix, and what each cannot: said only after a probe has shown it."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from esmd.testing.embedded import ministack_process
from esmd.testing.server_process import ServerProcess

from support.servers import LOCALSTACK_KINESIS, LOCALSTACK_LAMBDA, LOCALSTACK_PYTHON, PROJECT, localstack_process, touch
from support.stream_servers import KINESIS_LOCAL, kinesis_local_process
from support.stream_world import World, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MOTO_PYTHON = PROJECT / ".moto" / "bin" / "python"


class MissingServerError(Exception):
    """A server is not installed here; the message names the command that installs it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running one.

    Attributes:
        name: in the matrix.
        kinesis: the URL of its Kinesis.
        others: the URL of everything else.
        cannot: why not, by kind of source; only what a probe has shown.
        has_mappings: whether it runs mappings of its own.
    """

    name: str
    kinesis: str
    others: str
    cannot: dict[str, str]
    has_mappings: bool


def moto_process() -> ServerProcess:
    """Return moto's server, not started."""

    def environment(port: int, folder: Path) -> dict[str, str]:
        return {
            "MOTO_PORT": str(port),
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    command = [
        str(MOTO_PYTHON),
        "-c",
        "import os; from moto.server import main; main(['-H', '127.0.0.1', '-p', os.environ['MOTO_PORT']])",
    ]
    return ServerProcess("moto", command, environment=environment, health_path="/moto-api/")


@contextlib.contextmanager
def running(name: str) -> Iterator[Server]:
    """Start a server of the matrix, and probe it.

    Raises:
        MissingServerError: it is not installed.
    """
    with contextlib.ExitStack() as stack:

        def start(process: ServerProcess) -> str:
            process.start()
            stack.callback(process.stop)
            return process.endpoint_url

        kinesis: str | None = None
        match name:
            case "ministack":
                others = start(ministack_process())
            case "kinesis-local":
                if not KINESIS_LOCAL.exists() or shutil.which("node") is None:
                    raise MissingServerError("kinesis-local is not installed here: make servers (needs npm)")
                kinesis, others = start(kinesis_local_process()), start(ministack_process())
            case "localstack":
                if not LOCALSTACK_PYTHON.exists() or not LOCALSTACK_LAMBDA.exists():
                    raise MissingServerError("LocalStack is not installed here: make localstack (needs Python 3.13)")
                others = start(localstack_process())
                touch(others, "sqs", "AmazonSQS.ListQueues")
                if LOCALSTACK_KINESIS.exists() and shutil.which("node"):
                    touch(others, "kinesis", "Kinesis_20131202.ListStreams")
            case "moto":
                if not MOTO_PYTHON.exists():
                    raise MissingServerError("moto is not installed here: make conformance installs it")
                others = start(moto_process())
            case _:
                raise ValueError(f"no such server: {name}")
        kinesis = kinesis or others
        with World(kinesis=kinesis, others=others) as world:
            cannot = dict(probed(world, only_kinesis=name == "kinesis-local"))
        yield Server(name, kinesis, others, cannot, has_mappings=name in {"ministack", "localstack"})


def probed(world: World, *, only_kinesis: bool) -> Iterator[tuple[str, str]]:
    """Every kind of source that a server does not have, and what it said when it was asked for one."""
    probes: dict[str, Callable[[World], None]] = {
        "queue": _probe_queue,
        "fifo": _probe_fifo,
        "kinesis": _probe_kinesis,
        "table": _probe_table,
    }
    for source, probe in probes.items():
        if only_kinesis and source != "kinesis":
            yield source, "it is a Kinesis and nothing else"
            continue
        try:
            probe(world)
        except (ClientError, BotoCoreError, AssertionError) as error:
            yield source, f"{type(error).__name__}: {error}".partition("\n")[0][:160]


def _probe_queue(world: World) -> None:
    world.make_queue("probe")


def _probe_fifo(world: World) -> None:
    """A group's messages that were hidden and come again begin with the oldest."""
    sqs = world.client("sqs")
    name = f"probe-{uuid.uuid4().hex[:8]}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", "VisibilityTimeout": "1"})["QueueUrl"]
    entries = [
        {"Id": body, "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": body} for body in "0123"
    ]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)

    def bodies() -> list[str]:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        return [message["Body"] for message in got.get("Messages", [])]

    assert bodies() == ["0", "1", "2", "3"], "it does not hand out a group's messages in order"
    again = wait_until(bodies, "messages to be visible again")
    assert again[0] == "0", f"of a group that was hidden it hands out message {again[0]} first, not the oldest"


def _probe_kinesis(world: World) -> None:
    """Three records come back, in the order in which they were put."""
    stream = world.make_stream("probe")
    put = world.put(stream, *({"n": n} for n in range(3)))
    kinesis = world.client("kinesis")
    [shard] = world.open_shards(stream)
    iterator = kinesis.get_shard_iterator(
        StreamName=stream.name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    read: list[str] = []
    for _ in range(5):
        page = kinesis.get_records(ShardIterator=iterator)
        read += [record["SequenceNumber"] for record in page["Records"]]
        iterator = page["NextShardIterator"]
    assert read == put, f"of three records it gave back {len(read)}"


def _probe_table(world: World) -> None:
    """A change of a table comes out of its stream."""
    table = world.make_table("probe")
    world.write(table, {"id": {"S": "a"}, "said": {"S": json.dumps({})}})
    streams = world.client("dynamodbstreams")
    [shard] = streams.describe_stream(StreamArn=table.arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=table.arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert streams.get_records(ShardIterator=iterator)["Records"], "a change of a table is not in its stream"
