"""A daemon as a process, with a fault proxy between it and a real server, and what became of its records."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esmd.testing.fault_proxy import ProxyThread

from support.daemon import Daemon, Journal, function
from support.stream_world import World, data_of, stream_config, stream_mapping, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from esmd.testing.faults import Fault
    from esmd.testing.proxy_faults import ProxyFault

    from support.servers import Queue
    from support.stream_world import Source

VISIBILITY = 2
"""Seconds: what a lost answer hides comes again after it."""

WITHIN = 60
"""Seconds that a daemon may take to get over a fault."""


@dataclass(slots=True)
class Stage:
    """One daemon with a queue and a stream, reached through a proxy; the world reaches the server directly.

    Attributes:
        numbers: hands out the numbers of records, so that those of one test are told from another's.
    """

    world: World
    proxy: ProxyThread
    daemon: Daemon
    journal: Journal
    queue: Queue
    stream: Source
    numbers: Iterator[int]

    def strike(self, action: str, fault: Fault | ProxyFault, *, times: int = 2) -> Any:
        """Arm a fault for the next calls of an action."""
        return self.proxy.proxy.faults.add(action, fault, times=times)

    def calm(self) -> None:
        """Disarm what has struck nobody."""
        self.proxy.proxy.faults.clear()

    # --- the queue

    def send(self, count: int) -> list[str]:
        """Send so many messages; their bodies."""
        bodies = [str(next(self.numbers)) for _ in range(count)]
        for chunk in _tens(bodies):
            entries = [{"Id": body, "MessageBody": body} for body in chunk]
            self.world.client("sqs").send_message_batch(QueueUrl=self.queue.url, Entries=entries)
        return bodies

    def handled(self) -> list[str]:
        """The bodies that the handler has had, in order, each as often as it came."""
        return [record["body"] for entry in self.journal.entries("fine") for record in entry["records"]]

    def await_handled(self, bodies: list[str]) -> None:
        """Wait until all of them were handled and deleted."""
        wait_until(lambda: set(bodies) <= set(self.handled()), f"{len(bodies)} messages", within=WITHIN)
        wait_until(lambda: self.left() == 0, "an empty queue", within=WITHIN)

    def left(self) -> int:
        """Messages in the queue, hidden ones included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.world.client("sqs").get_queue_attributes(QueueUrl=self.queue.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    # --- the stream

    def put(self, count: int) -> list[int]:
        """Put so many records; their numbers."""
        numbers = [next(self.numbers) for _ in range(count)]
        self.world.put(self.stream, *({"n": number} for number in numbers))
        return numbers

    def delivered(self) -> list[int]:
        """The numbers that the handler has had, in order, each as often as it came."""
        return [data_of(record)["n"] for entry in self.journal.entries("script") for record in entry["records"]]

    def await_delivered(self, numbers: list[int]) -> None:
        """Wait until all of them were delivered; they came in order, whatever came twice."""
        wait_until(lambda: set(numbers) <= set(self.delivered()), f"{len(numbers)} records", within=WITHIN)
        mine = [number for number in self.delivered() if number in set(numbers)]
        assert list(dict.fromkeys(mine)) == numbers


def _tens(bodies: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(bodies), 10):
        yield bodies[start : start + 10]


def make_queue(world: World, prefix: str, *, visibility: int = VISIBILITY) -> Queue:
    """A queue whose messages come again soon."""
    queue = world.make_queue(prefix)
    world.client("sqs").set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": str(visibility)})
    return queue


def fault_config(
    folder: Path, journal: Journal, queue: Queue, stream: Source, *, aws: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A configuration of both kinds of sources."""
    config = stream_config(
        folder,
        {"fine": function("fine", journal, timeout=VISIBILITY), "script": function("script", journal, timeout=10)},
        {
            "queue": {"event_source_arn": queue.arn, "function_name": "fine", "receive_wait_time_seconds": 1},
            "stream": stream_mapping(stream.arn, "script", batch_size=3),
        },
    )
    config["aws"] |= aws or {}
    return config


def own_home(folder: Path) -> dict[str, str]:
    """The variables of a home of its own, for fixtures that outlive a test."""
    names = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
    return {**dict.fromkeys(names, str(folder)), "AWS_EC2_METADATA_DISABLED": "true"}


def stage(server: str, folder: Path, *, client: str) -> Iterator[Stage]:
    """Set the stage, and clear it away: for a fixture."""
    journal = Journal(folder / "journal.jsonl")
    with World(kinesis=server, others=server) as world, ProxyThread(server) as proxy:
        queue, stream = make_queue(world, "faulty"), world.make_stream("faulty")
        config = fault_config(folder, journal, queue, stream, aws={"client": client})
        environ = {**own_home(folder), "AWS_ENDPOINT_URL": proxy.endpoint_url}
        with Daemon(folder, config, environ=environ) as daemon:
            daemon.wait_for("daemon.ready")
            yield Stage(world, proxy, daemon, journal, queue, stream, itertools.count())
            daemon.process.terminate()
            assert daemon.exit_code() == 0, json.dumps(daemon.log[-20:])
