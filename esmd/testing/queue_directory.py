"""The queues of the fake SQS by name: creating, describing, changing, emptying and deleting them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.testing.queue_attributes import check_name, parse_attributes
from esmd.testing.queue_state import Queue
from esmd.testing.sqs_errors import MISSING_QUEUE, SqsError, invalid_value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from esmd.testing.queue_attributes import QueueAttributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many messages of a queue are where, and what has happened to it since its creation."""

    visible: int
    inflight: int
    delayed: int
    sent: int
    received: int
    deleted: int
    redriven: int


class QueueDirectory:
    """All queues of one account and region, and the clock they share.

    A queue is named by its name, its URL (any host) or its ARN.

    Args:
        clock: seconds, never going back; the running loop's clock by default.
        epoch: what to add to `clock` for the time of day; found at the first use by default.
        account: the account id in ARNs and URLs.
        region: the region in ARNs.
        base_url: what queue URLs begin with.
        dead_poll_swallows: whether an abandoned long poll still gets the next message, as on every server known.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        epoch: float | None = None,
        account: str = "000000000000",
        region: str = "us-east-1",
        base_url: str = "http://127.0.0.1",
        dead_poll_swallows: bool = True,
    ) -> None:
        self.account = account
        self.region = region
        self.base_url = base_url
        self.dead_poll_swallows = dead_poll_swallows
        self._clock = clock
        self._epoch = epoch
        self._queues: dict[str, Queue] = {}

    def create_queue(self, name: str, attributes: Mapping[str, object] | None = None) -> str:
        """Create a queue and return its URL; the same again is no error, different attributes are."""
        parsed = parse_attributes(attributes or {})
        check_name(name, is_fifo=parsed.is_fifo)
        self._check_redrive(parsed)
        present = self._queues.get(name)
        if present is None:
            url = f"{self.base_url}/{self.account}/{name}"
            queue = Queue(name, url, self._arn(name), parsed, str(int(self._wall_clock())))
            self._queues[name] = queue
            return url
        asked = parsed.given
        if any(present.attributes.given.get(key) != asked[key] for key in attributes or {} if key in asked):
            raise SqsError("QueueNameExists", "A queue already exists with the same name and a different value.")
        return present.url

    def delete_queue(self, queue: str) -> None:
        """Delete a queue with all it holds; long polls of it come back empty."""
        gone = self._find(queue)
        del self._queues[gone.name]
        gone.backlog.clear()
        gone.disarm()
        while gone.polls:
            poll = next(iter(gone.polls))
            poll.close()
            poll.deliver([])

    def queue_urls(self, prefix: str = "") -> list[str]:
        """Return the URLs of the queues whose names begin with `prefix`."""
        return [queue.url for name, queue in self._queues.items() if name.startswith(prefix)]

    def queue_url(self, queue: str) -> str:
        """Return a queue's URL."""
        return self._find(queue).url

    def queue_arn(self, queue: str) -> str:
        """Return a queue's ARN."""
        return self._find(queue).arn

    def get_attributes(self, queue: str, names: Collection[str] = ("All",)) -> dict[str, str]:
        """Return the attributes asked for, as text; `All` for every one."""
        found = self._find(queue)
        counts = self.counts(queue)
        every = {
            **found.attributes.given,
            "QueueArn": found.arn,
            "CreatedTimestamp": found.created,
            "LastModifiedTimestamp": found.modified,
            "ApproximateNumberOfMessages": str(counts.visible),
            "ApproximateNumberOfMessagesNotVisible": str(counts.inflight),
            "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        }
        return every if "All" in names else {name: every[name] for name in names if name in every}

    def set_attributes(self, queue: str, attributes: Mapping[str, object]) -> None:
        """Change attributes; they hold for what is sent or received from now on."""
        found = self._find(queue)
        parsed = parse_attributes({**found.attributes.given, **attributes})
        if parsed.is_fifo != found.attributes.is_fifo:
            raise SqsError("InvalidAttributeValue", "Invalid value for the parameter FifoQueue.")
        self._check_redrive(parsed)
        found.attributes = parsed
        found.modified = str(int(self._wall_clock()))

    def counts(self, queue: str) -> Counts:
        """Return how many messages are where; exact, unlike the service's."""
        found = self._find(queue)
        found.backlog.expire(self._now())
        return Counts(
            visible=found.backlog.visible,
            inflight=found.backlog.inflight,
            delayed=found.backlog.delayed,
            sent=found.sent,
            received=found.received,
            deleted=found.deleted,
            redriven=found.redriven,
        )

    def purge(self, queue: str) -> None:
        """Delete every message, also those in flight."""
        self._find(queue).backlog.clear()

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._clock is None else self._clock()

    def _wall_clock(self) -> float:
        now = self._now()
        if self._epoch is None:
            self._epoch = time.time() - now
        return now + self._epoch

    def _milliseconds(self) -> str:
        return str(int(self._wall_clock() * 1_000))

    def _arn(self, name: str) -> str:
        return f"arn:aws:sqs:{self.region}:{self.account}:{name}"

    def _find(self, queue: str) -> Queue:
        found = self._queues.get(queue) or self._queues.get(queue.rpartition("/")[2].rpartition(":")[2])
        if found is None:
            raise SqsError("QueueDoesNotExist", MISSING_QUEUE)
        return found

    def _check_redrive(self, attributes: QueueAttributes) -> None:
        if attributes.redrive is None:
            return
        target = self._queues.get(attributes.redrive.target)
        text = attributes.given["RedrivePolicy"]
        if target is None:
            raise invalid_value(text, "RedrivePolicy", "Dead letter target does not exist.")
        if target.attributes.is_fifo != attributes.is_fifo:
            reason = "Dead-letter queue must be same type of queue as the source."
            raise invalid_value(text, "RedrivePolicy", reason)
